import assert from 'node:assert/strict'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { type Asker, openAsker } from '../faults/asker.ts'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { freePorts } from '../support/free-port.ts'
import { startPostern } from '../support/postern.ts'
import { startRedis } from '../support/redis.ts'
import { createStops, type Stops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const env = {
  POSTERN_TEST_ADMIN_SECRET: adminSecret,
  POSTERN_TEST_ENCRYPTION_KEY: '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff',
}

interface Replica {
  readonly admin: AdminClient
  readonly asker: Asker
  readonly issuer: string
}

/** Roles, and a route for each case. */
const rest = `roles: { viewer: {}, admin: { inherits: [viewer] } }
routes:
  - { id: any, path: /any }
  - { id: viewers, path: /viewers, roles: [viewer] }
  - { id: admins, path: /admins, roles: [admin] }
  - { id: operators, path: /operators, identity: [management-plane] }
  - { id: scoped, path: "/scoped/{id}", scopes: ["invoke:sandbox:{id}"] }
  - { id: owned, path: "/sandboxes/{id}", owner: { resource: sandbox, id: "path:id" } }
`

const agents = '  - { id: agents, path: /agents, identity: [agents] }\n'

describe('the operator page', function () {
  this.timeout(60_000)
  const folder = temporaryFolder()
  let stops: Stops
  const replicas: Replica[] = []
  let plain: Replica

  before(async () => {
    stops = createStops(folder.remove)
    const redis = stops.started(await startRedis())
    const open = async (policy: string, issuerListens: boolean): Promise<Replica> => {
      const [admin, issuer] = (await freePorts(2)).map((port) => `127.0.0.1:${port}`)
      const check = `unix:${folder.file(`check-${issuer?.split(':')[1]}.sock`)}`
      const listeners = `check: { address: "${check}" }, admin: { address: "${admin}" }`
      const listen = issuerListens ? `${listeners}, issuer: { address: "${issuer}", url: "http://127.0.0.1:9193" }` : listeners
      stops.started(await startPostern(`version: 1\nlisten: { ${listen} }\n${policy}${rest}${issuerListens ? agents : ''}`, { env }))
      const asker = openAsker(check)
      stops.started({ stop: asker.close })
      return { admin: await adminClient(admin!), asker, issuer: `http://${issuer}` }
    }
    const shared = `state: "redis://127.0.0.1:${redis.port}/0"
admin: { secret: "\${env:POSTERN_TEST_ADMIN_SECRET}" }
issuer: { keys: { encryption_key: "\${env:POSTERN_TEST_ENCRYPTION_KEY}" } }
identity: [{ name: agents, type: postern, subject_namespace: "agent:" }]
`
    for (let i = 0; i < 2; i++) replicas.push(await open(shared, true))
    const alone = `state: "memory:"\nadmin: { secret: "\${env:POSTERN_TEST_ADMIN_SECRET}" }\nidentity: []\n`
    plain = await open(alone, false)
  })
  after(() => stops?.stop())

  const mint = (by: Replica, body: object = {}) =>
    until('a page token', async () => {
      const answer = await by.admin.call('POST', '/v1/page-tokens', body)
      if (answer.status === 503) return undefined
      assert.equal(answer.status, 201, await answer.clone().text())
      return ((await answer.json()) as { access_token: string }).access_token
    })

  it('asks in the name of the operator, on each replica, for a minute at most', async () => {
    const [one, two] = replicas as [Replica, Replica]
    const token = await mint(one)
    const { iat, exp, sub, aud } = decodeJwt(token)
    assert.deepEqual([exp! - iat!, sub, aud], [60, 'admin', 'postern-page'])
    const { alg, typ } = decodeProtectedHeader(token)
    assert.deepEqual([alg, typ], ['RS256', 'postern-page+jwt'])
    for (const { asker } of [one, two]) {
      assert.equal(await asker.ask('/any', token), 'ok')
      assert.equal(await asker.ask('/operators', token), 'ok')
    }
    assert.equal(await two.asker.ask('/any', await mint(two)), 'ok')
  })
  it('has the roles and scopes that were asked for, and no others', async () => {
    const [{ asker }] = replicas as [Replica]
    const none = await mint(replicas[0]!)
    assert.equal(await asker.ask('/viewers', none), 'missing_role')
    assert.equal(await asker.ask('/scoped/s1', none), 'missing_scope')
    const viewer = await mint(replicas[0]!, { roles: ['viewer'], scopes: ['invoke:sandbox:s1'] })
    assert.equal(await asker.ask('/viewers', viewer), 'ok')
    assert.equal(await asker.ask('/admins', viewer), 'missing_role')
    assert.equal(await asker.ask('/scoped/s1', viewer), 'ok')
    assert.equal(await asker.ask('/scoped/s2', viewer), 'missing_scope')
  })
  it('is nobody whose name it bears elsewhere: owners are other people', async () => {
    const [{ admin, asker }] = replicas as [Replica]
    const token = await mint(replicas[0]!)
    await admin.setOwner('sandbox', 's1', 'admin')
    assert.equal(await asker.ask('/sandboxes/s1', token), 'not_owner')
    await admin.setOwner('sandbox', 's2', 'operator:admin')
    assert.equal(await asker.ask('/sandboxes/s2', token), 'ok')
  })
  it('enters only where routes let it, and nothing else enters in its place', async () => {
    const [{ admin, asker }] = replicas as [Replica]
    assert.equal(await asker.ask('/agents', await mint(replicas[0]!)), 'invalid_credential')
    const edge = await admin.mint({ subject: 'agent-1' })
    assert.equal(await asker.ask('/agents', edge.token), 'ok')
    assert.equal(await asker.ask('/operators', edge.token), 'no_validator_admitted')
  })
  it('is out when its token is revoked, on each replica', async () => {
    const token = await mint(replicas[0]!)
    await replicas[0]!.admin.revoke('token', String(decodeJwt(token).jti))
    for (const { asker } of replicas) await until('the revocation', async () => (await asker.ask('/any', token)) === 'revoked', 1000)
  })
  it('cannot use its token on the admin listener', async () => {
    const token = await mint(replicas[0]!)
    const status = await replicas[0]!.admin.call('GET', '/status')
    const answer = await fetch(status.url, { headers: { authorization: `Bearer ${token}` } })
    assert.equal(answer.status, 401)
  })
  it('has a key that no upstream is told of', async () => {
    const { kid } = decodeProtectedHeader(await mint(replicas[0]!))
    const { keys } = (await (await fetch(`${replicas[0]!.issuer}/jwks.json`)).json()) as { keys: { kid: string; alg: string }[] }
    assert.ok(keys.length > 0)
    assert.ok(keys.every((key) => key.kid !== kid && key.alg === 'ES256'))
  })
  it('works without an issuer listener and without any other validator', async () => {
    const token = await mint(plain, { roles: ['admin'] })
    assert.equal(decodeJwt(token).iss, 'urn:postern:default')
    assert.equal(await plain.asker.ask('/admins', token), 'ok')
    assert.equal(await plain.asker.ask('/admins'), 'no_credential')
    assert.equal(await plain.asker.ask('/admins', await mint(replicas[0]!)), 'no_validator_admitted', "another service's is a stranger's")
  })
})
