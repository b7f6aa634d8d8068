import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import {
  type Introspection,
  type IntrospectionAnswer,
  type IntrospectionOptions,
  openIntrospection,
} from '../../src/adapters/introspection.ts'
import { json, type LocalServer, localServer, type Seen } from './local-server.ts'

const digest = (token: string): string => createHash('sha256').update(token).digest('hex')

describe('introspection', () => {
  let server: LocalServer
  let now: number
  /** What the issuer knows of its tokens. */
  let tokens: Map<string, object>
  const open: Introspection[] = []
  const start = (more: Partial<IntrospectionOptions> = {}): Introspection => {
    const opened = openIntrospection({
      issuer: server.url,
      clientId: 'postern',
      auth: { method: 'secret', secret: () => 'a secret' },
      timeoutMs: 300,
      clock: () => now,
      ...more,
    })
    open.push(opened)
    return opened
  }
  const issuer = (seen: Seen, response: ServerResponse): void => {
    if (seen.path === '/.well-known/openid-configuration')
      json(response, { issuer: server.url, introspection_endpoint: `${server.url}/introspect` })
    else if (seen.path !== '/introspect') json(response, {}, 404)
    else json(response, tokens.get(new URLSearchParams(seen.body).get('token') ?? '') ?? { active: false })
  }
  const questions = (): Seen[] => server.seen.filter((seen) => seen.path === '/introspect')
  const ask = async (asked: Introspection, token: string): Promise<IntrospectionAnswer> => asked.ask(token, digest(token))
  const kind = async (asked: Introspection, token: string): Promise<string> => (await ask(asked, token)).kind

  beforeEach(async () => {
    now = 1_800_000_000_000
    tokens = new Map([['good', { active: true, sub: 'alice', exp: now / 1000 + 300 }]])
    server = await localServer(issuer)
  })
  afterEach(async () => {
    for (const asked of open.splice(0)) asked.close()
    await server.stop()
  })

  it('finds the endpoint by discovery, and asks as RFC 7662 has it', async () => {
    const asked = start()
    assert.deepEqual([asked.condition().status, asked.condition().reason], ['Unknown', 'NotAskedYet'])
    const answer = await ask(asked, 'good')
    assert.ok(answer.kind === 'active' && answer.claims['sub'] === 'alice')
    const [question] = questions()
    assert.equal(question?.method, 'POST')
    assert.equal(question.headers['content-type'], 'application/x-www-form-urlencoded')
    assert.equal(question.headers.authorization, `Basic ${Buffer.from('postern:a+secret').toString('base64')}`)
    assert.deepEqual(Object.fromEntries(new URLSearchParams(question.body)), { token: 'good', token_type_hint: 'access_token' })
    assert.deepEqual([asked.condition().status, asked.condition().reason], ['True', 'Answers'])
  })

  it('proves itself by private_key_jwt, for the issuer', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const asked = start({ auth: { method: 'private_key_jwt', key: () => String(privateKey.export({ type: 'pkcs8', format: 'pem' })) } })
    assert.equal(await kind(asked, 'good'), 'active')
    const form = new URLSearchParams(questions()[0]?.body)
    assert.equal(form.get('client_id'), 'postern')
    const { iss, sub, aud } = decodeJwt(form.get('client_assertion') ?? '')
    assert.deepEqual({ iss, sub, aud }, { iss: 'postern', sub: 'postern', aud: server.url })
  })

  it('remembers an answer for its ttl: then a revoked token is out', async () => {
    const asked = start({ ttlMs: 10_000 })
    await ask(asked, 'good')
    tokens.delete('good')
    now += 9_999
    assert.ok(!(asked.ask('good', digest('good')) instanceof Promise), 'memory answers at once')
    assert.equal(await kind(asked, 'good'), 'active')
    now += 1
    assert.equal(await kind(asked, 'good'), 'inactive')
    assert.equal(questions().length, 2)
  })

  it('uses no answer for longer where the clock was set back', async () => {
    const asked = start()
    assert.deepEqual([await kind(asked, 'good'), await kind(asked, 'new')], ['active', 'inactive'])
    tokens.delete('good')
    tokens.set('new', { active: true, sub: 'bob' })
    now -= 3_600_000
    assert.deepEqual([await kind(asked, 'good'), await kind(asked, 'new')], ['inactive', 'active'])
  })

  it('never uses an answer past exp, without any skew', async () => {
    tokens.set('short', { active: true, sub: 'a', exp: now / 1000 + 3 })
    const asked = start({ ttlMs: 60_000 })
    await ask(asked, 'short')
    now += 2_999
    assert.ok(asked.recall(digest('short')))
    now += 1
    assert.equal(asked.recall(digest('short')), undefined)
    tokens.set('over', { active: true, sub: 'a', exp: now / 1000 - 1 })
    await ask(asked, 'over')
    assert.equal(asked.recall(digest('over')), undefined)
  })

  it('remembers for a short while that a token is not active', async () => {
    const asked = start({ negativeTtlMs: 2_000 })
    assert.equal(await kind(asked, 'later'), 'inactive')
    tokens.set('later', { active: true, sub: 'b' })
    now += 1_999
    assert.equal(await kind(asked, 'later'), 'inactive')
    now += 1
    assert.equal(await kind(asked, 'later'), 'active')
  })

  it('asks once for all that come with one token, and for each token of its own', async () => {
    tokens.set('other', { active: true, sub: 'bob' })
    const asked = start()
    const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => ask(asked, i % 2 === 0 ? 'good' : 'other')))
    for (const [i, answer] of answers.entries())
      assert.equal(answer.kind === 'active' && answer.claims['sub'], i % 2 === 0 ? 'alice' : 'bob')
    assert.equal(questions().length, 2)
  })

  it('reads the discovery document once for all questions that wait for it', async () => {
    const asked = start()
    await Promise.all(Array.from({ length: 30 }, (_, i) => ask(asked, `t${i}`)))
    assert.equal(questions().length, 30)
    assert.equal(server.seen.length, 31)
    now += 6 * 3_600_000
    await ask(asked, 'later')
    assert.equal(server.seen.length, 33, 'and again after 6 h')
  })

  it('keeps apart what two issuers say of the same token', async () => {
    const second = await localServer((_, response) => json(response, { active: true, sub: 'mallory' }))
    try {
      const one = start({ endpoint: `${server.url}/introspect` })
      const other = start({ issuer: second.url, endpoint: `${second.url}/introspect` })
      assert.equal(await kind(other, 'opaque'), 'active')
      assert.equal(one.recall(digest('opaque')), undefined)
      assert.equal(await kind(one, 'opaque'), 'inactive')
    } finally {
      await second.stop()
    }
  })

  it('has bounded memory, in which made-up tokens push out no good one', async () => {
    const asked = start({ size: 50, endpoint: `${server.url}/introspect`, negativeTtlMs: 60_000 })
    await ask(asked, 'good')
    for (let i = 0; i < 300; i++) await ask(asked, `made-up-${i}`)
    assert.deepEqual(asked.size(), { active: 1, inactive: 50, inFlight: 0 })
    assert.ok(asked.recall(digest('good')))
  })

  it('asks about so many tokens at a time, and no more', async () => {
    server.handle = () => {}
    const asked = start({ maxInFlight: 3, endpoint: `${server.url}/introspect` })
    const waiting = [1, 2, 3].map((i) => ask(asked, `t${i}`))
    const fourth = asked.ask('t4', digest('t4'))
    assert.ok(!(fourth instanceof Promise) && fourth.kind === 'unavailable')
    assert.match(fourth.detail, /3 questions are under way/)
    for (const answer of await Promise.all(waiting)) assert.equal(answer.kind, 'unavailable')
    assert.equal(asked.size().inFlight, 0)
  })

  const faults: Record<string, LocalServer['handle']> = {
    hangs: () => {},
    'answers 500': (_, response) => json(response, {}, 500),
    'answers 400': (_, response) => json(response, { error: 'invalid_request' }, 400),
    'refuses our client': (_, response) => json(response, { error: 'invalid_client' }, 401),
    redirects: (_, response) => void response.writeHead(302, { location: '/' }).end(),
    'answers no JSON': (_, response) => void response.end('active'),
    'answers without active': (_, response) => json(response, { sub: 'alice' }),
    'answers active in words': (_, response) => json(response, { active: 'true', sub: 'alice' }),
    'answers 10 MB': (_, response) => void response.end(`{"active":true,"x":"${'x'.repeat(10_000_000)}"}`),
    'cuts the connection': (_, response) => void response.destroy(),
  }
  for (const [name, handle] of Object.entries(faults)) {
    it(`is unavailable where the endpoint ${name}, and says so`, async () => {
      const asked = start({ endpoint: `${server.url}/introspect` })
      server.handle = handle
      assert.equal(await kind(asked, 'good'), 'unavailable')
      assert.deepEqual([asked.condition().status, asked.condition().reason], ['False', 'DoesNotAnswer'])
      assert.doesNotMatch(asked.condition().message, /good|a secret/)
      server.handle = issuer
      assert.equal(await kind(asked, 'good'), 'active', 'nothing of a failure is remembered')
      assert.equal(asked.condition().status, 'True')
    })
  }

  it('is unavailable without an endpoint in the discovery document', async () => {
    server.handle = (_, response) => json(response, { issuer: server.url })
    const answer = await ask(start(), 'good')
    assert.match(answer.kind === 'unavailable' ? answer.detail : '', /no introspection_endpoint/)
  })

  it('asks again where a kept connection was closed at the other end', async () => {
    const asked = start({ endpoint: `${server.url}/introspect` })
    let cut = true
    server.handle = (seen, response) => {
      if (cut) response.destroy()
      else issuer(seen, response)
      cut = false
    }
    assert.equal(await kind(asked, 'good'), 'active')
  })

  it('stops asking what keeps failing, and looks again later', async () => {
    let monotonic = 0
    const asked = start({ endpoint: `${server.url}/introspect`, breaker: { threshold: 3, openMs: 1000, clock: () => monotonic } })
    server.handle = (_, response) => json(response, {}, 503)
    for (let i = 0; i < 100; i++) assert.equal(await kind(asked, `t${i}`), 'unavailable')
    assert.equal(questions().length, 3)
    assert.equal(asked.breaker(), 'open')
    server.handle = issuer
    monotonic += 1000
    assert.equal(await kind(asked, 'good'), 'active')
    assert.equal(asked.breaker(), 'closed')
  })

  it('goes on asking where made-up tokens are answered with 400, and not where our client is', async () => {
    const asked = start({ endpoint: `${server.url}/introspect`, breaker: { threshold: 3 } })
    let error = 'invalid_request'
    server.handle = (seen, response) => (seen.body.includes('odd') ? json(response, { error }, 400) : issuer(seen, response))
    for (let i = 0; i < 10; i++) assert.equal(await kind(asked, `odd${i}`), 'unavailable')
    assert.equal(await kind(asked, 'good'), 'active')
    error = 'invalid_client'
    for (let i = 0; i < 3; i++) await ask(asked, `odder${i}`)
    assert.equal(asked.breaker(), 'open')
  })

  it('tells since when it is as it is', async () => {
    const asked = start({ endpoint: `${server.url}/introspect` })
    const began = now
    assert.equal(asked.condition().lastTransitionTime, new Date(began).toISOString())
    now += 5_000
    await ask(asked, 'good')
    now += 40_000
    await ask(asked, 'good')
    assert.equal(asked.condition().lastTransitionTime, new Date(began + 5_000).toISOString())
  })

  it('ends what is under way when it is closed', async () => {
    server.handle = () => {}
    const asked = start({ endpoint: `${server.url}/introspect`, timeoutMs: 60_000 })
    const waiting = ask(asked, 'good')
    await sleep(20)
    asked.close()
    assert.equal((await waiting).kind, 'unavailable')
  })
})
