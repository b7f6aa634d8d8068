import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { startProgram } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { environment, type Place, type World } from './world.ts'

export interface Server {
  /** Why it ended meanwhile and was started again, each time. */
  readonly crashes?: readonly string[]
  readonly stop: () => Promise<void>
}

/** The sources of this checkout. */
export const ownMain = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/**
 * Starts Postern with the corpus' two policies, and waits until both are ready.
 * @param main of which sources
 * @throws with the end of its output where one ends instead
 */
export async function servePostern(world: World, main = ownMain): Promise<Server> {
  const started = await Promise.allSettled([world.main, world.ways].map((place) => serveAt(place, main)))
  const servers = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const stop = async () => void (await Promise.all(servers.map((server) => server.stop())))
  const failed = started.find((one) => one.status === 'rejected')
  if (!failed) return { stop }
  await stop()
  throw failed.reason
}

async function serveAt({ policy, admin }: Place, main: string): Promise<Server> {
  const folder = temporaryFolder()
  const config = folder.file('postern.yaml')
  writeFileSync(config, policy, { mode: 0o600 })
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
        return fetch(`http://${admin}/readyz`).then(
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
