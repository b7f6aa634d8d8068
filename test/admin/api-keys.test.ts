import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { makeApiKey } from '../../src/core/api-key.ts'
import { type ApiKeyRecord, Unavailable } from '../../src/core/ports.ts'
import { type Answer, type Fixture, openFixture as open, sparingly } from './fixture.ts'

const refused = (answer: Answer, status: number, reason: string, detail?: RegExp): void => {
  assert.equal(answer.status, status, answer.text)
  assert.equal(answer.json['reason'], reason)
  if (detail) assert.match(String(answer.json['detail']), detail)
}
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

describe('admin API of API keys', () => {
  let at: Fixture
  let token: string
  before(async () => {
    at = await open()
    token = await at.login()
  })
  const openFixture = sparingly()
  after(() => at.close())
  const post = (body: object, fixture = at) => fixture.ask('/v1/api-keys', { method: 'POST', token, body })
  const make = async (body: object = {}): Promise<Record<string, string>> => {
    const answer = await post({ owner: 'acme', ...body })
    assert.equal(answer.status, 201, answer.text)
    return answer.json as Record<string, string>
  }
  const get = (path: string) => at.ask(path, { token })
  const records = async (): Promise<readonly ApiKeyRecord[]> => (await at.state.apiKeys.list()).entries

  it('makes a key: shown once, kept as its hash, audited before the answer', async () => {
    const before = Math.floor(Date.now() / 1000)
    const answer = await post({ owner: 'acme', name: 'ci of acme', role: 'editor', scopes: ['invoke:sandbox:*'], expires_in: 3600 })
    assert.equal(answer.status, 201, answer.text)
    const { key, id, ...shown } = answer.json as Record<string, string>
    assert.match(key!, /^postern_key_[0-9A-Za-z]{38}$/)
    assert.equal(answer.headers['location'], `/v1/api-keys/${id}`)
    const record = (await records()).find((one) => one.id === id)!
    assert.deepEqual(shown, {
      name: 'ci of acme',
      validator: 'partners',
      owner: 'acme',
      subject: 'key:acme',
      roles: ['editor'],
      scopes: ['invoke:sandbox:*'],
      status: 'active',
      created_at: new Date(record.createdAt * 1000).toISOString(),
      created_by: 'admin',
      expires_at: new Date((record.createdAt + 3600) * 1000).toISOString(),
      last_used_at: null,
    })
    assert.ok(record.createdAt >= before && record.createdAt <= before + 5)
    assert.equal(record.digest, sha256(key!))
    const [event] = await at.state.audit.tail(1)
    assert.deepEqual([event?.type, event?.outcome, event?.actor, event?.target], ['api_key_created', 'success', 'admin', id])
    assert.deepEqual([event?.detail?.['owner'], event?.detail?.['roles']], ['acme', ['editor']])
    for (const kept of [JSON.stringify(await records()), JSON.stringify(await at.state.audit.tail(1000))])
      assert.ok(!kept.includes(key!.slice(12)), 'the key itself is kept nowhere')
    assert.ok(!JSON.stringify(event).includes(record.digest))
  })

  it('shows a key without the key and its digest', async () => {
    const { key, id } = await make()
    for (const path of [`/v1/api-keys/${id}`, '/v1/api-keys', `/v1/api-keys?digest=${sha256(key!)}`]) {
      const answer = await get(path)
      assert.equal(answer.status, 200, answer.text)
      assert.ok(answer.text.includes(id!))
      assert.ok(!answer.text.includes(key!) && !answer.text.includes(sha256(key!)) && !answer.text.includes('digest'))
    }
    refused(await get('/v1/api-keys/nobody'), 404, 'unknown_key')
  })

  it('gives the default role where none is named', async () => {
    assert.deepEqual((await make())['roles'], ['viewer'])
    assert.deepEqual((await make({ roles: [] }))['roles'], ['viewer'])
    assert.deepEqual((await make({ roles: ['viewer', 'editor', 'viewer'] }))['roles'], ['viewer', 'editor'])
    assert.deepEqual((await records()).at(-2)?.roles, [], 'the role of the policy in force then counts')
  })

  it('takes an end as a span or as a time', async () => {
    assert.equal((await make({ expires_at: '2030-01-31T12:00:00+01:00' }))['expires_at'], '2030-01-31T11:00:00.000Z')
    assert.equal((await make())['expires_at'], null)
    for (const wrong of [{ expires_at: '2020-01-01T00:00:00Z' }, { expires_at: '2200-01-01T00:00:00Z' }])
      refused(await post({ owner: 'a', ...wrong }), 400, 'bad_body', /expires_at: expected a time in the future, in ten years at most/)
    for (const wrong of [{ expires_at: 'soon' }, { expires_in: 0 }, { expires_in: 1.5 }, { expires_in: '1h' }, { expires_in: 1e9 }])
      refused(await post({ owner: 'a', ...wrong }), 400, 'bad_body')
    refused(await post({ owner: 'a', expires_in: 1, expires_at: '2030-01-01T00:00:00Z' }), 400, 'bad_body', /not both/)
  })

  it('says what was expected', async () => {
    const count = (await records()).length
    refused(await post({}), 400, 'bad_body', /owner/)
    refused(await post({ owner: '' }), 400, 'bad_body', /owner/)
    refused(await post({ owner: 'a\nb' }), 400, 'bad_body', /control characters/)
    refused(await post({ owner: 'a\ud800' }), 400, 'bad_body')
    refused(await post({ owner: 'x'.repeat(257) }), 400, 'bad_body')
    refused(await post({ owner: 'a', role: 'owner' }), 400, 'bad_body', /expected roles of the policy: viewer, editor, admin/)
    refused(await post({ owner: 'a', role: 'admin' }), 400, 'bad_body', /may_assert of partners lets it give: viewer, editor/)
    refused(await post({ owner: 'a', role: 'viewer', roles: ['viewer'] }), 400, 'bad_body', /role or roles, not both/)
    refused(await post({ owner: 'a', scopes: ['a b'] }), 400, 'bad_body')
    refused(await post({ owner: 'a', key: 'postern_key_x' }), 400, 'bad_body')
    refused(await post({ owner: 'a', validator: 'users' }), 400, 'bad_validator', /expected the name of .* partners$/)
    assert.equal((await records()).length, count)
  })

  it('wants the validator named where there are several, and has no keys where there is none', async () => {
    const several = await openFixture((plain) => ({
      apiKeys: {
        ...plain.apiKeys,
        validators: () => ['one', 'two'].map((name) => ({ name, namespace: '', defaultRole: undefined, mayAssert: undefined })),
      },
    }))
    const login = await several.login()
    const ask = (body: object) => several.ask('/v1/api-keys', { method: 'POST', token: login, body })
    refused(await ask({ owner: 'a' }), 400, 'bad_validator', /expected one of one, two/)
    const made = await ask({ owner: 'a', validator: 'two' })
    assert.deepEqual([made.status, made.json['validator'], made.json['roles']], [201, 'two', []])
    const none = await openFixture((plain) => ({ apiKeys: { ...plain.apiKeys, list: () => undefined, validators: () => [] } }))
    const key = await none.login()
    for (const [method, path] of [
      ['POST', ''],
      ['GET', ''],
      ['GET', '/x'],
      ['DELETE', '/x'],
    ] as const)
      refused(
        await none.ask(`/v1/api-keys${path}`, { method, token: key, ...(method === 'POST' ? { body: { owner: 'a' } } : {}) }),
        404,
        'no_api_keys',
      )
    refused(await none.ask('/v1/revoke', { method: 'POST', token: key, body: { level: 'key', target: 'x' } }), 404, 'unknown_key')
  })

  it('lists by owner, validator, status and digest, a page at a time', async () => {
    const made: string[] = []
    for (let i = 0; i < 5; i++) made.push((await make({ owner: 'pages', name: `n${i}` }))['id']!)
    const ids = (answer: Answer) => (answer.json['api_keys'] as { id: string }[]).map(({ id }) => id)
    assert.deepEqual(ids(await get('/v1/api-keys?owner=pages')), made)
    const first = await get('/v1/api-keys?owner=pages&limit=2')
    assert.deepEqual([ids(first), first.json['next']], [made.slice(0, 2), made[1]])
    const second = await get(`/v1/api-keys?owner=pages&limit=3&after=${made[1]}`)
    assert.deepEqual([ids(second), second.json['next']], [made.slice(2), null])
    assert.deepEqual(ids(await get('/v1/api-keys?owner=nobody')), [])
    assert.deepEqual(ids(await get('/v1/api-keys?owner=pages&validator=other')), [])
    await at.ask(`/v1/api-keys/${made[3]}`, { method: 'DELETE', token })
    assert.deepEqual(ids(await get('/v1/api-keys?owner=pages&status=revoked')), [made[3]])
    assert.equal(ids(await get('/v1/api-keys?owner=pages&status=active')).length, 4)
    for (const wrong of ['limit=0', 'limit=1001', 'limit=x', 'status=gone', 'digest=abc', 'after=nobody', 'color=red'])
      refused(await get(`/v1/api-keys?${wrong}`), 400, 'bad_query')
  })

  it('tells when a key was last used', async () => {
    const { id } = await make()
    await at.state.apiKeys.noteUsed(new Map([[id!, 1_800_000_000]]))
    assert.equal((await get(`/v1/api-keys/${id}`)).json['last_used_at'], '2027-01-15T08:00:00.000Z')
  })

  it('revokes, again and again, by either way, and records each time that it was told', async () => {
    for (const revoke of [
      (id: string) => at.ask(`/v1/api-keys/${id}`, { method: 'DELETE', token }),
      (id: string) => at.ask('/v1/revoke', { method: 'POST', token, body: { level: 'key', target: id } }),
    ]) {
      const { id } = await make({ owner: 'revoked' })
      const answers = [await revoke(id!), await revoke(id!)]
      assert.ok(answers.every(({ status }) => status === 204 || status === 200))
      const shown = await get(`/v1/api-keys/${id}`)
      assert.deepEqual([shown.json['status'], typeof shown.json['revoked_at']], ['revoked', 'string'])
      const events = (await at.state.audit.tail(1000)).filter(({ target }) => target === id)
      assert.deepEqual(
        events.map(({ type, detail }) => [type, detail?.['again']]),
        [
          ['api_key_created', undefined],
          ['api_key_revoked', undefined],
          ['api_key_revoked', true],
        ],
      )
    }
    assert.match((await at.ask('/metrics')).text, /postern_tokens_revoked_total\{level="key"\} [1-9]/)
    refused(await at.ask('/v1/api-keys/nobody', { method: 'DELETE', token }), 404, 'unknown_key')
    refused(await at.ask('/v1/revoke', { method: 'POST', token, body: { level: 'key', target: makeApiKey() } }), 400, 'key_as_target')
  })

  it('makes and revokes many at once', async () => {
    const made = await Promise.all(Array.from({ length: 30 }, () => make({ owner: 'many' })))
    assert.equal(new Set(made.map(({ key }) => key)).size, 30)
    await Promise.all(made.flatMap(({ id }) => [0, 1].map(() => at.ask(`/v1/api-keys/${id}`, { method: 'DELETE', token }))))
    assert.equal(((await get('/v1/api-keys?owner=many&status=revoked')).json['api_keys'] as object[]).length, 30)
  })

  it('demands its scope, and nothing of it is for workloads', async () => {
    const limited = await openFixture((plain) => ({
      issuer: { ...plain.issuer!, verifyAdmin: (name) => ({ subject: 'ops', scopes: [`admin:${name}:*`] }) },
      workloads: () => new Set(['spiffe://cluster.local/ns/a/sa/b']),
    }))
    for (const [method, path] of [
      ['POST', ''],
      ['GET', ''],
      ['GET', '/x'],
      ['DELETE', '/x'],
    ] as const) {
      const body = method === 'POST' ? { body: { owner: 'a' } } : {}
      refused(
        await limited.ask(`/v1/api-keys${path}`, { method, token: 'owners', ...body }),
        403,
        'insufficient_scope',
        /admin:api-keys:\*/,
      )
      const allowed = await limited.ask(`/v1/api-keys${path}`, { method, token: 'api-keys', ...body })
      assert.ok(allowed.status < 300 || allowed.status === 404, allowed.text)
      refused(await limited.ask(`/v1/api-keys${path}`, { method, ...body }), 401, 'no_token')
      const byWorkload = await limited.fetch(
        new Request(`http://127.0.0.1/v1/api-keys${path}`, { method, headers: { host: '127.0.0.1' } }),
        {
          peer: 'spiffe://cluster.local/ns/a/sa/b',
          secure: true,
          remoteAddress: '',
        },
      )
      assert.equal(byWorkload.status, 403)
    }
  })

  it('answers 503 where state does not answer, and shows no key that was not recorded', async () => {
    const down = async () => {
      throw new Unavailable('down')
    }
    const noAudit = await openFixture((plain) => ({
      audit: { ...plain.audit, commit: (event) => (event.type === 'admin_login' ? plain.audit.commit(event) : down()) },
    }))
    const unrecorded = await noAudit.ask('/v1/api-keys', { method: 'POST', token: await noAudit.login(), body: { owner: 'a' } })
    refused(unrecorded, 503, 'state_unavailable')
    assert.ok(!unrecorded.text.includes('postern_key_'))
    const noState = await openFixture((plain) => {
      const list = plain.apiKeys.list()!
      return { apiKeys: { ...plain.apiKeys, list: () => ({ ...list, put: down, byId: down, trusted: () => false }) } }
    })
    const login = await noState.login()
    for (const [method, path] of [
      ['POST', ''],
      ['GET', ''],
      ['GET', '/x'],
      ['DELETE', '/x'],
    ] as const)
      refused(
        await noState.ask(`/v1/api-keys${path}`, { method, token: login, ...(method === 'POST' ? { body: { owner: 'a' } } : {}) }),
        503,
        'state_unavailable',
      )
  })
})
