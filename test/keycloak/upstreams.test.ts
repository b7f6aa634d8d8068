import assert from 'node:assert/strict'
import { createVerifier, Refusal } from '../../sdk/typescript/src/index.ts'
import { request } from '../support/request.ts'
import { startSample } from '../upstreams/rig.ts'
import type { Person, RunningKeycloak } from './keycloak.ts'
import { sharedKeycloak } from './shared.ts'

describe('tokens exchanged at a real Keycloak, at upstreams', function () {
  this.timeout(200_000)
  let keycloak: RunningKeycloak
  before(async function () {
    if (process.env['POSTERN_TEST_KEYCLOAK'] === undefined) this.skip()
    keycloak = await sharedKeycloak()
  })

  const jwks = () => `${keycloak.issuer}/protocol/openid-connect/certs`
  const exchanged = async (audience: string) => keycloak.exchange((await keycloak.login('alice')).token, audience)
  const refusal = async (result: Promise<unknown>): Promise<string> =>
    result.then(
      () => 'let in',
      (cause: unknown) => (cause instanceof Refusal ? `${cause.status} ${cause.error}` : String(cause)),
    )

  it('are verified by the middleware, for their audience alone', async () => {
    const of = (audience: string) => createVerifier({ issuer: keycloak.issuer, audience, keys: { url: jwks() } })
    const { token, claims } = await exchanged('picod')
    assert.equal((await of('picod').verify(token, { resource: 'any' })).subject, claims.sub)
    assert.equal(await refusal(of('workloadmanager').verify(token, { resource: 'any' })), '401 invalid_token')
    // Keycloak names no resource: who asks for one refuses all of its tokens.
    assert.equal(await refusal(of('picod').verify(token, { resource: 'sandbox:s1' })), '403 insufficient_scope')
    const own = (await keycloak.login('alice')).token
    assert.equal(await refusal(of('picod').verify(own, { resource: 'any' })), '401 invalid_token')
  })

  it('are taken by the samples, whose owner is the subject that Keycloak knows', async () => {
    const common = ['--mode', 'jwt', '--issuer', keycloak.issuer, '--jwks', jwks(), '--resource', 'unchecked']
    const [picod, manager] = await Promise.all([
      startSample('picod', [...common, '--sandbox', 's1']),
      startSample('workloadmanager', [...common, '--memory']),
    ])
    try {
      const ask = async (port: number, audience: string, method: string, path: string, body?: string, who: Person = 'alice') => {
        const { token } = await keycloak.exchange((await keycloak.login(who)).token, audience)
        return request({ port, method, path, headers: { authorization: `Bearer ${token}` }, ...(body !== undefined && { body }) })
      }
      const { claims } = await keycloak.login('alice')
      const saw = await ask(picod.port, 'picod', 'GET', '/v1/namespaces/x/code-interpreters/y/invocations/run')
      assert.equal((JSON.parse(saw.body) as { subject: string }).subject, claims.sub)
      const created = await ask(manager.port, 'workloadmanager', 'POST', '/v1/sandboxes', '{"id":"s1"}')
      assert.deepEqual([created.status, JSON.parse(created.body)], [201, { id: 's1', owner: claims.sub }])
      // No resource in the token: the owner is compared at the upstream as well.
      const remove = async (who: Person) =>
        (await ask(manager.port, 'workloadmanager', 'DELETE', '/v1/sandboxes/s1', undefined, who)).status
      assert.deepEqual([await remove('bob'), await remove('alice'), await remove('alice')], [404, 204, 404])
    } finally {
      await picod.stop()
      await manager.stop()
    }
  })
})
