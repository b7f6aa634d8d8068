import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { parseDocument } from 'yaml'
import { readPolicy } from '../../src/config/read.ts'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { type Certificates, testCertificates } from '../support/certificates.ts'
import { fixture } from '../support/edge.ts'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePorts } from '../support/free-port.ts'
import { type OidcIssuer, startOidc } from '../support/oidc.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { jwtAuthn, manager, sandboxEnvoy } from '../support/sandbox-envoy.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { startTokenEndpoint, type TokenEndpoint } from '../support/token-endpoint.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

/** Envoy, Postern, and everything that can fail behind them. */
export interface ReasonsEdge {
  /** As shipped: it refuses and repairs many paths itself. */
  readonly hardened: RunningEnvoy
  /** Lets through what it can, so that Postern's own rules are seen. */
  readonly lenient: RunningEnvoy
  readonly postern: RunningPostern
  readonly admin: AdminClient
  readonly redis: RunningRedis
  readonly endpoint: TokenEndpoint
  readonly upstream: Upstream
  readonly certificates: Certificates
  readonly issuers: Readonly<Record<'users' | 'partners' | 'here' | 'gone', OidcIssuer>>
  /** Of the policy, as the test computes it. */
  readonly revision: string
  readonly stop: () => Promise<void>
}

const env = {
  POSTERN_TEST_ADMIN_SECRET: adminSecret,
  POSTERN_TEST_ENCRYPTION_KEY: '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff',
}

/** Starts it all, with reasons.yaml. */
export async function startReasonsEdge(): Promise<ReasonsEdge> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const certificates = testCertificates(folder.path, 'workloads-ca')
    certificates.server('server')
    const issuers = {
      users: started(await startOidc({ issuer: 'https://users.example' })),
      partners: started(await startOidc({ issuer: 'https://partners.example' })),
      here: started(await startOidc()),
      gone: started(await startOidc()),
    }
    issuers.gone.behave('fails')
    const endpoint = started(await startTokenEndpoint())
    const upstream = started(await startUpstream('upstream'))
    const redis = started(await startRedis())
    const [admin, issuer] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`)
    const values: Record<string, string> = {
      check: `unix:${folder.file('check.sock')}`,
      admin: admin!,
      issuer: issuer!,
      redis: String(redis.port),
      here: issuers.here.issuer,
      gone: issuers.gone.issuer,
      endpoint: endpoint.url,
    }
    const policy = fixture('reasons.yaml').replace(/@([a-z]+)@/g, (whole, name: string) => values[name] ?? whole)
    const postern = started(await startPostern(policy, { env }))
    const keys = { users: await keySet(issuers.users), partners: await keySet(issuers.partners) }
    const hardened = started(await startEnvoy(envoyConfig(folder.path, upstream.port, keys)))
    const lenient = started(await startEnvoy(loosened(envoyConfig(folder.path, upstream.port, keys))))
    const revision = await revisionOf(folder.file('postern.yaml'), policy)
    const adminOf = await adminClient(admin!)
    return { hardened, lenient, postern, admin: adminOf, redis, endpoint, upstream, certificates, issuers, revision, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

const keySet = async ({ jwksUri }: OidcIssuer): Promise<string> => (await fetch(jwksUri)).text()

async function revisionOf(file: string, policy: string): Promise<string> {
  writeFileSync(file, policy, { mode: 0o600 })
  const read = await readPolicy({ file, env: { ...process.env, ...env } })
  assert.ok(read.ok, JSON.stringify(read))
  return read.loaded.revision
}

/** envoy.yaml with keys told to it, one upstream, and a second provider, which reads a header of its own. */
function envoyConfig(folder: string, upstream: number, keys: Readonly<Record<'users' | 'partners', string>>): string {
  const document = sandboxEnvoy(folder, upstream)
  const at = jwtAuthn(document)
  const jwt = [...manager, 'http_filters', at, 'typed_config']
  const common = { audiences: ['edge'], forward: true, require_expiration: true, clock_skew_seconds: 60 }
  const provider = (issuer: string, from: object, name: 'users' | 'partners') => ({
    ...{ ...common, issuer, from_headers: [from], payload_in_metadata: name, local_jwks: { inline_string: keys[name] } },
  })
  document.setIn([...jwt, 'providers'], {
    users: provider('https://users.example', { name: 'Authorization', value_prefix: 'Bearer ' }, 'users'),
    partners: provider('https://partners.example', { name: 'x-partner-token' }, 'partners'),
  })
  const optional = (name: string) => ({ requires_any: { requirements: [{ provider_name: name }, { allow_missing_or_failed: {} }] } })
  document.setIn([...jwt, 'rules', 0, 'requires'], { requires_all: { requirements: [optional('users'), optional('partners')] } })
  document.setIn([...manager, 'route_config', 'virtual_hosts', 0, 'routes'], [{ match: { prefix: '/' }, route: { cluster: 'sandbox' } }])
  return String(document)
}

/** What the shipped files tell Envoy to refuse or to repair, left to Postern. */
function loosened(config: string): string {
  const document = parseDocument(config)
  const manager = ['static_resources', 'listeners', 0, 'filter_chains', 0, 'filters', 0, 'typed_config']
  document.setIn([...manager, 'normalize_path'], false)
  document.setIn([...manager, 'merge_slashes'], false)
  document.setIn([...manager, 'path_with_escaped_slashes_action'], 'KEEP_UNCHANGED')
  document.setIn([...manager, 'common_http_protocol_options', 'headers_with_underscores_action'], 'ALLOW')
  return String(document)
}
