import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPublished } from '../../bench/peers/build.ts'
import { startListening } from '../../bench/peers/listening.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import type { Server } from './serve.ts'
import { facts, type World } from './world.ts'

/** Of OPA-Envoy; the policy is for it. */
export const opaVersion = 'v1.4.2-envoy'

/** What OPA-Envoy has not, or a policy in Rego does not do by itself: cases that need one are counted apart. */
export const opaLacks: readonly string[] = ['revocation', 'exchange', 'enforce', 'keep', 'owner-api', 'redis', 'realms', 'partners', 'hashed-labels', 'header-map', 'certificate', 'skew', 'ways']

const policy = fileURLToPath(new URL('opa/policy.rego', import.meta.url))

/** Builds OPA-Envoy where that has not been done, and starts it with the corpus' policy in Rego. */
export async function serveOpa(world: World): Promise<Server> {
  const module = 'github.com/open-policy-agent/opa-envoy-plugin'
  const built = await buildPublished({ module, version: opaVersion, command: './cmd/opa-envoy-plugin', name: 'opa-envoy-plugin', seconds: 139 })
  const folder = temporaryFolder()
  const data = folder.file('data.json')
  writeFileSync(data, JSON.stringify({ attacks: { world: facts(world) } }))
  const config = folder.file('config.json')
  writeFileSync(config, JSON.stringify({ plugins: { envoy_ext_authz_grpc: { addr: world.check, path: 'attacks/authz/result' } } }))
  const command = [join(built, 'opa-envoy-plugin'), 'run', '--server', '--disable-telemetry', '--log-level', 'error'] as const
  const api = ['--addr', `unix://${folder.file('api.sock')}`]
  const server = await startListening('OPA-Envoy', world.check, [...command, ...api, '--config-file', config, policy, data], { folder: folder.path })
  return {
    stop: async () => {
      await server.stop()
      folder.remove()
    },
  }
}
