import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import { labelRevision, ownerLabelValue } from '../../src/core/ownership.ts'
import { type LabelStore, Unavailable } from '../../src/core/ports.ts'
import { type Answer, type Ask, type Fixture, openFixture, sparingly } from './fixture.ts'

const owner = 'agentcube.io/owner'
const shared = 'agentcube.io/shared-with'
const path = '/v1/resources/sandbox/s1/labels'

const refused = (answer: Answer, status: number, reason: string): void => {
  assert.equal(answer.status, status, answer.text)
  assert.equal(answer.headers['content-type'], 'application/problem+json')
  assert.equal(answer.json['reason'], reason)
  assert.equal(answer.json['status'], status)
}

interface Listed {
  readonly resources: readonly { readonly id: string; readonly owner?: string; readonly revision: string }[]
  readonly short: boolean
  readonly next: string | null
}

describe('owner API', () => {
  let at: Fixture
  let token: string
  before(async () => {
    at = await openFixture((plain) => ({
      idPatterns: (resource) => (resource === 'odd' ? [/^[a-z]+:[a-z]+$/] : plain.idPatterns(resource)),
      labelRules: () => ({
        shared,
        tenant: 'agentcube.io/tenant',
        endpoint: { label: 'agentcube.io/endpoint', allows: (ip) => ip.startsWith('10.') || ip.startsWith('fd') },
      }),
    }))
    token = await at.login()
  })
  after(() => at.close())
  const another = sparingly()

  const ask = (where: string, method: string, body?: unknown, headers: Ask['headers'] = {}): Promise<Answer> =>
    at.ask(where, { method, token, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
  const write = (id: string, labels: Readonly<Record<string, string>>): Promise<void> =>
    at.state.labels.write('sandbox', id, new Map(Object.entries(labels)))
  const read = async (id: string): Promise<Record<string, string> | undefined> => {
    const found = await at.state.labels.read('sandbox', id)
    return found && Object.fromEntries(found.labels)
  }
  const lastEvent = async (): Promise<Partial<AuditEvent>> => {
    const [event] = await at.state.audit.tail(1)
    const { id: _, time: __, realm: ___, ...rest } = event!
    return rest
  }
  const revisionOf = (labels: Readonly<Record<string, string>>): string => labelRevision(new Map(Object.entries(labels)))

  describe('labels of one resource', () => {
    it('writes, reads and removes labels, and records who changed the owner', async () => {
      refused(await ask(path, 'GET'), 404, 'unknown_resource')
      const labels = { [owner]: 'alice', 'example.com/tier': 'gold' }
      const put = await ask(path, 'PUT', { labels })
      assert.equal(put.status, 200, put.text)
      const expected = { resource: 'sandbox', id: 's1', owner: 'alice', labels, revision: revisionOf(labels) }
      assert.deepEqual(put.json, expected)
      assert.equal(put.headers['etag'], `"${expected.revision}"`)
      const got = await ask(path, 'GET')
      assert.deepEqual([got.json, got.headers['etag']], [expected, `"${expected.revision}"`])
      const changed = await ask(path, 'PUT', { owner: 'bob', reason: 'she left' })
      assert.deepEqual(changed.json['labels'], { [owner]: 'bob', 'example.com/tier': 'gold' })
      assert.deepEqual(await lastEvent(), {
        type: 'owner_changed',
        outcome: 'success',
        actor: 'admin',
        reason: 'she left',
        target: 'sandbox:s1',
        detail: { before: 'alice', after: 'bob', revision: changed.json['revision'] },
      })
      const gone = await ask(path, 'DELETE', undefined, { 'x-postern-reason': 'f%C3%BCr%20immer' })
      assert.equal(gone.status, 204, String(at.faults))
      assert.deepEqual(await lastEvent(), {
        type: 'owner_changed',
        outcome: 'success',
        actor: 'admin',
        reason: 'für immer',
        target: 'sandbox:s1',
        detail: { before: 'bob', after: null, labels: { 'example.com/tier': ['gold', null] } },
      })
      refused(await ask(path, 'DELETE'), 404, 'unknown_resource')
      assert.equal(await at.state.labels.read('sandbox', 's1'), undefined)
    })

    it('stores a subject that is no label value as its hash, with an annotation, however it came', async () => {
      const who = 'agent:spiffe://agents.local/agent/o/t/1'
      const where = '/v1/resources/sandbox/s2/labels'
      for (const [method, body] of [
        ['PUT', { owner: who }],
        ['PUT', { labels: { [owner]: who } }],
        ['PUT', { [owner]: who }],
        ['PATCH', { owner: who }],
        ['PATCH', { labels: { [owner]: who } }],
      ] as const) {
        await write('s2', { [owner]: 'mallory' })
        const { json } = await ask(where, method, body)
        assert.equal(json['owner'], who)
        assert.match((json['labels'] as Record<string, string>)[owner]!, /^sha256-[a-z2-7]{52}$/)
        assert.deepEqual(json['annotations'], { [owner]: who })
      }
      for (const [method, body] of [
        ['PUT', { owner: 'alice' }],
        ['PATCH', { owner: 'alice' }],
      ] as const) {
        await ask(where, 'PUT', { owner: who })
        const { json } = await ask(where, method, body)
        assert.deepEqual([json['owner'], json['labels'], json['annotations']], ['alice', { [owner]: 'alice' }, undefined])
      }
    })

    it('refuses bad kinds, ids, labels and bodies', async () => {
      refused(await ask('/v1/resources/Sandbox/s1/labels', 'PUT', { owner: 'a' }), 400, 'bad_resource')
      refused(await ask(`/v1/resources/sandbox/${'x'.repeat(129)}/labels`, 'PUT', { owner: 'a' }), 400, 'bad_id')
      for (const id of ['a%2Fb', 'a%0Ab', 'a:b'])
        refused(await ask(`/v1/resources/sandbox/${id}/labels`, 'PUT', { owner: 'a' }), 400, 'bad_id')
      refused(await ask(path, 'PUT', { owner: '\ud800' }), 400, 'bad_body')
      const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`l${i}`, 'x']))
      for (const method of ['PUT', 'PATCH'])
        refused(await ask(path, method, { labels: many }), 400, method === 'PUT' ? 'bad_body' : 'bad_label')
      assert.equal((await ask('/v1/resources/odd/a:b/labels', 'PUT', { owner: 'a' })).status, 200)
      refused(await ask('/v1/resources/odd/a:b:c/labels', 'PUT', { owner: 'a' }), 400, 'bad_id')
      for (const body of [[], null, 1, 'x', { labels: { a: 1 } }, { owner: '' }, { owner: 1 }, { labels: [] }, { 'bad name': 'x' }])
        for (const method of ['PUT', 'PATCH']) refused(await ask(path, method, body), 400, 'bad_body')
      for (const reason of ['', 'x'.repeat(257), 'a\nb']) refused(await ask(path, 'PUT', { owner: 'a', reason }), 400, 'bad_body')
      for (const reason of ['%zz', 'x'.repeat(257), 'a%0Ab'])
        refused(await ask(path, 'DELETE', undefined, { 'x-postern-reason': reason }), 400, 'bad_reason')
      for (const method of ['PUT', 'PATCH']) refused(await ask(path, method, { labels: { tier: 'white space' } }), 400, 'bad_label')
      refused(await ask(path, 'PUT', { labels: { 'annotation:agentcube.io/owner': 'forged' } }), 400, 'bad_body')
      refused(await ask(path, 'PUT', { labels: { 'mark:orphan': 'forged' } }), 400, 'bad_body')
      refused(await ask(path, 'PATCH', { marks: { orphan: 'forged' } }), 400, 'bad_body')
      refused(await ask(path, 'PATCH', { owner: 'a', labels: { [owner]: 'b' } }), 400, 'bad_label')
      assert.equal(await at.state.labels.read('sandbox', 's1'), undefined)
    })

    it('answers 405 to other methods, and says which there are', async () => {
      const answer = await ask(path, 'POST', {})
      refused(answer, 405, 'not_this_method')
      assert.equal(answer.headers['allow'], 'GET, HEAD, PUT, PATCH, DELETE')
      assert.equal((await ask('/v1/import/labels', 'GET')).headers['allow'], 'POST')
    })

    it('takes the forms that sharing, tenants and endpoints have, and no others', async () => {
      const put = (labels: object) => ask('/v1/resources/sandbox/forms/labels', 'PUT', { labels })
      for (const labels of [
        { [shared]: '' },
        { [shared]: 'bob' },
        { [shared]: 'bob;write,role:auditor,group:red%20team;write,sha256-abc,u:x' },
        { 'agentcube.io/tenant': 'Acme GmbH & Co' },
        { 'agentcube.io/endpoint': '10.1.2.3:8080' },
        { 'agentcube.io/endpoint': '[fd00::1]:8080' },
      ])
        assert.equal((await put(labels)).status, 200, JSON.stringify(labels))
      for (const labels of [
        { [shared]: 'bob,' },
        { [shared]: 'bob;admin' },
        { [shared]: 'b ob' },
        { [shared]: '%zz' },
        { [shared]: ';write' },
        // Nobody would read these as a share.
        { [shared]: 'bob;read' },
        { [shared]: 'bob,role:' },
        { [shared]: 'group:;write' },
        { 'agentcube.io/tenant': 'a\nb' },
        { 'agentcube.io/endpoint': '192.168.0.1:80' },
        { 'agentcube.io/endpoint': '10.1.2.3' },
        { 'agentcube.io/endpoint': '10.1.2.3:0' },
        { 'agentcube.io/endpoint': '10.1.2.3:080' },
        { 'agentcube.io/endpoint': '10.1.2.3:70000' },
        { 'agentcube.io/endpoint': 'fd00::1:80' },
        { 'agentcube.io/endpoint': '[10.1.2.3]:80' },
        { 'agentcube.io/endpoint': '10.evil.example:80' },
      ])
        refused(await put(labels), 400, 'bad_label')
    })

    it('writes a tenant as checks look for it', async () => {
      const tenant = 'agentcube.io/tenant'
      const put = async (value: string) =>
        (await ask('/v1/resources/sandbox/tenants/labels', 'PUT', { labels: { [tenant]: value } })).status
      assert.equal(await put('Acme GmbH & Co'), 200)
      const hash = ownerLabelValue('Acme GmbH & Co')
      assert.deepEqual(await read('tenants'), { [tenant]: hash, [`annotation:${tenant}`]: 'Acme GmbH & Co' })
      const listed = await ask(`/v1/resources/sandbox?label=${encodeURIComponent(`${tenant}=Acme GmbH & Co`)}`, 'GET')
      assert.deepEqual(
        (listed.json as unknown as Listed).resources.map(({ id }) => id),
        ['tenants'],
      )
      for (const plain of ['t1', hash, '']) {
        assert.equal(await put(plain), 200)
        assert.deepEqual(await read('tenants'), { [tenant]: plain })
      }
    })
  })

  describe('patch', () => {
    const where = '/v1/resources/sandbox/p1/labels'

    it('changes what it names, takes null away, and keeps the rest', async () => {
      await write('p1', { [owner]: 'alice', team: 'red', old: 'x', [shared]: 'bob', 'mark:source': 'kubernetes:c/u' })
      const answer = await ask(where, 'PATCH', { labels: { team: 'blue', old: null, new: 'y', none: null }, reason: 'tidy' })
      assert.deepEqual(answer.json['labels'], { [owner]: 'alice', team: 'blue', [shared]: 'bob', new: 'y' })
      assert.deepEqual(answer.json['marks'], { source: 'kubernetes:c/u' })
      assert.deepEqual((await lastEvent()).detail, {
        before: 'alice',
        after: 'alice',
        revision: answer.json['revision'],
        labels: { team: ['red', 'blue'], old: ['x', null], new: [null, 'y'] },
      })
      const merged = await ask(where, 'PATCH', { owner: null }, { 'content-type': 'application/merge-patch+json' })
      assert.deepEqual([merged.json['owner'], Object.keys(merged.json['labels'] as object)], [undefined, ['team', shared, 'new']])
    })

    it('makes a resource known, and forgets one without anything', async () => {
      await at.state.labels.remove('sandbox', 'p1')
      assert.equal((await ask(where, 'PATCH', { labels: { team: 'red' } })).status, 200)
      const last = await ask(where, 'PATCH', { labels: { team: null } })
      assert.deepEqual([last.json['labels'], last.json['revision'], last.headers['etag']], [{}, null, undefined])
      refused(await ask(where, 'GET'), 404, 'unknown_resource')
    })

    it('clears marks', async () => {
      await write('p1', { [owner]: 'alice', 'mark:deleting': 'd 1', 'mark:orphan': 'd 1' })
      const answer = await ask(where, 'PATCH', { marks: { deleting: null } })
      assert.deepEqual(answer.json['marks'], { orphan: 'd 1' })
      assert.deepEqual((await lastEvent()).detail?.['marks'], { deleting: ['d 1', null] })
    })
  })

  describe('orphans', () => {
    it('are orphans no more with an owner, by any call that gives one', async () => {
      for (const [method, where, body] of [
        ['PUT', 'labels', { owner: 'alice' }],
        ['PUT', 'labels', { labels: { [owner]: 'alice' } }],
        ['PATCH', 'labels', { owner: 'alice' }],
        ['PATCH', 'labels', { labels: { [owner]: 'alice' } }],
        ['POST', 'transfer', { to: 'alice', reason: 'found' }],
      ] as const) {
        await write('o1', { 'mark:orphan': '0199 1700000000', 'mark:deleting': 'd 1', [shared]: 'bob' })
        assert.equal((await ask(`/v1/resources/sandbox/o1/${where}`, method, body)).status, 200)
        const { [shared]: _, ...kept } = (await read('o1'))!
        assert.deepEqual(kept, { [owner]: 'alice', 'mark:deleting': 'd 1' }, `${method} ${JSON.stringify(body)}`)
      }
    })

    it('stay so with labels that name no owner', async () => {
      await write('o1', { 'mark:orphan': '0199 1700000000' })
      const answer = await ask('/v1/resources/sandbox/o1/labels', 'PUT', { labels: { team: 'red' } })
      assert.deepEqual(answer.json['marks'], { orphan: '0199 1700000000' })
    })
  })

  describe('revisions', () => {
    const where = '/v1/resources/sandbox/r1/labels'

    it('lets one of two writers with the same revision win; the other is told 412', async () => {
      await write('r1', { [owner]: 'alice' })
      const tag = String((await ask(where, 'GET')).headers['etag'])
      const both = await Promise.all(['bob', 'carol'].map((who) => ask(where, 'PUT', { owner: who }, { 'if-match': tag })))
      assert.deepEqual(both.map(({ status }) => status).sort(), [200, 412])
      const lost = both.find(({ status }) => status === 412)!
      refused(lost, 412, 'revision_conflict')
      assert.equal(lost.headers['etag'], both.find(({ status }) => status === 200)!.headers['etag'])
    })

    it('loses no change of many that come at once without If-Match', async () => {
      await write('r1', { [owner]: 'alice' })
      const names = Array.from({ length: 8 }, (_, i) => `n${i}`)
      const answers = await Promise.all(names.map((name) => ask(where, 'PATCH', { labels: { [name]: 'x' } })))
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
      assert.deepEqual(Object.keys((await read('r1'))!).sort(), [owner, ...names].sort())
    })

    it('is honoured by PUT, PATCH, DELETE and transfer', async () => {
      const labels = { [owner]: 'alice' }
      const right = `"${revisionOf(labels)}"`
      for (const [method, place, body] of [
        ['PUT', where, { owner: 'bob' }],
        ['PATCH', where, { owner: 'bob' }],
        ['DELETE', where, undefined],
        ['POST', '/v1/resources/sandbox/r1/transfer', { to: 'bob', reason: 'r' }],
      ] as const) {
        for (const [name, tag, may] of [
          ['if-match', '"another"', false],
          ['if-match', `W/${right}`, false],
          ['if-none-match', '*', false],
          ['if-none-match', right, false],
          ['if-none-match', `W/${right}`, false],
          ['if-match', `"another", ${right}`, true],
          ['if-match', '*', true],
          ['if-match', revisionOf(labels), true],
          ['if-none-match', '"another"', true],
        ] as const) {
          await write('r1', labels)
          const answer = await ask(place, method, body, { [name]: tag })
          if (may) assert.ok(answer.status < 300, `${method} ${name}: ${tag}: ${answer.text}`)
          else {
            refused(answer, 412, 'revision_conflict')
            assert.deepEqual(await read('r1'), labels)
          }
        }
        await at.state.labels.remove('sandbox', 'r1')
        refused(await ask(place, method, body, { 'if-match': '*' }), 412, 'revision_conflict')
        refused(await ask(place, method, body, { 'if-match': '"broken' }), 400, 'bad_precondition')
      }
      assert.equal((await ask(where, 'PUT', { owner: 'bob' }, { 'if-none-match': '*' })).status, 200)
    })

    it('tells of nothing where nothing was known, and nothing is to be', async () => {
      const before = (await at.state.audit.tail(1))[0]?.id
      const answer = await ask('/v1/resources/sandbox/none/labels', 'PATCH', { labels: { old: null } })
      assert.deepEqual([answer.status, answer.json['revision']], [200, null])
      assert.equal((await at.state.audit.tail(1))[0]?.id, before)
    })

    it('replaces and removes what is there and cannot be read, such as a key of another type in Redis', async () => {
      const swaps: unknown[] = []
      const other = await another((_, { labels }) => ({
        labels: {
          ...labels,
          read: () => ({ labels: new Map() }),
          swap: async (...asked) => swaps.push(asked) > 0,
        } satisfies LabelStore,
      }))
      const own = await other.login()
      assert.equal((await other.ask(path, { method: 'DELETE', token: own })).status, 204)
      assert.equal((await other.ask(path, { method: 'PUT', token: own, body: { owner: 'a' } })).status, 200)
      assert.deepEqual(swaps, [
        ['sandbox', 's1', new Map(), new Map()],
        ['sandbox', 's1', new Map(), new Map([[owner, 'a']])],
      ])
    })

    it('gives up after many tries, and says so', async () => {
      const other = await another((_, { labels }) => ({ labels: { ...labels, swap: async () => false } satisfies LabelStore }))
      const own = await other.login()
      refused(await other.ask(path, { method: 'PUT', token: own, body: { owner: 'a' } }), 409, 'changed_meanwhile')
      assert.deepEqual(
        (await other.state.audit.tail(10)).filter(({ type }) => type === 'owner_changed'),
        [],
      )
    })
  })

  describe('transfer', () => {
    const where = '/v1/resources/sandbox/t1/transfer'

    it('gives a resource from one to another, with those whom it is shared with', async () => {
      const odd = 'auth0|bob'
      await write('t1', { [owner]: 'alice', [shared]: 'carol' })
      const first = await ask(where, 'POST', { from: 'alice', to: odd, reason: 'alice left' })
      assert.deepEqual([first.status, first.json['owner']], [200, odd])
      assert.deepEqual(await lastEvent(), {
        type: 'owner_changed',
        outcome: 'success',
        actor: 'admin',
        reason: 'alice left',
        target: 'sandbox:t1',
        detail: { before: 'alice', after: odd, revision: first.json['revision'] },
      })
      refused(await ask(where, 'POST', { from: 'alice', to: 'mallory', reason: 'r' }), 409, 'not_the_owner')
      const second = await ask(where, 'POST', { from: odd, to: 'alice', reason: 'alice is back' })
      assert.equal(second.status, 200, second.text)
      assert.deepEqual(await read('t1'), { [shared]: 'carol', [owner]: 'alice' })
    })

    it('refuses what is unknown, and who gives no reason', async () => {
      refused(await ask('/v1/resources/sandbox/nothing/transfer', 'POST', { to: 'bob', reason: 'r' }), 404, 'unknown_resource')
      refused(await ask(where, 'POST', { to: 'bob' }), 400, 'bad_body')
    })

    it('goes by the label, not by what an annotation says of it', async () => {
      await write('t1', { [owner]: 'alice', [`annotation:${owner}`]: 'mallory' })
      refused(await ask(where, 'POST', { from: 'mallory', to: 'bob', reason: 'r' }), 409, 'not_the_owner')
      assert.equal((await ask(where, 'POST', { from: 'alice', to: 'bob', reason: 'r' })).status, 200)
      assert.deepEqual(await read('t1'), { [owner]: 'bob' })
    })
  })

  describe('lists', () => {
    let many: Fixture
    let own: string
    const names = Array.from({ length: 2500 }, (_, i) => `s${i}`)
    before(async () => {
      many = await openFixture()
      own = await many.login()
      for (const [i, id] of names.entries())
        await many.state.labels.write(
          'sandbox',
          id,
          new Map([[owner, i % 100 === 0 ? 'alice' : 'bob'], ...(i === 2400 ? [['mark:orphan', 'd 1'] as const] : [])]),
        )
      await many.state.labels.write(
        'session',
        'x1',
        new Map([
          [owner, 'alice'],
          ['team', 'red'],
        ]),
      )
    })
    after(() => many.close())
    const page = async (query: string): Promise<Listed> => {
      const answer = await many.ask(`/v1/resources${query}`, { token: own })
      assert.equal(answer.status, 200, answer.text)
      return answer.json as unknown as Listed
    }
    const all = async (query: string): Promise<string[]> => {
      const ids: string[] = []
      for (let next: string | null | undefined; next !== null; ) {
        const got: Listed = await page(`${query}${next === undefined ? '' : `&cursor=${next}`}`)
        ids.push(...got.resources.map(({ id }) => id))
        next = got.next
      }
      return ids
    }

    it('of an owner, of a kind, by a label, of orphans: each once, over pages of any size', async () => {
      const alices = names.filter((_, i) => i % 100 === 0)
      for (const limit of [1, 7, 1000])
        assert.deepEqual((await all(`/sandbox?owner=alice&limit=${limit}`)).sort(), [...alices].sort(), `limit ${limit}`)
      assert.deepEqual((await all('?owner=alice&limit=10')).sort(), [...alices, 'x1'].sort())
      assert.deepEqual((await all('/sandbox?limit=333')).sort(), [...names].sort())
      assert.deepEqual(await all('?label=team=red'), ['x1'])
      assert.deepEqual(await all('?mark=orphan'), ['s2400'])
      assert.deepEqual(await all('?mark=orphan&owner=bob'), [])
      assert.deepEqual(await all('?label=team=red&owner=bob'), [])
      assert.deepEqual(await all('/session?limit=5'), ['x1'])
    })

    it('keeps to the limit, and tells a revision of each', async () => {
      const { resources, short, next } = await page('/sandbox?limit=3')
      assert.deepEqual([resources.length, short, typeof next], [3, false, 'string'])
      assert.equal(resources[0]!.revision, labelRevision((await many.state.labels.read('sandbox', resources[0]!.id))!.labels))
      assert.ok((await page('?owner=alice&limit=5')).resources.length <= 5)
    })

    it('looks at so many records in a call, and says that a page is short', async () => {
      let lists = 0
      const list: LabelStore['list'] = async (_filter, most) => {
        lists += most
        return { entries: [], cursor: String(lists) }
      }
      const bounded = await another((_, { labels }) => ({
        labels: { ...labels, list } satisfies LabelStore,
      }))
      const answer = await bounded.ask('/v1/resources?owner=x&limit=10', { token: await bounded.login() })
      assert.deepEqual([answer.json['resources'], answer.json['short'], typeof answer.json['next']], [[], true, 'string'])
      assert.ok(lists >= 10_000 && lists <= 12_000, String(lists))
    })

    it('refuses other questions, and a cursor of another list', async () => {
      const { next } = await page('/sandbox?limit=3')
      for (const query of [
        '?limit=0',
        '?limit=1001',
        '?owner=',
        '?label=x',
        '?label=b%20d=x',
        '?mark=odd',
        '?what=x',
        '?cursor=x',
        `?cursor=${next}`,
      ])
        refused(await many.ask(`/v1/resources${query}`, { token: own }), 400, 'bad_query')
      refused(await many.ask('/v1/resources/Sandbox', { token: own }), 400, 'bad_resource')
    })
  })

  describe('import', () => {
    const send = (lines: readonly unknown[], query = '', headers: Ask['headers'] = {}): Promise<Answer> =>
      at.ask(`/v1/import/labels${query}`, {
        method: 'POST',
        token,
        body: lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
        headers: { 'content-type': 'application/x-ndjson', ...headers },
      })
    const results = ({ json }: Answer): unknown[] => (json['results'] as { result: string }[]).map(({ result }) => result)
    const of = (id: string, more: object) => ({ resource: 'sandbox', id, ...more })

    it('writes what is unknown, keeps what is known, and says which', async () => {
      await write('i1', { [owner]: 'alice' })
      await write('i2', { [owner]: 'bob' })
      const lines = [
        of('i1', { owner: 'alice' }),
        of('i2', { owner: 'alice' }),
        of('i3', { owner: 'auth0|carol' }),
        of('i3', { owner: 'dave' }),
      ]
      const answer = await send(lines, '', { 'x-postern-reason': 'backfill' })
      assert.equal(answer.status, 200, answer.text)
      assert.deepEqual(results(answer), ['same', 'kept', 'written', 'kept'])
      const { results: _, ...counts } = answer.json
      const sha256 = createHash('sha256')
        .update(lines.map((line) => JSON.stringify(line)).join('\n'))
        .digest('hex')
      assert.deepEqual(counts, { mode: 'absent', lines: 4, written: 1, kept: 2, same: 1, valid: 0, invalid: 0, sha256 })
      assert.deepEqual([(await read('i2'))![owner], (await read('i3'))![`annotation:${owner}`]], ['bob', 'auth0|carol'])
      assert.deepEqual(await lastEvent(), {
        type: 'owners_imported',
        outcome: 'success',
        actor: 'admin',
        reason: 'backfill',
        detail: { mode: 'absent', lines: 4, written: 1, kept: 2, same: 1, valid: 0, invalid: 0, sha256 },
      })
    })

    it('replaces whole records where it is asked to, the later line last', async () => {
      await write('i1', { [owner]: 'alice', team: 'red', 'mark:orphan': 'd 1' })
      await write('i2', { [owner]: 'bob' })
      const answer = await send(
        [of('i1', { owner: 'bob' }), of('i2', { owner: 'bob' }), of('i1', { labels: { [owner]: 'carol' } })],
        '?mode=replace',
      )
      assert.deepEqual(results(answer), ['written', 'same', 'written'])
      assert.deepEqual(await read('i1'), { [owner]: 'carol' })
    })

    it('writes nothing of a batch with an invalid line, and says what was expected', async () => {
      await at.state.labels.remove('sandbox', 'i9')
      const lines = [
        of('i9', { owner: 'alice' }),
        '{',
        '[]',
        of('a/b', { owner: 'alice' }),
        { resource: 'Odd', id: 'x', owner: 'alice' },
        of('i8', {}),
        of('i8', { owner: 'a', labels: { [owner]: 'b' } }),
        of('i8', { labels: { team: 'white space' } }),
        of('i8', { labels: { [owner]: 'bob' }, annotations: { [owner]: 'mallory' } }),
        of('i8', { labels: {} }),
        of('i8', { owner: 'a', unknown: 1 }),
      ]
      const answer = await send(lines)
      refused(answer, 400, 'invalid_lines')
      const told = answer.json['lines'] as { line: number; expected: string }[]
      assert.deepEqual(
        told.map(({ line }) => line),
        [2, 3, 4, 5, 6, 7, 8, 9, 10, 11],
      )
      assert.ok(told.every(({ expected }) => expected.length > 10))
      assert.equal(await at.state.labels.read('sandbox', 'i9'), undefined)
      const partly = await send(lines, '?partial=true&report=invalid')
      assert.deepEqual([partly.status, partly.json['written'], partly.json['invalid']], [200, 1, 10])
      assert.deepEqual(results(partly), Array(10).fill('invalid'))
      assert.deepEqual(await read('i9'), { [owner]: 'alice' })
    })

    it('only looks, where it is asked to', async () => {
      const before = (await at.state.audit.tail(1))[0]?.id
      const answer = await send([of('dry', { owner: 'alice' }), '{'], '?dry_run=true')
      assert.deepEqual([answer.status, results(answer)], [200, ['valid', 'invalid']])
      assert.equal(await at.state.labels.read('sandbox', 'dry'), undefined)
      assert.equal((await at.state.audit.tail(1))[0]?.id, before)
    })

    it('takes back what a list tells, marks and annotations too', async () => {
      const records = { e1: { [owner]: 'alice', team: 'red' }, e2: { 'mark:orphan': 'd 1' } }
      for (const [id, labels] of Object.entries(records)) await write(id, labels)
      await ask('/v1/resources/sandbox/e3/labels', 'PUT', { owner: 'auth0|x' })
      const third = await read('e3')
      const told = await Promise.all(['e1', 'e2', 'e3'].map(async (id) => (await ask(`/v1/resources/sandbox/${id}/labels`, 'GET')).json))
      for (const id of ['e1', 'e2', 'e3']) await at.state.labels.remove('sandbox', id)
      const answer = await at.ask('/v1/import/labels', { method: 'POST', token, body: told })
      assert.deepEqual([answer.status, answer.json['written']], [200, 3], answer.text)
      assert.deepEqual(await Promise.all(['e1', 'e2', 'e3'].map(read)), [records.e1, records.e2, third])
    })

    it('takes back whom a platform shares with in an annotation, and refuses what is no such list', async () => {
      const labels = { [owner]: 'alice', [`annotation:${shared}`]: 'bob,role:dev;write' }
      await write('e4', labels)
      const { json } = await ask('/v1/resources/sandbox/e4/labels', 'GET')
      await at.state.labels.remove('sandbox', 'e4')
      assert.deepEqual(results(await send([json])), ['written'])
      assert.deepEqual(await read('e4'), labels)
      refused(await send([of('e4', { owner: 'alice', annotations: { [shared]: 'a b' } })]), 400, 'invalid_lines')
    })

    it('is in the audit trail where only some of it may be written', async () => {
      let calls = 0
      const other = await another((_, { labels }) => ({
        labels: {
          ...labels,
          writeMany: (entries, mode) => {
            if (++calls === 2) throw new Unavailable('made to fail')
            return labels.writeMany(entries, mode)
          },
        } satisfies LabelStore,
      }))
      const own = await other.login()
      const body = [of('u1', { owner: 'alice' }), of('u1', { owner: 'bob' })]
      const headers = { 'x-postern-reason': 'backfill' }
      const answer = await other.ask('/v1/import/labels', { method: 'POST', token: own, body, headers })
      assert.equal(answer.status, 503, answer.text)
      const [event] = await other.state.audit.tail(1)
      assert.deepEqual([event?.type, event?.outcome, event?.actor, event?.reason], ['owners_imported', 'failure', 'admin', 'backfill'])
      assert.deepEqual(event?.detail, {
        mode: 'absent',
        lines: 2,
        invalid: 0,
        sha256: createHash('sha256').update(JSON.stringify(body)).digest('hex'),
      })
    })

    it('is bounded', async () => {
      refused(await send(Array.from({ length: 1001 }, (_, i) => of(`b${i}`, { owner: 'a' }))), 400, 'bad_body')
      refused(await send(['x'.repeat(1024 * 1024 + 1)]), 413, 'body_too_large')
      refused(await send([]), 400, 'bad_body')
      refused(await send([of('x', { owner: 'a' })], '', { 'content-type': 'text/plain' }), 415, 'not_json')
      refused(await send([of('x', { owner: 'a' })], '', { 'content-type': 'application/json' }), 400, 'not_json')
      refused(await send([of('x', { owner: 'a' })], '?mode=odd'), 400, 'bad_query')
    })
  })

  it('describes itself in OpenAPI', async () => {
    const { json } = await ask('/v1/openapi.json', 'GET')
    assert.deepEqual(Object.keys(json['paths'] as object), [
      '/v1/resources/{resource}/{id}/labels',
      '/v1/resources/{resource}/{id}/transfer',
      '/v1/resources',
      '/v1/resources/{resource}',
      '/v1/import/labels',
    ])
  })
})
