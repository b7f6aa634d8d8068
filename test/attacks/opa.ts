import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPublished } from '../../bench/peers/build.ts'
import { startProgram } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import type { Server } from './serve.ts'
import { facts, type World } from './world.ts'

/** Of OPA-Envoy; the policy is for it. */
export const opaVersion = 'v1.4.2-envoy'

/** What OPA-Envoy has not, or a policy in Rego does not do by itself: cases that need one are counted apart. */
export const opaLacks: readonly string[] = [
  'revocation',
  'exchange',
  'enforce',
  'keep',
  'owner-api',
  'redis',
  'realms',
  'partners',
  'hashed-labels',
  'header-map',
  'certificate',
  'skew',
  'claim-limit',
  'actors',
  'sharing',
  'ways',
]

const policy = fileURLToPath(new URL('opa/policy.rego', import.meta.url))

/** Builds OPA-Envoy where that has not been done, and starts it with the corpus' policy in Rego. */
export async function serveOpa(world: World): Promise<Server> {
  const module = 'github.com/open-policy-agent/opa-envoy-plugin'
  const built = await buildPublished({
    module,
    version: opaVersion,
    command: './cmd/opa-envoy-plugin',
    name: 'opa-envoy-plugin',
    seconds: 139,
  })
  const folder = temporaryFolder()
  const data = folder.file('data.json')
  writeFileSync(data, JSON.stringify({ attacks: { world: facts(world) } }))
  const config = folder.file('config.json')
  writeFileSync(config, JSON.stringify({ plugins: { envoy_ext_authz_grpc: { addr: world.main.check, path: 'attacks/authz/result' } } }))
  const command = [join(built, 'opa-envoy-plugin'), 'run', '--server', '--disable-telemetry', '--log-level', 'error'] as const
  const api = ['--addr', `unix://${folder.file('api.sock')}`]
  const [program, ...args] = [...command, ...api, '--config-file', config, policy, data]
  let stopping = false
  let running = startProgram(program!, args, { cwd: folder.path })
  const crashes: string[] = []
  // As a platform does: what ends is started again.
  const supervise = async (): Promise<void> => {
    for (;;) {
      await running.ended
      if (stopping) return
      crashes.push(running.stderr.find((line) => line.startsWith('panic:')) ?? 'it ended')
      running = startProgram(program!, args, { cwd: folder.path })
    }
  }
  const supervised = supervise()
  const stop = async () => {
    stopping = true
    await running.stop()
    await supervised
    folder.remove()
  }
  try {
    await until('OPA-Envoy to listen', () => accepts(world.main.check), 30_000)
  } catch (error) {
    await stop()
    throw new Error(`OPA-Envoy did not start: ${running.stderr.slice(-5).join('\n')}`, { cause: error })
  }
  return { crashes, stop }
}

function accepts(target: string): Promise<boolean> {
  const [host = '', port = ''] = target.split(':')
  return new Promise((done) => {
    const socket = connect(Number(port), host)
    socket.once('connect', () => done(true)).once('error', () => done(false))
    socket.once('connect', () => socket.destroy())
  })
}
