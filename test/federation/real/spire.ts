import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../../support/free-port.ts'
import { type Program, startProgram } from '../../support/program.ts'
import type { TemporaryFolder } from '../../support/temporary-folder.ts'
import { until } from '../../support/until.ts'
import { startTogether } from './together.ts'

const execute = promisify(execFile)

export interface RunningSpire {
  /** A JWT-SVID of this process, by the agent's Workload API. */
  readonly fetch: (audience: string, spiffeId?: string) => Promise<string>
  /** Gives processes of this user another identity, and waits until the agent knows it. */
  readonly register: (spiffeId: string) => Promise<void>
  /** The trust bundle as SPIFFE has it (a JWK Set), now. */
  readonly bundle: () => Promise<string>
  /** Makes a new key for JWT-SVIDs the one that signs. */
  readonly rotate: () => Promise<void>
  readonly stop: () => Promise<void>
}

/**
 * Starts a SPIRE server, and an agent that it let in by a join token. Needs POSTERN_TEST_SPIRE, the folder of both programs, as
 * `npm test` sets it.
 */
export async function startSpire(trustDomain: string): Promise<RunningSpire> {
  const programs = process.env['POSTERN_TEST_SPIRE']
  if (programs === undefined) throw new Error('POSTERN_TEST_SPIRE is not set: run these tests with `npm test -- workloads`')
  return startTogether('SPIRE', (folder, running) => start(trustDomain, programs, folder, running))
}

async function start(
  trustDomain: string,
  programs: string,
  folder: TemporaryFolder,
  running: Program[],
): Promise<Omit<RunningSpire, 'stop'>> {
  const [port, serverSocket, agentSocket] = [await freePort(), folder.file('server.sock'), folder.file('agent.sock')]
  const server = async (...args: readonly string[]): Promise<string> =>
    (await execute(join(programs, 'spire-server'), [...args, '-socketPath', serverSocket])).stdout
  const file = (name: string, text: string): string => {
    writeFileSync(folder.file(name), text, { mode: 0o600 })
    return folder.file(name)
  }

  const serverFile = file('server.conf', serverConfiguration(trustDomain, port, serverSocket, folder.path))
  running.push(startProgram(join(programs, 'spire-server'), ['run', '-config', serverFile]))
  await until('the SPIRE server to serve', () => succeeds(server('healthcheck')))

  const bundle = file('bundle.pem', await server('bundle', 'show', '-format', 'pem'))
  const node = `spiffe://${trustDomain}/node`
  const [, token] = /Token: (\S+)/.exec(await server('token', 'generate', '-spiffeID', node)) ?? []
  const agentFile = file('agent.conf', agentConfiguration(trustDomain, port, agentSocket, bundle, folder.path))
  running.push(startProgram(join(programs, 'spire-agent'), ['run', '-config', agentFile, '-joinToken', token ?? '']))
  const agent = async (...args: readonly string[]): Promise<string> =>
    (await execute(join(programs, 'spire-agent'), [...args, '-socketPath', agentSocket])).stdout
  await until('the SPIRE agent to serve', () => succeeds(agent('healthcheck')))

  const fetch = async (audience: string, spiffeId?: string): Promise<string> => {
    const id = spiffeId === undefined ? [] : ['-spiffeID', spiffeId]
    const said = await agent('api', 'fetch', 'jwt', '-audience', audience, ...id)
    const [found] = /[\w-]+\.[\w-]+\.[\w-]+/.exec(said.slice(said.indexOf('token('))) ?? []
    if (found === undefined) throw new Error(`the agent gave no JWT-SVID: ${said}`)
    return found
  }
  return {
    fetch,
    register: async (spiffeId) => {
      await server('entry', 'create', '-parentID', node, '-spiffeID', spiffeId, '-selector', `unix:uid:${process.getuid?.()}`)
      await until(`the agent to know ${spiffeId}`, () => succeeds(fetch('x', spiffeId)), 30_000)
    },
    bundle: () => server('bundle', 'show', '-format', 'spiffe'),
    rotate: async () => {
      await server('localauthority', 'jwt', 'prepare')
      const [, id] = /Authority ID: (\S+)/.exec(await server('localauthority', 'jwt', 'show').then(prepared)) ?? []
      await server('localauthority', 'jwt', 'activate', '-authorityID', id ?? '')
    },
  }
}

/** The part of `localauthority jwt show` that is about the key which does not sign yet. */
const prepared = (said: string): string => said.slice(said.indexOf('Prepared'))

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
  default_jwt_svid_ttl = "5m"
}
plugins {
  DataStore "sql" { plugin_data { database_type = "sqlite3", connection_string = "${folder}/server.sqlite3" } }
  NodeAttestor "join_token" { plugin_data {} }
  KeyManager "memory" { plugin_data {} }
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
  KeyManager "memory" { plugin_data {} }
  WorkloadAttestor "unix" { plugin_data {} }
}
`
