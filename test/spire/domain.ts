import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startTogether } from '../federation/real/together.ts'
import { freePort } from '../support/free-port.ts'
import { type Program, startProgram } from '../support/program.ts'
import type { TemporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const execute = promisify(execFile)

/** One X.509 authority of a SPIRE server, as `spire-server localauthority` calls it. */
interface LocalAuthority {
  readonly authority_id: string
}

/** A SPIRE server, and an agent on this host. */
export interface TrustDomain {
  readonly name: string
  /** The socket of the Workload API and of SDS. */
  readonly agentSocket: string
  /** Runs `spire-server` with these arguments; gives its output. */
  readonly server: (...args: readonly string[]) => Promise<string>
  /** Gives an ID to processes that run this program. @param seconds of life of an SVID */
  readonly register: (spiffeId: string, program: string, options?: { seconds?: number; more?: readonly string[] }) => Promise<void>
  /** Makes a new X.509 authority, which is in the bundle and does not sign yet. @returns its id */
  readonly prepareAuthority: () => Promise<string>
  /** Lets a prepared one sign. */
  readonly activateAuthority: (id: string) => Promise<void>
  /** Has everything renewed that was signed by the one that signed before. @returns its id */
  readonly taintOldAuthority: () => Promise<string>
  /** Takes a tainted one out of the bundle; an agent that has not renewed its own SVID by then is lost. */
  readonly revokeAuthority: (id: string) => Promise<void>
  readonly stopServer: () => Promise<void>
  readonly startServer: () => Promise<void>
  readonly stopAgent: () => Promise<void>
  readonly startAgent: () => Promise<void>
  readonly stop: () => Promise<void>
}

/** Why the tests with a real SPIRE do not run; undefined: they do. */
export const withoutSpire = (): string | undefined =>
  (['POSTERN_TEST_SPIRE', 'POSTERN_TEST_SPIFFE_HELPER', 'POSTERN_TEST_ENVOY'] as const).find((name) => process.env[name] === undefined)

/**
 * Starts a SPIRE server, and an agent that it let in by a join token. The agent knows processes by the program that they run, so
 * that all of them may have one user. Both keep their keys on disk: what is stopped may be started again.
 */
export function startDomain(name: string): Promise<TrustDomain> {
  const programs = process.env['POSTERN_TEST_SPIRE']
  if (programs === undefined) throw new Error('POSTERN_TEST_SPIRE is not set: run these tests with `npm test -- spire`')
  return startTogether('SPIRE', (folder, running) => start(name, programs, folder, running))
}

async function start(name: string, programs: string, folder: TemporaryFolder, running: Program[]): Promise<Omit<TrustDomain, 'stop'>> {
  const [port, serverSocket, agentSocket] = [await freePort(), folder.file('server.sock'), folder.file('agent.sock')]
  const server = async (...args: readonly string[]): Promise<string> =>
    (await execute(join(programs, 'spire-server'), [...args, '-socketPath', serverSocket])).stdout
  const file = (fileName: string, text: string): string => {
    writeFileSync(folder.file(fileName), text, { mode: 0o600 })
    return folder.file(fileName)
  }
  const begin = async (kind: 'spire-server' | 'spire-agent', args: readonly string[], socket: string): Promise<Program> => {
    const program = startProgram(join(programs, kind), ['run', ...args])
    running.push(program)
    const healthy = () => execute(join(programs, kind), ['healthcheck', '-socketPath', socket])
    const serves = () => {
      if (!program.running()) throw new Error('it ended')
      return succeeds(healthy())
    }
    try {
      await until('its health check', serves, 20_000)
    } catch (error) {
      const said = [...program.stdout, ...program.stderr].slice(-15).join('\n')
      throw new Error(`the ${kind} of ${name} does not serve:\n${said}`, { cause: error })
    }
    return program
  }

  const serverFile = file('server.conf', serverConfiguration(name, port, serverSocket, folder.path))
  const beginServer = () => begin('spire-server', ['-config', serverFile], serverSocket)
  let serverProgram = await beginServer()

  const bundle = file('bundle.pem', await server('bundle', 'show', '-format', 'pem'))
  const node = `spiffe://${name}/node`
  const [, token = ''] = /Token: (\S+)/.exec(await server('token', 'generate', '-spiffeID', node)) ?? []
  const agentFile = file('agent.conf', agentConfiguration(name, port, agentSocket, bundle, folder.path))
  // The token is good for once; an agent that starts again still has its SVID.
  const beginAgent = (...more: readonly string[]) => begin('spire-agent', ['-config', agentFile, ...more], agentSocket)
  let agentProgram = await beginAgent('-joinToken', token)

  const authority = async (...args: readonly string[]): Promise<Readonly<Record<string, LocalAuthority | undefined>>> =>
    JSON.parse(await server('localauthority', 'x509', ...args, '-output', 'json')) as Readonly<Record<string, LocalAuthority | undefined>>
  const idOf = (said: Readonly<Record<string, LocalAuthority | undefined>>, what: string): string => {
    const id = said[what]?.authority_id
    if (id === undefined) throw new Error(`spire-server named no ${what} authority: ${JSON.stringify(said)}`)
    return id
  }
  return {
    name,
    agentSocket,
    server,
    register: async (spiffeId, program, { seconds = 300, more = [] } = {}) => {
      const entry = ['-parentID', node, '-spiffeID', spiffeId, '-selector', `unix:path:${program}`, '-x509SVIDTTL', String(seconds)]
      await server('entry', 'create', ...entry, ...more)
    },
    prepareAuthority: async () => idOf(await authority('prepare'), 'prepared_authority'),
    activateAuthority: async (id) => void (await authority('activate', '-authorityID', id)),
    taintOldAuthority: async () => {
      const id = idOf(await authority('show'), 'old')
      await authority('taint', '-authorityID', id)
      return id
    },
    revokeAuthority: async (id) => void (await authority('revoke', '-authorityID', id)),
    stopServer: () => serverProgram.stop(),
    startServer: async () => {
      serverProgram = await beginServer()
    },
    stopAgent: () => agentProgram.stop(),
    startAgent: async () => {
      agentProgram = await beginAgent()
    },
  }
}

async function succeeds(call: Promise<unknown>): Promise<boolean> {
  try {
    await call
    return true
  } catch {
    return false
  }
}

const serverConfiguration = (trustDomain: string, port: number, socket: string, folder: string): string => `
server {
  bind_address = "127.0.0.1"
  bind_port = "${port}"
  socket_path = "${socket}"
  trust_domain = "${trustDomain}"
  data_dir = "${folder}/server"
  log_level = "WARN"
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3", connection_string = "${folder}/server.sqlite3" } }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { keys_path = "${folder}/server-keys.json" } }
}
`

const agentConfiguration = (trustDomain: string, port: number, socket: string, bundle: string, folder: string): string => `
agent {
  data_dir = "${folder}/agent"
  log_level = "WARN"
  server_address = "127.0.0.1"
  server_port = "${port}"
  socket_path = "${socket}"
  trust_bundle_path = "${bundle}"
  trust_domain = "${trustDomain}"
  experimental { sync_interval = "1s" }
}
plugins {
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "disk" { plugin_data { directory = "${folder}" } }
  WorkloadAttestor "unix" { plugin_data { discover_workload_path = true } }
}
`
