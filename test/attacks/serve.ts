import { fileURLToPath } from 'node:url'
import { writeFileSync } from 'node:fs'
import { startProgram } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { environment, type World } from './world.ts'

export interface Server {
  /** Why it ended meanwhile and was started again, each time. */
  readonly crashes?: readonly string[]
  readonly stop: () => Promise<void>
}

/** The sources of this checkout. */
export const ownMain = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/**
 * Starts Postern with the corpus' policy, and waits until it is ready and knows the issuer's keys.
 * @param main of which sources
 * @throws with the end of its output where it ends instead
 */
export async function servePostern(world: World, main = ownMain): Promise<Server> {
  const folder = temporaryFolder()
  const config = folder.file('postern.yaml')
  writeFileSync(config, world.policy, { mode: 0o600 })
  const program = startProgram(process.execPath, [main, 'serve', '--config', config], { cwd: folder.path, env: environment })
  const stop = async () => {
    await program.stop()
    folder.remove()
  }
  try {
    await until(
      'Postern to be ready',
      async () => {
        if (!program.running()) throw new Error(`postern serve ended:\n${[...program.stdout, ...program.stderr].slice(-20).join('\n')}`)
        return fetch(`http://${world.admin}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        )
      },
      20_000,
    )
  } catch (error) {
    await stop()
    throw error
  }
  return { stop }
}
