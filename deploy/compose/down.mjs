/**
 * Takes the stack of docker-compose.yml away: containers, networks, volumes, secrets and certificates. Ends with 1, and a list, where
 * anything is left.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { SetupError } from '../local/command.mjs'
import { ensureCompose } from '../local/compose.mjs'
import { ensureDocker } from '../local/docker.mjs'
import { openStack, readEnv, usualState } from './stack.mjs'

/** @typedef {import('./stack.mjs').Overlay} Overlay */

try {
  const file = join(usualState, '.env')
  if (!existsSync(file)) throw new SetupError(`there is no ${file}: nothing was started by up.mjs`)
  const docker = await ensureDocker()
  if ('reason' in docker) throw new SetupError(docker.reason)
  const compose = await ensureCompose()
  if ('reason' in compose) throw new SetupError(compose.reason)
  const chosen = (readEnv(file)['COMPOSE_WITH'] ?? '').split(',').filter((name) => name !== '')
  await openStack({ ...docker, compose: compose.path, with: /** @type {Overlay[]} */ (chosen), show: true }).down()
  process.stdout.write('The stack is down, and nothing is left of it.\n')
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(`down: ${error.message}\n`)
  process.exitCode = 1
}
