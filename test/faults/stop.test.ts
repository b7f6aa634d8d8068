import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { adminClient } from '../support/admin.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type ClientResponse, request } from '../support/request.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { startTokenEndpoint, type TokenEndpoint } from '../support/token-endpoint.ts'
import { until } from '../support/until.ts'
import { type FaultEdge, policyOf, secrets, startFaultEdge } from './edge.ts'

const reasonOf = ({ status, body }: ClientResponse): string => (status === 200 ? 'ok' : (JSON.parse(body) as { reason: string }).reason)

describe('a service that ends', function () {
  this.timeout(30_000)
  let endpoint: TokenEndpoint
  let edge: FaultEdge
  /** The running one; Envoy and its socket stay. */
  let postern: RunningPostern
  let again: () => Promise<RunningPostern>
  const folder = temporaryFolder()

  before(async () => {
    endpoint = await startTokenEndpoint()
    edge = await startFaultEdge(policyOf('restart.yaml', { endpoint: endpoint.url }), async (policy) => {
      again = () => startPostern(policy, { env: secrets, folder })
      postern = await again()
      return postern
    })
  })
  after(async () => {
    await postern?.stop()
    await edge?.stop()
    await endpoint?.stop()
    folder.remove()
  })

  const ask = (token: string, path: string) => request({ port: edge.port, path, headers: { authorization: `Bearer ${token}` } })
  const plain = '/v1/sandboxes'

  it('on SIGTERM answers the checks in flight and ends with 0; a second SIGTERM at once is harmless', async () => {
    const alice = await edge.token('alice')
    endpoint.behave('well', 500)
    // One is answered after the wait, the other is denied at its deadline: both by Postern, after the signal.
    const slow = ask(alice, '/v1/sandboxes/s1/slow')
    const asked = endpoint.asked()
    await until('the exchange to begin', () => endpoint.asked() > asked)
    endpoint.behave('hangs')
    const late = ask(await edge.token('bob'), '/v1/sandboxes/s1/slow')
    await until('the other exchange to begin', () => endpoint.asked() > asked + 1)
    let answered = false
    void slow.then(() => {
      answered = true
    })
    postern.program.signal('SIGTERM')
    await sleep(50)
    assert.equal(answered, false, 'it is still in flight')
    postern.program.signal('SIGTERM')
    assert.equal((await slow).status, 200)
    const denied = await late
    assert.deepEqual([denied.status, reasonOf(denied)], [503, 'exchange_unavailable'])
    const line = await edge.envoy.logLine({ decision_id: denied.headers['x-postern-decision'] })
    assert.equal(line['details'], 'ext_authz_denied')
    const { code, signal } = await postern.program.ended
    assert.deepEqual([code, signal], [0, null])
    assert.deepEqual(
      ['draining', 'closed'].filter((msg) => !postern.logs().some((entry) => entry['msg'] === msg)),
      [],
    )
    // From here on Envoy can ask nobody, and nothing goes through.
    assert.equal((await ask(alice, plain)).status, 503)
    postern = await again()
    endpoint.behave('well')
    await until('an allow', async () => (await ask(alice, plain)).status === 200)
  })

  it('killed, it has after the next start all that was acknowledged: revocations, labels and keys', async () => {
    const admin = await adminClient(edge.at.admin)
    const [alice, mallory] = [await edge.token('alice'), await edge.token('mallory', { iat: Math.floor(Date.now() / 1000) - 10 })]
    const stolen = await edge.token('bob', { jti: 'stolen' })
    const agent = await admin.mint({ subject: 'crawler', roles: ['sandbox:invoke'] })
    const revoked = await admin.mint({ subject: 'indexer', roles: ['sandbox:invoke'] })
    const outcomes = async () => ({
      owner: reasonOf(await ask(alice, '/v1/sandboxes/s1/run')),
      intruder: reasonOf(await ask(mallory, '/v1/sandboxes/s1/run')),
      mallory: reasonOf(await ask(mallory, plain)),
      stolen: reasonOf(await ask(stolen, plain)),
      agent: reasonOf(await ask(agent.token, plain)),
      'revoked agent': reasonOf(await ask(revoked.token, plain)),
    })
    const unknown = 'not_owner'
    const before = { owner: unknown, intruder: unknown, mallory: 'ok', stolen: 'ok', agent: 'ok', 'revoked agent': 'ok' }
    assert.deepEqual(await outcomes(), before)

    await admin.setOwner('sandbox', 's1', 'alice')
    await admin.revoke('subject', 'mallory')
    await admin.revoke('token', 'stolen')
    await admin.revoke('token', revoked.jti)
    // At once after the last acknowledgement.
    await postern.kill()
    assert.equal((await ask(alice, plain)).status, 503)
    postern = await again()
    const after = { owner: 'ok', intruder: 'revoked', mallory: 'revoked', stolen: 'revoked', agent: 'ok', 'revoked agent': 'revoked' }
    await until('Envoy to be connected', async () => (await ask(alice, plain)).status === 200)
    assert.deepEqual(await outcomes(), after)
    const keys = ((await (await adminClient(edge.at.admin)).status())['keys'] as unknown[]).length
    assert.equal(keys, 1, 'the key of before, and no other')
  })
})
