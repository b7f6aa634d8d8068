import assert from 'node:assert/strict'
import { until } from '../support/until.ts'
import { type CaptureEdge, soon, startCaptureEdge } from './capture-edge.ts'

describe('ownership captured at the edge, while something is down', function () {
  this.timeout(60_000)
  let edge: CaptureEdge
  const made = (id: string) => ({ status: 201, body: { sandbox: { id } } })
  const run = async (who: string, id: string) => (await edge.ask(who, 'GET', `/v1/sandboxes/${id}/run`)).status

  before(async () => {
    edge = await startCaptureEdge(1)
  })
  after(() => edge?.stop())

  it('answers 503 to a create where the intent cannot be written, and the upstream is not asked', async () => {
    await edge.ask('alice', 'POST', '/v1/sandboxes', made('before'))
    const before = edge.received.length
    edge.redis.hang()
    try {
      const { status } = await edge.ask('alice', 'POST', '/v1/sandboxes', made('never'))
      assert.equal(status, 503)
      assert.equal(edge.received.length, before)
    } finally {
      edge.redis.resume()
    }
    await soon('service', async () => (await edge.ask('alice', 'POST', '/v1/sandboxes', made('again'))).status === 201)
  })

  /** A create whose upstream answers while state does not. */
  const createWhile = async (id: string, down: () => unknown, up: () => unknown): Promise<number> => {
    const before = edge.received.length
    const asked = edge.ask('alice', 'POST', '/v1/sandboxes', { ...made(id), after: 400 })
    await until('the create at the upstream', () => edge.received.length > before)
    await down()
    const { status } = await asked
    await up()
    return status
  }

  it('answers 503 where the owner cannot be written: it is an orphan, denied to all but those who may see everything', async () => {
    const refuse = (least: number) => () => edge.client.config('SET', 'min-replicas-to-write', String(least))
    assert.equal(await createWhile('lost-1', refuse(1), refuse(0)), 503)
    await until('the mark', async () => (await edge.labels('lost-1'))['mark:orphan'], 20_000)
    await until('the event', async () => (await edge.events('orphan')).some(({ target }) => target === 'sandbox:lost-1'), 10_000)
    for (const [who, expected] of [
      ['alice', 403],
      ['bob', 403],
      ['root', 200],
    ] as const)
      assert.equal(await run(who, 'lost-1'), expected, who)
    // Until somebody says whose it is, nobody is told that it is theirs.
    assert.equal((await edge.ask('bob', 'POST', '/v1/sandboxes', made('lost-1'))).status, 409)
    await edge.admin.setOwner('sandbox', 'lost-1', 'alice')
    await soon('alice’s sandbox', async () => (await run('alice', 'lost-1')) === 200)
  })

  it('answers 503 where state did not answer, and leaves the owner that it took all the same', async () => {
    assert.equal(await createWhile('late-1', edge.redis.hang, edge.redis.resume), 503)
    const late = async () => (await edge.events('owner_captured')).some(({ target }) => target === 'sandbox:late-1')
    await until('the event', late, 20_000)
    assert.deepEqual(await edge.labels('late-1'), { 'agentcube.io/owner': 'alice' })
    assert.deepEqual([await run('alice', 'late-1'), await run('bob', 'late-1')], [200, 403])
  })

  it('answers 503 to a list whose owners cannot be looked up', async () => {
    const told = { body: { items: [{ id: 'unseen-1' }] }, after: 400 }
    const before = edge.received.length
    const asked = edge.ask('alice', 'GET', '/v1/sandboxes', told)
    await until('the list at the upstream', () => edge.received.length > before)
    edge.redis.hang()
    const { status, body } = await asked
    edge.redis.resume()
    assert.equal(status, 503, body)
  })

  it('tells of a create that was under way when Postern died, and lets nothing of it pass', async () => {
    await soon('service', async () => (await edge.ask('alice', 'POST', '/v1/sandboxes', made('again-2'))).status === 201)
    const before = edge.received.length
    const asked = edge.ask('alice', 'POST', '/v1/sandboxes', { ...made('died'), after: 300 })
    await until('the create at the upstream', () => edge.received.length > before)
    await edge.edges[0]!.postern.kill()
    assert.equal((await asked).status, 503)
    assert.deepEqual(await edge.labels('died'), {})
    // Its intent is what is left: any Postern of this realm tells of it.
    const keys = await edge.client.keys('postern:default:*capture*')
    assert(keys.length > 0, 'the intent is kept')
    assert.equal((await edge.ask('alice', 'POST', '/v1/sandboxes', made('down'))).status, 503)
    assert.equal(edge.received.length, before + 1)
  })
})
