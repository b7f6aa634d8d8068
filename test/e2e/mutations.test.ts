import assert from 'node:assert/strict'
import { decodeJwt } from 'jose'
import type { Received } from '../support/upstream.ts'
import { asking, router, type Sent, uuid7 } from './reasons-asking.ts'
import { type ReasonsEdge, startReasonsEdge } from './reasons-edge.ts'

describe('through Envoy', function () {
  this.timeout(30_000)
  let edge: ReasonsEdge
  const { token, bearer, ask, saw, denied } = asking(() => edge)

  before(async () => {
    edge = await startReasonsEdge()
    await edge.admin.setOwner('sandbox', 's1', 'alice')
    await edge.admin.setOwner('sandbox', 's2', 'bob')
  })
  after(() => edge?.stop())

  describe('what goes on to the upstream', () => {
    const forged = {
      'x-postern-subject': 'root',
      'X-Postern-Roles': 'admin',
      'x-postern-issuer': 'https://users.example',
      'x-postern-workload': router,
      'x-postern-owner': 'root',
      'x-postern-decision': 'forged',
      'x-postern-claim-email': 'root@example.com',
      'x-postern-anything': 'x',
      'x-envoy-auth-failure-mode-allowed': 'true',
    }
    const alike = {
      x_postern_subject: 'root',
      'x-postern_roles': 'admin',
      'X_Postern-Anything': 'x',
      x_envoy_auth_failure_mode_allowed: 'true',
    }
    const ours = (headers: Received['headers']) =>
      Object.fromEntries(Object.entries(headers).filter(([name]) => /^x[-_]postern|failure.mode.allowed|^authorization$/.test(name)))

    async function logged(headers: Received['headers'], envoy: Sent['envoy']) {
      const line = await edge[envoy ?? 'hardened'].logLine({ decision_id: headers['x-postern-decision'] })
      return [line['decision'], line['reason'], line['enforced'], line['route'], line['policy'], line['status']]
    }

    for (const envoy of ['hardened', 'lenient'] as const) {
      const sent = () => ({ ...forged, ...(envoy === 'lenient' ? alike : {}) })

      it(`${envoy}: the identity, and nothing that the client made up`, async () => {
        const { headers } = saw(await ask('/plain', { headers: { ...sent(), ...(await bearer()) }, envoy }))
        const { 'x-postern-decision': decision, ...rest } = ours(headers)
        assert.match(decision ?? '', uuid7)
        assert.deepEqual(rest, { 'x-postern-subject': 'alice', 'x-postern-issuer': 'https://users.example', 'x-postern-roles': 'invoke' })
        assert.deepEqual(await logged(headers, envoy), ['allow', 'ok', true, 'plain', edge.revision, 200])
      })

      it(`${envoy}: on a public route, the decision and no identity`, async () => {
        for (const credential of [{}, await bearer()]) {
          const { headers } = saw(await ask('/healthz', { headers: { ...sent(), ...credential }, envoy }))
          assert.deepEqual(Object.keys(ours(headers)), ['x-postern-decision'])
          assert.deepEqual(await logged(headers, envoy), ['allow', 'ok', true, 'health', edge.revision, 200])
        }
      })

      it(`${envoy}: of a preflight, the same`, async () => {
        const preflight = { ...sent(), origin: 'https://app.example', 'access-control-request-method': 'GET' }
        const { method, headers } = saw(await ask('/plain', { method: 'OPTIONS', headers: preflight, envoy }))
        assert.equal(method, 'OPTIONS')
        assert.deepEqual(Object.keys(ours(headers)), ['x-postern-decision'])
        assert.deepEqual(await logged(headers, envoy), ['allow', 'ok', true, 'plain', edge.revision, 200])
      })

      it(`${envoy}: where enforce is false, the same, and the denial is in the log`, async () => {
        const cases: [string, Record<string, string>][] = [
          ['no_credential', {}],
          ['missing_role', await bearer()],
          ['invalid_credential', await bearer({ aud: 'other' })],
        ]
        for (const [reason, credential] of cases) {
          const { headers } = saw(await ask('/adopted', { headers: { ...sent(), ...credential }, envoy }))
          assert.deepEqual(Object.keys(ours(headers)), ['x-postern-decision'])
          assert.deepEqual(await logged(headers, envoy), ['deny', reason, false, 'adopted', edge.revision, 200])
        }
        const { headers } = saw(
          await ask('/adopted', { headers: { ...sent(), ...(await bearer({ roles: ['manage'], email: 'a@b' })) }, envoy }),
        )
        assert.equal(headers['x-postern-claim-email'], 'a@b')
        assert.equal(decodeJwt((headers['authorization'] ?? '').slice('Bearer '.length)).aud, 'picod')
      })
    }

    it('an outage is none that enforce: false lets through', async () => {
      const headers = { authorization: `Bearer ${await edge.issuers.gone.mint({ sub: 'alice', aud: 'edge' })}` }
      await denied(await ask('/adopted', { headers }), 'identity_unavailable', { route: 'adopted', audience: 'picod' })
    })

    it('authorization: keep passes Authorization on, which is no credential for Postern', async () => {
      for (const authorization of ['Basic YWxpY2U6c2VjcmV0', `Bearer ${await token()}`]) {
        await denied(await ask('/console/x', { headers: { authorization } }), 'no_credential', { route: 'console' })
        const { headers } = saw(
          await ask('/console/x', { headers: { ...forged, authorization }, workload: edge.certificates.workload('router', router) }),
        )
        assert.deepEqual([headers['authorization'], headers['x-postern-subject']], [authorization, `workload:${router}`])
        assert.equal(headers['x-postern-anything'], undefined)
      }
    })

    it('Envoy answers the preflights of pages that it knows; others that are none are no_route', async () => {
      const known = { origin: 'https://console.example', 'access-control-request-method': 'GET' }
      const response = await ask('/plain', { method: 'OPTIONS', headers: known })
      assert.deepEqual([response.status, response.headers['x-postern-decision']], [200, undefined])
      const origin = { origin: 'https://app.example' }
      await denied(await ask('/plain', { method: 'OPTIONS', headers: origin }), 'no_route', {})
      for (const [path, method] of [
        ['/plain', 'DELETE'],
        ['/nowhere', 'GET'],
      ] as const)
        await denied(
          await ask(path, { method: 'OPTIONS', headers: { ...origin, 'access-control-request-method': method } }),
          'no_route',
          {},
        )
    })

    it('a bearer that Postern does not replace is stripped, and one that it does is replaced', async () => {
      const credential = await bearer()
      assert.equal(saw(await ask('/plain', { headers: credential })).headers['authorization'], undefined)
      const { headers } = saw(await ask('/sandboxes/s1', { headers: credential }))
      const downstream = decodeJwt((headers['authorization'] ?? '').slice('Bearer '.length))
      assert.deepEqual([downstream.sub, downstream.aud, downstream['resource']], ['alice', 'picod', 'sandbox:s1'])
    })
  })
})
