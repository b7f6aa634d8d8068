import { fileURLToPath } from 'node:url'
import { type Program, startProgram } from '../support/program.ts'
import { until } from '../support/until.ts'

/** The SPIFFE ID of a service account of the platform. */
export const accountId = (account: string): string => `spiffe://cluster.local/ns/agentcube-system/sa/${account}`

/** A sample of deploy/upstreams that runs as a process of its own. */
export interface Sample {
  readonly port: number
  /** Of the listener for probes; 0 without one. */
  readonly health: number
  readonly program: Program
  /** Its JSON lines. */
  readonly logs: () => Readonly<Record<string, unknown>>[]
  readonly stop: () => Promise<void>
}

/** The flags of the `mtls` mode, with the certificate of this name in a folder of test certificates. */
export const mtlsFlags = (folder: string, name: string): string[] => [
  ...['--cert', `${folder}/${name}.crt`, '--key', `${folder}/${name}.key`, '--ca', `${folder}/workloads-ca.crt`],
  ...['--allow', accountId('router')],
]

/** Starts a sample on a free port of loopback, and waits until it says that it listens. */
export async function startSample(
  name: 'picod' | 'workloadmanager',
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Sample> {
  const file = fileURLToPath(new URL(`../../deploy/upstreams/${name}.ts`, import.meta.url))
  const program = startProgram(process.execPath, [file, '--listen', '127.0.0.1:0', ...args], { env })
  const logs = () => program.stdout.flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Record<string, unknown>] : []))
  const told = await until(`${name} to listen`, () => {
    if (!program.running()) throw new Error(`${name} ended:\n${[...program.stdout, ...program.stderr].join('\n')}`)
    return logs().find(({ listening }) => listening !== undefined)
  })
  const portOf = (address: unknown): number =>
    Number(
      String(address ?? ':0')
        .split(':')
        .at(-1),
    )
  return { port: portOf(told['listening']), health: portOf(told['health']), program, logs, stop: () => program.stop() }
}
