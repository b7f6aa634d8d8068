import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { createIds } from '../../src/adapters/ids.ts'
import { type Check, createCheck } from '../../src/check/check.ts'
import { openIssuer } from '../../src/compose/issuer.ts'
import { openRulings } from '../../src/compose/rulings.ts'
import { openState } from '../../src/compose/state.ts'
import { readPolicy } from '../../src/config/read.ts'
import type { Answer } from '../../src/core/answer.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { metadataValue } from '../../src/core/metadata.ts'
import { ownerLabelValue } from '../../src/core/ownership.ts'
import { aRequest, type RequestParts } from '../support/facts.ts'
import { type OidcIssuer, startOidc } from '../support/oidc.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'

const router = 'spiffe://cluster.local/ns/agents/sa/router'

const policy = (folder: string, issuer: string): string => `version: 1
listen:
  check: { address: "unix:${folder}/check.sock" }
  issuer: { address: 127.0.0.1:9193 }
state: "file:${folder}/postern.db"
identity:
  - { name: users, type: oidc, issuer: "https://users.example", audience: [edge], verified_by: envoy, metadata_key: users, subject_namespace: "" }
  - { name: own, type: oidc, issuer: "${issuer}", audience: [edge], subject_namespace: "own:" }
  - { name: agents, type: postern, audience: postern, subject_namespace: "agent:" }
  - { name: workloads, type: mtls, trust_domain: cluster.local, roles: { "${router}": [invoke] }, subject_namespace: "workload:" }
roles:
  invoke: {}
routes:
  - { id: public, path: /healthz, public: true }
  - { id: plain, path: /plain, roles: [invoke] }
  - id: minted
    path: "/minted/{id}"
    roles: [invoke]
    when: "principal.subject != ''"
    downstream: { audience: "picod" }
  - id: owned
    path: "/sandboxes/{id}"
    roles: [invoke]
    owner: { resource: sandbox, id: "path:id" }
    downstream: { audience: picod }
`

describe('a check whose answer is in memory', () => {
  let folder: TemporaryFolder
  let issuer: OidcIssuer
  let check: Check
  const closing: (() => unknown)[] = []
  /** What a request presents, by who it is. */
  const callers: Record<string, RequestParts> = {}

  before(async () => {
    folder = temporaryFolder()
    issuer = await startOidc()
    const file = folder.file('postern.yaml')
    writeFileSync(file, policy(folder.path, issuer.issuer), { mode: 0o600 })
    const read = await readPolicy({ file, env: {} })
    assert.ok(read.ok, JSON.stringify(read))
    const { loaded } = read
    const fail = (cause: unknown) => assert.fail(String(cause))
    const state = await openState(loaded.settings.state, 'default', fail)
    const parts = await openIssuer(loaded.settings, state, fail, true)
    assert.ok(parts)
    const rulings = await openRulings(loaded, {
      state,
      issuer: parts,
      clock: { due: () => true, ran: () => {}, waited: () => {} },
      onRejection: fail,
      onSourceFault: fail,
      onMinted: () => {},
    })
    closing.push(rulings.close, parts.close, () => state.close())
    check = createCheck({ ruling: rulings.current, observe: () => {}, newId: createIds(), clock: Date.now })

    const now = Math.floor(Date.now() / 1000)
    const claims = { sub: 'alice', aud: 'edge', roles: ['invoke'] }
    const verified: JsonObject = { iss: 'https://users.example', ...claims, iat: now, exp: now + 300 }
    const edge = await parts.mint.edge({
      audience: 'postern',
      subject: 'crawler',
      roles: ['invoke'],
      scopes: [],
      ttl: 300,
      now: Date.now(),
    })
    const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } })
    Object.assign(callers, {
      'oidc, verified by Envoy': { verified: { users: verified } },
      'oidc, verified here': bearer(await issuer.mint(claims)),
      'a token of our own issuer': bearer(edge.token),
      'a client certificate': { peerPrincipal: router },
    })
    for (const owner of ['alice', 'own:alice', 'agent:crawler', `workload:${router}`]) {
      const id = owner.replaceAll(/[^a-z]/g, '-')
      await state.labels.write('sandbox', id, new Map([['agentcube.io/owner', ownerLabelValue(owner)]]))
    }
  })
  after(async () => {
    for (const close of closing) await close()
    await issuer?.stop()
    folder?.remove()
  })

  /** Its answer, which must not be a promise of one. */
  function atOnce(parts: RequestParts): Answer {
    const answer = check(aRequest(parts), 100)
    assert.ok(!(answer instanceof Promise), 'a promise was made')
    return answer
  }
  const allowed = (answer: Answer): void => assert.deepEqual([answer.kind, answer.reason], ['allow', 'ok'])

  const owned: Record<string, string> = {
    'oidc, verified by Envoy': 'alice',
    'oidc, verified here': 'own-alice',
    'a token of our own issuer': 'agent-crawler',
    'a client certificate': 'workload-spiffe---cluster-local-ns-agents-sa-router',
  }
  for (const [who, id] of Object.entries(owned)) {
    describe(`for ${who}`, () => {
      before(async () => {
        // The first one of all may fetch keys and labels.
        await check(aRequest({ path: `/sandboxes/${id}`, ...callers[who] }), 2000)
      })

      it('makes no promise on a plain route', () => allowed(atOnce({ path: '/plain', ...callers[who] })))

      it('makes none for a downstream token, cold and then cached', () => {
        const cold = atOnce({ path: `/minted/${id}`, ...callers[who] })
        const warm = atOnce({ path: `/minted/${id}`, ...callers[who] })
        allowed(cold)
        allowed(warm)
        assert.deepEqual([metadataValue(cold.metadata, 'cache'), metadataValue(warm.metadata, 'cache')], ['miss', 'hit'])
      })

      it('makes none for an owner in the near cache', () => {
        const answer = atOnce({ path: `/sandboxes/${id}`, ...callers[who] })
        allowed(answer)
        assert.deepEqual([metadataValue(answer.metadata, 'owner_match'), metadataValue(answer.metadata, 'cache')], ['yes', 'hit'])
      })

      it('makes none for a denial', () => {
        const other = id === 'alice' ? 'own-alice' : 'alice'
        void check(aRequest({ path: `/sandboxes/${other}`, ...callers[who] }), 100)
        assert.equal(atOnce({ path: `/sandboxes/${other}`, ...callers[who] }).reason, 'not_owner')
        assert.equal(atOnce({ path: '/nowhere', ...callers[who] }).reason, 'no_route')
        assert.equal(atOnce({ path: '/a%00b', ...callers[who] }).reason, 'bad_request')
      })
    })
  }

  it('makes none for a public route, or where nothing is presented', () => {
    allowed(atOnce({ path: '/healthz' }))
    assert.equal(atOnce({ path: '/plain' }).reason, 'no_credential')
  })
})
