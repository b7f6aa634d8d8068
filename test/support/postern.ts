import { renameSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import { parseDocument } from 'yaml'
import { type Program, startProgram } from './program.ts'
import { type TemporaryFolder, temporaryFolder } from './temporary-folder.ts'
import { until } from './until.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

export interface RunningPostern {
  readonly program: Program
  /** Path of the policy file. */
  readonly config: string
  /** JSON log lines of stdout and stderr. */
  readonly logs: () => Readonly<Record<string, unknown>>[]
  /** Waits for a log line that the test recognizes. */
  readonly log: (
    what: string,
    is: (line: Readonly<Record<string, unknown>>) => boolean,
    limit?: number,
  ) => Promise<Readonly<Record<string, unknown>>>
  /** Replaces the policy file in one step (rename), as editors and ConfigMaps do. The caller waits for its effect. */
  readonly rewrite: (policy: string) => void
  /** SIGTERM; gives the exit code. */
  readonly stop: () => Promise<number | null>
  /** SIGKILL. */
  readonly kill: () => Promise<void>
}

/**
 * Starts `postern serve` from the sources in a process of its own, with a policy file, and waits until it is ready: /readyz where
 * there is a plaintext admin listener on TCP, else the Check address accepting connections.
 * @param policy YAML text
 * @param options `env` is added to this process's; `folder` holds the policy file and is then the caller's to remove
 * @throws with the end of its output when it ends instead
 */
export async function startPostern(
  policy: string,
  options: { env?: NodeJS.ProcessEnv; folder?: TemporaryFolder; limit?: number } = {},
): Promise<RunningPostern> {
  const folder = options.folder ?? temporaryFolder()
  const config = folder.file('postern.yaml')
  const rewrite = (text: string) => {
    writeFileSync(`${config}.new`, text, { mode: 0o600 })
    renameSync(`${config}.new`, config)
  }
  rewrite(policy)
  const program = startProgram(process.execPath, [main, 'serve', '--config', config], {
    cwd: folder.path,
    ...(options.env === undefined ? {} : { env: options.env }),
  })
  const over = () => {
    if (options.folder === undefined) folder.remove()
  }
  const stop = async () => {
    await program.stop()
    over()
    return (await program.ended).code
  }
  const ready = readiness(policy)
  try {
    await until(
      'Postern to be ready',
      async () => {
        if (!program.running()) {
          const { code } = await program.ended
          throw new Error(
            `postern serve ended with ${code} instead of serving:\n${[...program.stdout, ...program.stderr].slice(-20).join('\n')}`,
          )
        }
        return ready()
      },
      options.limit ?? 15_000,
    )
  } catch (error) {
    await stop()
    throw error
  }
  const logs = () => [...program.stdout, ...program.stderr].flatMap(parsed)
  return {
    program,
    config,
    logs,
    log: (what, is, limit = 5_000) => until(`a log line of Postern: ${what}`, () => logs().find(is), limit),
    rewrite,
    stop,
    kill: async () => {
      program.signal('SIGKILL')
      await program.ended
      over()
    },
  }
}

function parsed(line: string): Record<string, unknown>[] {
  return line.startsWith('{') ? [JSON.parse(line) as Record<string, unknown>] : []
}

/** How to ask whether the service that a policy describes is up; never, where it is too broken to say: such a service ends. */
function readiness(policy: string): () => Promise<boolean> {
  const { admin, check } = listeners(policy)
  if (admin && !admin.address.startsWith('unix:') && (admin.tls?.mode ?? 'none') === 'none') {
    return () =>
      fetch(`http://${admin.address}/readyz`).then(
        ({ ok }) => ok,
        () => false,
      )
  }
  return check ? () => accepts(check.address) : () => Promise.resolve(false)
}

function listeners(policy: string): { check?: Listener; admin?: Listener } {
  const document = parseDocument(policy)
  if (document.errors.length > 0) return {}
  const { listen = {} } = (document.toJS() ?? {}) as { listen?: { check?: Listener; admin?: Listener } }
  return listen
}

interface Listener {
  readonly address: string
  readonly tls?: { readonly mode: string }
}

function accepts(address: string): Promise<boolean> {
  return new Promise((done) => {
    const [host = '', port = '0'] = address.split(/:(?=\d+$)/)
    const socket = address.startsWith('unix:') ? connect(address.slice('unix:'.length)) : connect(Number(port), host)
    socket.once('connect', () => {
      socket.destroy()
      done(true)
    })
    socket.once('error', () => done(false))
  })
}
