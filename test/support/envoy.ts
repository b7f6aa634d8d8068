import { readFileSync, writeFileSync } from 'node:fs'
import { type EnvoyFileName, envoyText } from './envoy-document.ts'
import { type Program, startProgram } from './program.ts'
import { temporaryFolder } from './temporary-folder.ts'
import { until } from './until.ts'

const binary = process.env['POSTERN_TEST_ENVOY'] ?? 'envoy'

/** One access-log line: the JSON that the files in envoy/ print. */
export type AccessLogLine = Readonly<Record<string, unknown>>

export interface RunningEnvoy {
  /** The port of a listener, by its name. */
  readonly port: (listener: string) => number
  /** Asks the admin interface; gives the body. */
  readonly admin: (path: string, method?: 'GET' | 'POST') => Promise<string>
  readonly accessLog: () => readonly AccessLogLine[]
  /** Waits for a line in which each of these fields has this value, such as `{ decision_id: '…' }`. */
  readonly logLine: (fields: AccessLogLine, limit?: number) => Promise<AccessLogLine>
  readonly program: Program
  readonly stop: () => Promise<void>
}

/**
 * Reads a ready configuration from envoy/ and puts this test's ports and paths in.
 * @param name such as `envoy.yaml`
 * @param replacements text → text. Each must occur, so that a test does not go on with what it meant to replace.
 */
export function envoyFile(name: EnvoyFileName, replacements: Readonly<Record<string, string>>): string {
  let text = envoyText(name)
  for (const [from, to] of Object.entries(replacements)) {
    if (!text.includes(from)) throw new Error(`envoy/${name} was expected to hold ${JSON.stringify(from)}`)
    text = text.replaceAll(from, to)
  }
  return text
}

/**
 * Starts the real Envoy, and waits until it is ready.
 * @param config YAML text, or an object that is given to Envoy as JSON. Listeners, and the admin interface, should have port 0.
 * @param concurrency its worker threads, each with connections of its own
 * @throws with the end of its log when it does not start
 */
export async function startEnvoy(config: string | object, concurrency = 1): Promise<RunningEnvoy> {
  const folder = temporaryFolder()
  const configPath = folder.file(typeof config === 'string' ? 'envoy.yaml' : 'envoy.json')
  const adminPath = folder.file('admin')
  writeFileSync(configPath, typeof config === 'string' ? config : JSON.stringify(config), { mode: 0o600 })
  const program = startProgram(binary, [
    ...['--config-path', configPath, '--admin-address-path', adminPath, '--concurrency', String(concurrency), '--log-level', 'warning'],
    // No shared memory, so that Envoys of other tests do not matter; and access logs soon enough for a test.
    ...['--disable-hot-restart', '--file-flush-interval-msec', '50', '--drain-time-s', '1'],
  ])
  const stop = async () => {
    await program.stop()
    folder.remove()
  }
  const failure = () => new Error(`Envoy (${binary}) did not become ready:\n${program.stderr.slice(-15).join('\n')}`)
  try {
    const address = await until('the address of Envoy’s admin interface', () => {
      if (!program.running()) throw failure()
      return readIfThere(adminPath)
    })
    const admin = async (path: string, method: 'GET' | 'POST' = 'GET') => (await fetch(`http://${address}${path}`, { method })).text()
    await until('Envoy’s /ready', async () => {
      if (!program.running()) throw failure()
      return (await admin('/ready')).startsWith('LIVE')
    })
    const ports = await listenerPorts(admin)
    const accessLog = () => program.stdout.flatMap(parsed)
    return {
      port: (listener) => {
        const port = ports.get(listener)
        if (port === undefined) throw new Error(`Envoy has no listener ${listener}, but ${[...ports.keys()].join(', ')}`)
        return port
      },
      admin,
      accessLog,
      logLine: (fields, limit = 5_000) =>
        until(`an access-log line with ${JSON.stringify(fields)}`, () => accessLog().find((line) => holds(line, fields)), limit),
      program,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

const holds = (line: AccessLogLine, fields: AccessLogLine) => Object.entries(fields).every(([name, value]) => line[name] === value)

function parsed(line: string): AccessLogLine[] {
  return line.startsWith('{') ? [JSON.parse(line) as AccessLogLine] : []
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8') || undefined
  } catch {
    return undefined // not written yet
  }
}

interface ListenerStatus {
  readonly name: string
  readonly local_address: { readonly socket_address?: { readonly port_value: number } }
}

async function listenerPorts(admin: (path: string) => Promise<string>): Promise<Map<string, number>> {
  const { listener_statuses = [] } = JSON.parse(await admin('/listeners?format=json')) as { listener_statuses?: ListenerStatus[] }
  return new Map(listener_statuses.map(({ name, local_address }) => [name, local_address.socket_address?.port_value ?? 0]))
}
