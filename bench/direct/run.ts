/**
 * `npm run bench -- --direct`: the first byte of the first request to a new sandbox, straight from Envoy and with a router between.
 * Each sandbox is a fresh port on loopback; its labels are written to Redis, and it is asked for at once.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Redis } from 'ioredis'
import { step as say } from '../../deploy/local/cache.mjs'
import { SetupError } from '../../deploy/local/command.mjs'
import { ensureEnvoy } from '../../deploy/local/envoy.mjs'
import { ensureRedis } from '../../deploy/local/redis.mjs'
import { temporaryFolder } from '../../test/support/temporary-folder.ts'
import { commitOf, machine, versionOf } from '../machine.ts'
import { openClient } from './client.ts'
import { measure } from './measure.ts'
import { report } from './report.ts'
import { startSandboxes } from './sandboxes.ts'
import { startServers } from './servers.ts'

const usage = `npm run bench -- --direct [OPTIONS]

  --sandboxes N   new sandboxes of each way in a round (40)
  --rounds N      rounds (5)
  --main FILE     the Postern that is measured (dist/main.js)
  --out FILE      write all times as JSON`

const checkout = fileURLToPath(new URL('../..', import.meta.url))

async function main(args: readonly string[]): Promise<void> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: { sandboxes: text, rounds: text, main: text, out: text, direct: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help) return void process.stdout.write(`${usage}\n`)
  const rounds = count('--rounds', values.rounds, 5)
  const sandboxes = count('--sandboxes', values.sandboxes, 40)
  const programs = { main: values.main ?? join(checkout, 'dist/main.js'), envoy: await ensureEnvoy(), redis: await ensureRedis() }
  const folder = temporaryFolder('bench-direct')
  process.on('exit', folder.remove)
  const servers = await startServers(programs, folder.path)
  const made = startSandboxes()
  const platform = new Redis(servers.redis)
  const client = await openClient(servers.edge)
  let ids: string[] = []
  let number = 0
  try {
    const times = await measure({
      ...{ rounds, sandboxes, warmup: 20, ask: client.ask },
      make: async () => {
        const id = `s${++number}`
        const port = await made.open()
        await platform.hset(keyOf(id), { 'agentcube.io/owner': 'alice', 'agentcube.io/endpoint': `127.0.0.1:${port}` })
        ids.push(id)
        return id
      },
      forget: async () => {
        made.close()
        await platform.del(...ids.map(keyOf))
        ids = []
      },
      said: (round) => say(round === 0 ? 'warmed up' : `round ${round} of ${rounds}`),
    })
    const conditions = {
      ...machine(),
      envoy: versionOf(programs.envoy),
      redis: redisVersion(await platform.info('server')),
      node: process.version,
    }
    process.stdout.write(`\n${report(times)}\n${JSON.stringify({ ...conditions, ...commitOf(checkout) })}\n`)
    if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify({ conditions, rounds: times })}\n`)
  } finally {
    client.close()
    platform.disconnect()
    await made.stop()
    await servers.stop()
  }
}

const keyOf = (id: string): string => `postern:default:labels:sandbox:${id}`
const redisVersion = (info: string): string => /redis_version:(\S+)/.exec(info)?.[1] ?? 'unknown'

function count(name: string, value: string | undefined, usual: number): number {
  const read = value === undefined ? usual : Number(value)
  if (!Number.isInteger(read) || read < 1 || read > 2000) throw new SetupError(`${name} ${value}: expected a whole number from 1 to 2000`)
  return read
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  const wrong = error instanceof SetupError || (error instanceof TypeError && 'code' in error)
  if (!wrong) throw error
  process.stderr.write(`bench: ${(error as Error).message}\n`)
  process.exitCode = 2
}
