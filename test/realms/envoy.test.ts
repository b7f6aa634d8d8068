import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { request } from '../support/request.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import type { Received } from '../support/upstream.ts'
import { encode, openAsker } from './rig.ts'

const realms = ['acme', 'globex'] as const
type Name = (typeof realms)[number]

const tenant = (realm: string): string => `version: 1
realm: ${realm}
roles: { "sandbox:invoke": {} }
identity:
  - name: users
    type: oidc
    issuer: "https://keycloak.example/realms/{realm}"
    audience: [agentcube-router]
    verified_by: envoy
    metadata_key: users-${realm}
    forward: true
    claims: { roles: realm_access.roles }
    subject_namespace: ""
  - { name: agents, type: postern, audience: postern, subject_namespace: "agent:" }
routes:
  - id: invoke-sandbox
    path: "/v1/sandboxes/{id}/**"
    roles: ["sandbox:invoke"]
    owner: { resource: sandbox, id: "path:id" }
    downstream: { audience: "picod-{realm}" }
`

const key = 'a'.repeat(64)
const main = (check: string, admin: string, issuer: string, redis: string): string => `version: 1
realms: [tenants/*.yaml]
listen:
  check: { address: "${check}" }
  admin: { address: "${admin}" }
  issuer: ${issuer}
state: "${redis}"
admin: { secret: "\${env:POSTERN_TEST_ADMIN_SECRET}", audience: "postern-admin-{realm}" }
issuer: { keys: { encryption_key: "\${env:POSTERN_TEST_KEY}" } }
`
/** The issuer of both replicas has one name. */
const issuerAt = (address: string, known: string) => `{ address: "${address}", url: "http://${known}/realms/{realm}" }`
const env = { POSTERN_TEST_ADMIN_SECRET: adminSecret, POSTERN_TEST_KEY: key }

describe('two tenants behind the real Envoy, two replicas on one Redis', function () {
  this.timeout(60_000)
  const folders = [temporaryFolder(), temporaryFolder()] as const
  let redis: RunningRedis
  let edge: Edge
  let second: RunningPostern
  let issuer: string
  let other: ReturnType<typeof openAsker>
  /** Of the first replica, which Envoy asks, and of the second. */
  let admins: readonly [Record<Name, AdminClient>, Record<Name, AdminClient>]

  const both = async (address: string): Promise<Record<Name, AdminClient>> => ({
    acme: await adminClient(`${address}/realms/acme`),
    globex: await adminClient(`${address}/realms/globex`),
  })

  before(async () => {
    redis = await startRedis()
    for (const folder of folders) {
      mkdirSync(folder.file('tenants'))
      for (const realm of realms) writeFileSync(folder.file(`tenants/${realm}.yaml`), tenant(realm))
    }
    let first = ''
    edge = await startEdge(
      'tenants.yaml',
      '',
      (_, at) => {
        first = at.admin
        issuer = at.issuer
        return startPostern(main(at.check, at.admin, issuerAt(at.issuer, at.issuer), redis.url), { folder: folders[0], env })
      },
      1,
      // One server has the keys of both issuers, and they are the same: whose token it is, is said by `iss` alone.
      (text) => text.replace(/realms\/(?:acme|globex)\/protocol/g, 'realms/default/protocol'),
    )
    const [check, admin, own] = (await freePorts(3)).map((port) => `127.0.0.1:${port}`) as [string, string, string]
    second = await startPostern(main(check, admin, issuerAt(own, issuer), redis.url), { folder: folders[1], env })
    admins = [await both(first), await both(admin)]
    other = openAsker(check)
  })
  after(async () => {
    other?.close()
    await second?.stop()
    await edge?.stop()
    await redis?.stop()
    for (const folder of folders) folder.remove()
  })

  const token = (realm: Name, sub: string) =>
    edge.users.mint({
      sub,
      iss: `https://keycloak.example/realms/${realm}`,
      aud: 'agentcube-router',
      realm_access: { roles: ['sandbox:invoke'] },
    })
  const ask = async (host: string, presented: string | undefined, path = '/v1/sandboxes/s1/run') => {
    const headers = { host, ...(presented === undefined ? {} : { authorization: `Bearer ${presented}` }) }
    const response = await request({ port: edge.port, tls: { ...edge.tls(), servername: 'edge.example' }, path, headers })
    const decision =
      response.headers['x-postern-decision'] ?? (JSON.parse(response.body || '{}') as Partial<Received>).headers?.['x-postern-decision']
    const line = await edge.envoy.logLine({ decision_id: decision })
    return { response, reason: line['reason'], realm: line['realm'], owner: line['owner_match'] }
  }
  const hostOf = (realm: Name) => `${realm}.agents.example`

  it('judge each host in its realm, and the access log says which', async () => {
    for (const realm of realms) {
      const { reason, realm: told, response } = await ask(hostOf(realm), await token(realm, 'alice'))
      assert.deepEqual([response.status, reason, told], [403, 'not_owner', realm])
    }
  })

  it('deny hosts of nobody, whatever they bring', async () => {
    const { response, reason, realm } = await ask('initech.agents.example', await token('acme', 'alice'))
    assert.deepEqual([response.status, reason, realm ?? ''], [403, 'no_route', ''])
  })

  it('refuse tokens of the other tenant, although the same key has signed them', async () => {
    assert.equal((await ask(hostOf('globex'), await token('acme', 'alice'))).reason, 'no_validator_admitted')
    assert.equal((await ask(hostOf('acme'), await token('globex', 'alice'))).reason, 'no_validator_admitted')
  })

  it('refuse tokens of the other realm’s own issuer', async () => {
    const minted = await admins[0].acme.mint({ subject: 'agent-7', roles: ['sandbox:invoke'] })
    assert.equal((await ask(hostOf('acme'), minted.token)).reason, 'not_owner')
    assert.equal((await ask(hostOf('globex'), minted.token)).reason, 'no_validator_admitted')
  })

  it('have owners apart, on both replicas: the same subject, and the same id', async () => {
    // Written at the replica that Envoy does not ask.
    await admins[1].acme.setOwner('sandbox', 's1', 'alice')
    const alice = { acme: await token('acme', 'alice'), globex: await token('globex', 'alice') }
    await until('the owner', async () => (await ask(hostOf('acme'), alice.acme)).reason === 'ok')
    assert.equal((await ask(hostOf('globex'), alice.globex)).reason, 'not_owner')
    const keys = await redis.client().keys('postern:*:labels:*')
    assert.deepEqual(keys, ['postern:acme:labels:sandbox:s1'])
  })

  it('mint downstream tokens by the issuer and the key of the realm alone', async () => {
    const { response } = await ask(hostOf('acme'), await token('acme', 'alice'))
    assert.equal(response.status, 200, response.body)
    const downstream = ((JSON.parse(response.body) as Received).headers['authorization'] ?? '').slice('Bearer '.length)
    assert.deepEqual([decodeJwt(downstream).iss, decodeJwt(downstream).aud], [`http://${issuer}/realms/acme`, 'picod-acme'])
    const keysOf = (realm: Name) => createRemoteJWKSet(new URL(`http://${issuer}/realms/${realm}/jwks.json`))
    await jwtVerify(downstream, keysOf('acme'), { issuer: `http://${issuer}/realms/acme`, audience: 'picod-acme' })
    await assert.rejects(jwtVerify(downstream, keysOf('globex')), { code: 'ERR_JWKS_NO_MATCHING_KEY' })
  })

  it('have revocations apart, in force on the other replica within a second', async () => {
    await admins[0].globex.setOwner('sandbox', 's1', 'alice')
    const alice = { acme: await token('acme', 'alice'), globex: await token('globex', 'alice') }
    await until('the other owner', async () => (await ask(hostOf('globex'), alice.globex)).reason === 'ok')
    await admins[1].acme.revoke('subject', 'alice')
    await until('the revocation', async () => (await ask(hostOf('acme'), alice.acme)).reason === 'revoked', 2000)
    assert.equal((await ask(hostOf('globex'), alice.globex)).reason, 'ok')
  })

  it('agree on both replicas, whose keys are the same', async () => {
    const { token: minted } = await admins[0].globex.mint({ subject: 'agent-9', roles: ['sandbox:invoke'] })
    await admins[0].globex.setOwner('sandbox', 's9', 'agent:agent-9')
    const path = '/v1/sandboxes/s9/run'
    const at = (realm: Name) => other.askBytes(encode({ extensions: { realm }, path, token: minted }))
    await until('the second replica to know the owner', async () => (await at('globex')).reason === 'ok')
    assert.deepEqual([(await at('acme')).reason, (await at('acme')).realm], ['no_validator_admitted', 'acme'])
  })
})
