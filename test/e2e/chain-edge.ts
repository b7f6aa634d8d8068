import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import type { OutgoingHttpHeaders } from 'node:http'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { createPageKeys } from '../../src/compose/page-keys.ts'
import { makeApiKey } from '../../src/core/api-key.ts'
import { Unavailable } from '../../src/core/ports.ts'
import { openKeyRing } from '../../src/issuer/key-ring.ts'
import { keySet } from '../../src/issuer/key-set.ts'
import { createMint } from '../../src/issuer/mint.ts'
import { isPageKey } from '../../src/issuer/signing-key.ts'
import { adminClient, adminSecret } from '../support/admin.ts'
import { type Identity, testCertificates } from '../support/certificates.ts'
import { startEnvoy } from '../support/envoy.ts'
import { freePorts } from '../support/free-port.ts'
import { startOidc } from '../support/oidc.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import type { ClientTls } from '../support/request.ts'
import { jwtAuthn, manager, sandboxEnvoy } from '../support/sandbox-envoy.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { startUpstream } from '../support/upstream.ts'
import type { CredentialState, ValidatorName } from './chain-cases.ts'

/** A credential as a client presents it. */
export interface Presented {
  readonly headers?: OutgoingHttpHeaders
  readonly as?: Identity
}

/** Envoy with jwt_authn and client certificates, Postern behind it, and credentials of all kinds. */
export interface ChainEdge {
  readonly port: number
  readonly tls: (as: Identity | undefined) => ClientTls
  /** Puts another policy in force. */
  readonly take: (policy: string) => Promise<void>
  readonly credentials: Readonly<Record<ValidatorName, Readonly<Record<CredentialState, Presented>>>>
  readonly stop: () => Promise<void>
}

const bearer = (token: string): Presented => ({ headers: { authorization: `Bearer ${token}` } })
const basic = (text: string): Presented => ({ headers: { authorization: `Basic ${Buffer.from(text).toString('base64')}` } })
/** The signature's first character is another one. */
const broken = (token: string): string => {
  const dot = token.lastIndexOf('.')
  return `${token.slice(0, dot + 1)}${token[dot + 1] === 'A' ? 'B' : 'A'}${token.slice(dot + 2)}`
}

/** @param policy YAML of all validators, as it is in force at the start; `@…@` are filled in */
export async function startChainEdge(policy: string): Promise<ChainEdge> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const certificates = testCertificates(folder.path, 'workloads-ca')
    certificates.server('server')
    const users = started(await startOidc({ issuer: 'https://users.example' }))
    const stranger = started(await startOidc({ issuer: 'https://stranger.example' }))
    const here = started(await startOidc())
    const upstream = started(await startUpstream('upstream'))
    const shared = randomBytes(32).toString('hex')
    writeFileSync(folder.file('shared'), `${shared}\n`, { mode: 0o600 })
    const [admin, issuer] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`)
    const values: Record<string, string> = {
      ...{ check: `unix:${folder.file('check.sock')}`, admin: admin!, issuer: issuer!, folder: folder.path, here: here.issuer },
    }
    const filled = (text: string): string => text.replace(/@([a-z]+)@/g, (whole, name: string) => values[name] ?? whole)
    const postern = started(await startPostern(filled(policy), { env: { POSTERN_TEST_ADMIN_SECRET: adminSecret } }))
    const keys = await (await fetch(users.jwksUri)).text()
    const envoy = started(await startEnvoy(envoyConfig(folder.path, upstream.port, keys)))
    const operator = await adminClient(admin!)
    const own = started(await openOwnKeys(folder.file('postern.db'), `http://${issuer}`))

    const identity = (name: string, uri: string, more = {}): Identity => certificates.workload(name, uri, more)
    const [gatewayId, routerId] = ['spiffe://cluster.local/ns/edge/sa/gateway', 'spiffe://cluster.local/ns/agents/sa/router']
    const ended = { notBefore: new Date(Date.now() - 7_200_000), notAfter: new Date(Date.now() - 3_600_000) }
    const asGateway = identity('gateway', gatewayId)
    const asRouter = identity('router', routerId)

    const past = Math.floor(Date.now() / 1000) - 240
    const old = { iat: past, exp: past + 120 }
    const jwtOf = (by: typeof users, sub: string) => ({
      valid: by.mint({ sub, aud: 'edge' }),
      expired: by.mint({ sub, aud: 'edge', ...old }),
      revoked: by.mint({ sub, aud: 'edge', jti: `revoked-${sub}` }),
    })
    const [alice, bob] = [jwtOf(users, 'alice'), jwtOf(here, 'bob')]
    const strange = await stranger.mint({ sub: 'alice', aud: 'edge' })
    for (const name of ['alice', 'bob']) await operator.revoke('token', `revoked-${name}`)
    const [agent, lost] = [await operator.mint({ subject: 'agent-1' }), await operator.mint({ subject: 'agent-1' })]
    await operator.revoke('token', lost.jti)
    const call = async (path: string, body: object): Promise<Record<string, string>> => {
      const response = await operator.call('POST', path, body)
      const answer = (await response.json()) as Record<string, string>
      if (!response.ok) throw new Error(`${path} answered ${response.status}: ${JSON.stringify(answer)}`)
      return answer
    }
    const page = async () => until('page tokens', () => call('/v1/page-tokens', {}).catch(() => undefined))
    const [pageToken, lostPage] = [await page(), await page()]
    await operator.revoke('token', lostPage['jti']!)
    const [key, shortKey, lostKey] = [
      await call('/v1/api-keys', { owner: 'ci' }),
      await call('/v1/api-keys', { owner: 'ci', expires_in: 1 }),
      await call('/v1/api-keys', { owner: 'ci' }),
    ]
    const revoked = await operator.call('DELETE', `/v1/api-keys/${lostKey['id']}`)
    if (!revoked.ok) throw new Error(`revoking an API key answered ${revoked.status}: ${await revoked.text()}`)
    for (const subject of ['partner:eve', 'edge:eve', 'workload:spiffe://cluster.local/ns/agents/sa/retired'])
      await operator.revoke('subject', subject)
    const login = await fetch(`http://${admin}/v1/admin/auth`, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ secret: adminSecret }) },
    })
    const { access_token: adminToken } = (await login.json()) as { access_token: string }
    const secretOf = (made: Record<string, string>): string => made['api_key'] ?? made['key'] ?? ''

    const credentials: ChainEdge['credentials'] = {
      users: {
        valid: bearer(await alice.valid),
        missing: {},
        malformed: bearer(broken(await alice.valid)),
        expired: bearer(await alice.expired),
        revoked: bearer(await alice.revoked),
        foreign: bearer(strange),
      },
      here: {
        valid: bearer(await bob.valid),
        missing: {},
        malformed: bearer(broken(await bob.valid)),
        expired: bearer(await bob.expired),
        revoked: bearer(await bob.revoked),
        foreign: bearer(await alice.valid),
      },
      agents: {
        valid: bearer(agent.token),
        missing: {},
        malformed: bearer(broken(agent.token)),
        expired: bearer(own.edge(past * 1000)),
        revoked: bearer(lost.token),
        foreign: bearer(adminToken),
      },
      keys: {
        valid: { headers: { 'x-api-key': secretOf(key) } },
        missing: {},
        malformed: bearer(`${secretOf(key).slice(0, -1)}${secretOf(key).endsWith('A') ? 'B' : 'A'}`),
        expired: bearer(secretOf(shortKey)),
        revoked: bearer(secretOf(lostKey)),
        foreign: bearer(makeApiKey()),
      },
      partner: {
        valid: bearer(shared),
        missing: {},
        malformed: bearer(shared.slice(0, -1)),
        expired: bearer(randomBytes(32).toString('hex')),
        revoked: { headers: { authorization: `Bearer ${shared}`, 'x-end-user': 'eve' } },
        foreign: bearer(await alice.valid),
      },
      'management-plane': {
        valid: {
          get headers() {
            return { authorization: `Bearer ${own.page(Date.now())}` }
          },
        },
        missing: {},
        malformed: bearer(broken(pageToken['access_token']!)),
        expired: bearer(own.page(Date.now() - 61_000)),
        revoked: bearer(lostPage['access_token']!),
        foreign: bearer(agent.token),
      },
      gateway: {
        valid: { headers: { 'x-user-id': 'carol' }, as: asGateway },
        missing: { as: asGateway },
        malformed: { headers: { 'x-user-id': 'carol,dave' }, as: asGateway },
        expired: { headers: { 'x-user-id': 'carol' }, as: identity('old-gateway', gatewayId, ended) },
        revoked: { headers: { 'x-user-id': 'eve' }, as: asGateway },
        foreign: { headers: { 'x-user-id': 'carol' }, as: asRouter },
      },
      workloads: {
        valid: { as: asRouter },
        missing: {},
        malformed: { as: identity('plain', routerId, { uri: [], dns: ['router.example'] }) },
        expired: { as: identity('old', routerId, ended) },
        revoked: { as: identity('retired', 'spiffe://cluster.local/ns/agents/sa/retired') },
        foreign: { as: identity('foreign', 'spiffe://other.local/ns/agents/sa/router') },
      },
      passwords: {
        valid: basic(`anybody:${await bob.valid}`),
        missing: {},
        malformed: { headers: { authorization: 'Basic ~' } },
        expired: basic(`here:${await bob.expired}`),
        revoked: basic(`:${await bob.revoked}`),
        foreign: basic(`here:${strange}`),
      },
    }
    // Until the key of one second has ended.
    await new Promise((done) => setTimeout(done, 1100))
    return {
      port: envoy.port('edge'),
      tls: (as) => ({ ca: certificates.caPem, servername: 'localhost', ...(as && { cert: as.certPem, key: as.keyPem }) }),
      take: (text) => taken(postern, filled(text)),
      credentials,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function taken(postern: RunningPostern, policy: string): Promise<void> {
  const before = postern.logs().filter(({ msg }) => msg === 'policy in force').length
  postern.rewrite(policy)
  postern.program.signal('SIGHUP')
  await until('the policy to be in force', () => {
    const logs = postern.logs()
    const refusal = logs.slice(-20).find(({ msg }) => String(msg).startsWith('the changed policy is refused'))
    if (refusal) throw new Error(JSON.stringify(refusal))
    return logs.filter(({ msg }) => msg === 'policy in force').length > before
  })
}

/** Signs with the service's own keys what it would never mint: tokens of long ago. */
async function openOwnKeys(path: string, issuer: string) {
  const state = await openSqliteState({ path, realm: 'default' })
  const never = Number.POSITIVE_INFINITY
  const store = keySet(state.keys, (key) => !isPageKey(key))
  const ring = await openKeyRing({ store, feed: state.feed, publishBeforeMs: 0, rotateEveryMs: never, keepForMs: never })
  const mint = createMint({ issuer, signer: ring, adminAudience: 'postern-admin' })
  const fail = (cause: unknown): never => {
    throw cause
  }
  const pages = createPageKeys({ issuer, store: state.keys, feed: state.feed, rotateEveryMs: never, onFault: fail })
  pages.begin()
  const page = (now: number): string => pages.mint({ subject: 'admin', roles: [], scopes: [], ttl: 60, now }).token
  await until('the page key', () => {
    try {
      return page(0)
    } catch (cause) {
      return cause instanceof Unavailable ? undefined : fail(cause)
    }
  })
  return {
    edge: (now: number): string => mint.edge({ audience: 'postern', subject: 'agent-1', roles: [], scopes: [], ttl: 120, now }).token,
    page,
    stop: async () => {
      pages.close()
      ring.close()
      await state.close()
    },
  }
}

/** envoy.yaml with the users' keys told to it and one upstream. */
function envoyConfig(folder: string, upstream: number, keys: string): string {
  const document = sandboxEnvoy(folder, upstream)
  const at = jwtAuthn(document)
  document.setIn([...manager, 'http_filters', at, 'typed_config', 'providers'], {
    users: {
      ...{ issuer: 'https://users.example', audiences: ['edge'], forward: true, require_expiration: true, payload_in_metadata: 'users' },
      ...{ from_headers: [{ name: 'Authorization', value_prefix: 'Bearer ' }], local_jwks: { inline_string: keys } },
    },
  })
  document.setIn([...manager, 'route_config', 'virtual_hosts', 0, 'routes'], [{ match: { prefix: '/' }, route: { cluster: 'sandbox' } }])
  return String(document)
}
