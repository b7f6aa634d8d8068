import assert from 'node:assert/strict'
import { gzipSync } from 'node:zlib'
import { type ClientResponse, request } from '../support/request.ts'
import { type CaptureEdge, soon, startCaptureEdge, type Told } from './capture-edge.ts'

const reasonOf = ({ body }: ClientResponse): string | undefined => (JSON.parse(body) as { reason?: string }).reason
const made = (id: string): Told => ({ status: 201, body: { sandbox: { id } } })

describe('ownership captured at the edge', function () {
  this.timeout(60_000)
  let edge: CaptureEdge
  let last = 0
  const newId = (): string => `sb-${++last}`
  const create = (who: string, told: Told, at = 0) => edge.ask(who, 'POST', '/v1/sandboxes', told, {}, at)
  const run = async (who: string, id: string, at = 0) => (await edge.ask(who, 'GET', `/v1/sandboxes/${id}/run`, undefined, {}, at)).status
  const remove = (who: string, id: string, told: Told) => edge.ask(who, 'DELETE', `/v1/sandboxes/${id}`, told)
  const owner = async (id: string) => (await edge.labels(id))['agentcube.io/owner']

  before(async () => {
    edge = await startCaptureEdge(3)
  })
  after(() => edge?.stop())

  it('makes the creator the owner on every replica, before the client has the answer', async () => {
    const id = newId()
    const got = await create('alice', made(id))
    assert.deepEqual([got.status, JSON.parse(got.body)], [201, { sandbox: { id } }])
    assert.equal(await owner(id), 'alice')
    for (const at of [0, 1, 2]) assert.deepEqual([await run('alice', id, at), await run('bob', id, at)], [200, 403], `replica ${at}`)
    const [event] = (await edge.events('owner_captured')).filter(({ target }) => target === `sandbox:${id}`)
    assert.equal(event?.['actor'], 'alice')
  })

  it('is soon known where the id was asked for before it was made', async () => {
    const id = newId()
    for (const at of [0, 1, 2]) assert.equal(await run('alice', id, at), 403)
    assert.equal((await create('alice', made(id))).status, 201)
    for (const at of [0, 1, 2]) await soon(`alice's sandbox on replica ${at}`, async () => (await run('alice', id, at)) === 200)
  })

  it('is captured by the primary of several processes, and known to its workers', async () => {
    for (let i = 0; i < 10; i++) {
      const id = newId()
      assert.equal((await create('alice', made(id), 2)).status, 201)
      for (let turn = 0; turn < 4; turn++) assert.deepEqual([await run('alice', id, 2), await run('bob', id, 2)], [200, 403])
    }
  })

  const places: Record<string, (id: string) => Told> = {
    'a header': (id) => ({ status: 201, headers: { 'x-sandbox-id': id }, body: { sandbox: { id: 'another' } } }),
    'the body': made,
    Location: (id) => ({ status: 201, headers: { location: `https://api.example/v1/sandboxes/${id}?x=1` }, body: {} }),
  }
  for (const [name, told] of Object.entries(places)) {
    it(`reads the id from ${name}`, async () => {
      const id = newId()
      assert.equal((await create('alice', told(id))).status, 201)
      assert.equal(await owner(id), 'alice')
    })
  }

  it('gives an id that two clients are told at once to one of them: the other has 409', async () => {
    for (let round = 0; round < 50; round++) {
      const id = newId()
      const answers = await Promise.all([create('alice', made(id), 0), create('bob', made(id), 1)])
      const statuses = answers.map(({ status }) => status)
      assert.deepEqual([...statuses].sort(), [201, 409], id)
      assert.equal(await owner(id), statuses[0] === 201 ? 'alice' : 'bob', id)
    }
  })

  it('refuses a takeover, and tells of it; the owner’s own retry passes', async () => {
    const id = newId()
    await create('alice', made(id))
    const got = await create('bob', made(id))
    assert.deepEqual([got.status, reasonOf(got)], [409, 'takeover'])
    assert.equal(got.headers['content-type'], 'application/problem+json')
    assert.match(got.headers['x-postern-decision'] ?? '', /^[0-9a-f-]{36}$/)
    assert(!got.body.includes('alice'))
    await edge.edges[0]!.envoy.logLine({ status: 409, details: 'postern_takeover', subject: 'bob' })
    const [event] = (await edge.events('takeover')).filter(({ target }) => target === `sandbox:${id}`)
    assert.equal(event?.['actor'], 'bob')
    assert.equal((await create('alice', made(id))).status, 201)
    assert.equal(await owner(id), 'alice')
  })

  it('gives nobody an id whose record is of another type in Redis', async () => {
    const id = newId()
    await edge.client.set(`postern:default:labels:sandbox:${id}`, 'unreadable')
    const got = await create('mallory', made(id))
    assert.deepEqual([got.status, reasonOf(got)], [409, 'takeover'])
    assert.equal(await edge.client.type(`postern:default:labels:sandbox:${id}`), 'string')
  })

  it('removes accept-encoding, and fails closed on a body that is encoded all the same', async () => {
    const id = newId()
    const got = await edge.ask('alice', 'POST', '/v1/sandboxes', made(id), { headers: { 'accept-encoding': 'gzip' } })
    assert.equal(got.status, 201)
    assert.equal(edge.received.at(-1)?.headers['accept-encoding'], undefined)
    const zipped = gzipSync('{"sandbox":{"id":"zipped"}}').toString('latin1')
    const encoded = await create('alice', { status: 201, headers: { 'content-encoding': 'gzip' }, body: zipped })
    assert.deepEqual([encoded.status, reasonOf(encoded)], [502, 'unusable_response'])
    assert.equal(await owner('zipped'), undefined)
  })

  const unusable: Record<string, Told> = {
    'a body over max_body': { status: 201, body: { sandbox: { id: 'large' } }, padding: 70_000 },
    'no id anywhere': { status: 201, body: { sandbox: {} } },
    'a body that is no JSON': { status: 201, body: '{"sandbox":{"id":"broken"}' },
    'an id that is not legal': { status: 201, body: { sandbox: { id: 'a/b' } } },
    'two locations, which Envoy joins': { status: 201, headers: { location: ['/v1/sandboxes/one', '/v1/sandboxes/two'] }, body: {} },
    'two ids in the header': { status: 201, headers: { 'x-sandbox-id': 'a, b' }, body: {} },
    'an id twice in the body': { status: 201, body: '{"sandbox":{"id":"one","id":"two"}}' },
  }
  for (const [name, told] of Object.entries(unusable)) {
    it(`does not let pass what was made with ${name}: nobody would own it`, async () => {
      const before = (await edge.events('orphan')).length
      const got = await edge.ask('alice', 'POST', '/v1/sandboxes', undefined, { headers: { 'x-told': JSON.stringify(told) } })
      assert.deepEqual([got.status, reasonOf(got)], [502, 'unusable_response'])
      assert.equal((await edge.events('orphan')).length, before + 1)
    })
  }

  it('does not let pass a body that is larger than Envoy may hold, and tells of the orphan', async () => {
    const before = (await edge.events('orphan')).length
    assert.equal((await create('alice', { ...made('huge'), padding: 4_000_000 })).status, 500)
    assert.equal(await owner('huge'), undefined)
    await soon('the orphan', async () => (await edge.events('orphan')).length === before + 1)
  })

  it('lets an answer pass that made nothing', async () => {
    for (const status of [200, 202, 302, 400, 404, 409, 500, 503]) {
      const id = newId()
      const got = await create('alice', { ...made(id), status })
      assert.deepEqual([got.status, JSON.parse(got.body)], [status, { sandbox: { id } }])
      assert.equal(await owner(id), undefined)
    }
  })

  it('believes no header of the client about who it is', async () => {
    const id = newId()
    const forged = {
      'x-postern-subject': 'bob',
      'x-postern-owner': 'bob',
      'x-envoy-original-path': '/healthz',
      'x-envoy-auth-failure-mode-allowed': 'true',
      'x-sandbox-id': 'forged',
    }
    assert.equal((await edge.ask('alice', 'POST', '/v1/sandboxes', made(id), { headers: forged })).status, 201)
    assert.equal(await owner(id), 'alice')
    assert.equal(await owner('forged'), undefined)
  })

  it('denies as on any route, and asks ext_proc for nothing but what it needs', async () => {
    const before = edge.received.length
    const denied = await create('nobody', made(newId()))
    assert.deepEqual([denied.status, reasonOf(denied)], [403, 'missing_role'])
    assert.equal(edge.received.length, before)
  })

  it('lets go on what a filter before it answers: a preflight, and what Postern denies', async () => {
    const { port, tls } = edge.edges[0]!
    const headers = { origin: 'https://console.example', 'access-control-request-method': 'POST' }
    const preflight = await request({ port, tls: tls(), method: 'OPTIONS', path: '/v1/sandboxes', headers })
    assert.deepEqual([preflight.status, preflight.headers['access-control-allow-origin']], [200, 'https://console.example'])
    const anonymous = await request({ port, tls: tls(), method: 'POST', path: '/v1/sandboxes' })
    assert.deepEqual([anonymous.status, reasonOf(anonymous)], [401, 'no_credential'])
    assert.match(anonymous.headers['www-authenticate'] ?? '', /^Bearer/)
  })

  it('costs other routes nothing', async () => {
    const id = newId()
    await create('alice', made(id))
    const before = await edge.streams()
    for (let i = 0; i < 10; i++) {
      assert.equal(await run('alice', id), 200)
      assert.equal((await edge.ask('alice', 'GET', '/healthz')).status, 200)
    }
    assert.equal(await edge.streams(), before)
    await create('alice', made(newId()))
    assert.equal(await edge.streams(), before + 1)
  })

  describe('a DELETE', () => {
    const mine = async (): Promise<string> => {
      const id = newId()
      await create('alice', made(id))
      return id
    }

    it('that the upstream has done takes the owner away, everywhere', async () => {
      for (const status of [200, 204, 404]) {
        const id = await mine()
        for (const at of [0, 1, 2]) assert.equal(await run('alice', id, at), 200)
        assert.equal((await remove('alice', id, { status })).status, status)
        assert.deepEqual(await edge.labels(id), {})
        for (const at of [0, 1, 2]) await soon(`no owner on replica ${at}`, async () => (await run('alice', id, at)) === 403)
        assert.equal((await create('bob', made(id))).status, 201, 'the id is free again')
      }
    })

    it('that the upstream has refused leaves the owner', async () => {
      const id = await mine()
      assert.equal((await remove('alice', id, { status: 409 })).status, 409)
      assert.deepEqual(await edge.labels(id), { 'agentcube.io/owner': 'alice' })
      await soon('alice’s sandbox', async () => (await run('alice', id)) === 200)
    })

    it('of somebody else is denied, and the upstream not asked', async () => {
      const id = await mine()
      const before = edge.received.length
      assert.equal((await remove('bob', id, { status: 204 })).status, 403)
      assert.equal(edge.received.length, before)
      assert.equal(await owner(id), 'alice')
    })

    for (const [name, told, status] of [
      ['fails', { status: 500 }, 500],
      ['is lost', { reset: true }, 503],
    ] as const) {
      it(`that ${name} leaves a mark that denies to all, until the owner tries again`, async () => {
        const id = await mine()
        assert.equal((await remove('alice', id, told)).status, status)
        assert.match((await edge.labels(id))['mark:deleting'] ?? '', /^[0-9a-f-]{36} \d+$/)
        for (const at of [0, 1, 2]) await soon(`the mark on replica ${at}`, async () => (await run('alice', id, at)) === 403)
        assert.equal((await create('bob', made(id))).status, 409)
        assert.equal((await remove('alice', id, { status: 204 })).status, 204)
        assert.deepEqual(await edge.labels(id), {})
      })
    }
  })

  describe('a list', () => {
    const items = (...ids: string[]): Told => ({ body: { items: ids.map((id) => ({ id, name: `of ${id}` })), total: ids.length } })
    const list = async (who: string, told: Told) => {
      const got = await edge.ask(who, 'GET', '/v1/sandboxes', told)
      return { ...got, ids: got.status === 200 ? (JSON.parse(got.body) as { items: { id: string }[] }).items.map(({ id }) => id) : [] }
    }

    it('shows what the caller owns, and all of it to who may see everything', async () => {
      const [one, two, theirs] = [newId(), newId(), newId()]
      await create('alice', made(one))
      await create('alice', made(two))
      await create('bob', made(theirs))
      const told = items(one, theirs, 'nobodys', two)
      const got = await list('alice', told)
      assert.deepEqual(got.ids, [one, two])
      assert.equal(got.headers['content-length'], String(Buffer.byteLength(got.body)))
      assert.equal(got.headers['cache-control'], 'private, no-store')
      assert.deepEqual((await list('bob', told)).ids, [theirs])
      assert.deepEqual((await list('carol', told)).ids, [])
      assert.deepEqual((await list('root', told)).ids, [one, theirs, 'nobodys', two])
    })

    it('hands on the owner, whatever the client says it is', async () => {
      await edge.ask('alice', 'GET', '/v1/sandboxes', items(), {
        headers: { 'x-postern-owner': 'bob', 'if-none-match': '"x"', range: 'bytes=0-1' },
      })
      const { headers } = edge.received.at(-1)!
      assert.deepEqual([headers['x-postern-owner'], headers['if-none-match'], headers['range']], ['alice', undefined, undefined])
    })

    const closed: Record<string, Told> = {
      'more items than max_items': items(...Array.from({ length: 101 }, (_, i) => `s${i}`)),
      'no list': { body: { items: {} } },
      'an item without an id': { body: { items: [{}] } },
      'what is no JSON': { body: 'items' },
      'an encoded body': { headers: { 'content-encoding': 'br' }, body: '{}' },
    }
    for (const [name, told] of Object.entries(closed)) {
      it(`fails closed on ${name}`, async () => {
        const got = await list('alice', told)
        assert.deepEqual([got.status, reasonOf(got)], [502, 'unusable_response'])
      })
    }

    it('fails closed on a body that is larger than Envoy may hold', async () => {
      assert.equal((await list('alice', { ...items('a'), padding: 4_000_000 })).status, 500)
    })

    it('answers HEAD', async () => {
      assert.equal((await edge.ask('alice', 'HEAD', '/v1/sandboxes', items('a'))).status, 200)
    })
  })
})
