import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { type Jwks, type JwksOptions, openJwks } from '../../src/adapters/jwks.ts'
import { readJwks } from '../../src/adapters/jwks-parse.ts'
import type { KeyAnswer } from '../../src/core/verification-keys.ts'
import { json, type LocalServer, localServer, type Seen } from './local-server.ts'

const pair = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey
const jwk = (key: KeyObject, kid?: string, more: object = {}): object => ({
  ...key.export({ format: 'jwk' }),
  ...(kid !== undefined && { kid }),
  ...more,
})
const one = pair()
const two = pair()

describe('jwks', () => {
  let server: LocalServer
  let keys: object[]
  let now: number
  const open: Jwks[] = []
  const start = (more: Partial<JwksOptions> = {}): Jwks => {
    const jwks = openJwks({ issuer: server.url, algorithms: ['ES256', 'RS256'], timeoutMs: 200, clock: () => now, ...more })
    open.push(jwks)
    return jwks
  }
  const issuer = (seen: Seen, response: ServerResponse): void => {
    if (seen.path === '/.well-known/openid-configuration') json(response, { issuer: server.url, jwks_uri: `${server.url}/keys` })
    else if (seen.path === '/keys') json(response, { keys })
    else json(response, {}, 404)
  }
  const fetches = (): number => server.seen.filter((seen) => seen.path === '/keys').length
  const kind = (found: KeyAnswer): string => found.kind

  beforeEach(async () => {
    now = 1_800_000_000_000
    keys = [jwk(one, 'k1')]
    server = await localServer(issuer)
  })
  afterEach(async () => {
    for (const jwks of open.splice(0)) jwks.close()
    await server.stop()
  })

  it('fetches at start without being waited for, then answers at once', async () => {
    const jwks = start()
    assert.deepEqual([jwks.condition().status, jwks.condition().reason], ['Unknown', 'NotFetchedYet'])
    const found = await jwks.find('k1', 'ES256')
    assert.ok(found.kind === 'key' && found.key.equals(one))
    assert.deepEqual(jwks.find('k1', 'ES256'), found)
    now += 7000
    const { status, reason, kids, ageSeconds } = jwks.condition()
    assert.deepEqual({ status, reason, kids, ageSeconds }, { status: 'True', reason: 'Fetched', kids: ['k1'], ageSeconds: 7 })
    assert.equal(fetches(), 1)
  })
  it('fetches again for a key it does not know, once in 30 s however many ask', async () => {
    const jwks = start()
    await jwks.refresh()
    keys = [jwk(one, 'k1'), jwk(two, 'k2')]
    const found = await Promise.all(Array.from({ length: 50 }, () => jwks.find('k2', 'ES256')))
    assert.ok(found.every((answer) => answer.kind === 'key' && answer.key.equals(two)))
    assert.equal(fetches(), 2)
    for (let i = 0; i < 1000; i++) assert.deepEqual(jwks.find(`made-up-${i}`, 'ES256'), { kind: 'unknown' })
    assert.equal(fetches(), 2)
    now += 30_000
    assert.deepEqual(await jwks.find('made-up', 'ES256'), { kind: 'unknown' })
    assert.equal(fetches(), 3)
  })
  it('goes by no pause that a clock which was set back has made long', async () => {
    const jwks = start()
    await jwks.refresh()
    assert.deepEqual(await jwks.find('made-up', 'ES256'), { kind: 'unknown' })
    now -= 3_600_000
    keys = [jwk(one, 'k1'), jwk(two, 'k2')]
    assert.equal((await jwks.find('k2', 'ES256')).kind, 'key')
    assert.deepEqual(await jwks.find('made-up', 'ES256'), { kind: 'unknown' })
    assert.equal(fetches(), 3)
  })
  it('drops keys that the issuer withdrew', async () => {
    const jwks = start()
    await jwks.refresh()
    keys = [jwk(two, 'k2')]
    await jwks.refresh()
    assert.deepEqual(await jwks.find('k1', 'ES256'), { kind: 'unknown' })
  })
  it('refreshes by the clock', async () => {
    start({ refreshMs: 50 })
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.ok(fetches() >= 3, `${fetches()} fetches`)
  })
  it('takes a key for its own algorithm and kind only', async () => {
    const { publicKey: rsaKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    keys = [jwk(one, 'e'), jwk(rsaKey, 'r', { alg: 'RS256' })]
    const jwks = start()
    await jwks.refresh()
    assert.equal(kind(await jwks.find('e', 'ES256')), 'key')
    assert.equal(kind(await jwks.find('r', 'RS256')), 'key')
    assert.equal(kind(await jwks.find('e', 'RS256')), 'unknown')
    assert.equal(kind(await jwks.find('r', 'PS256')), 'unknown')
    assert.equal(kind(await jwks.find(undefined, 'RS256')), 'key', 'the only key for RS256')
    keys = [jwk(one, 'a'), jwk(two, 'b')]
    await jwks.refresh()
    const before = fetches()
    assert.deepEqual(jwks.find(undefined, 'ES256'), { kind: 'unknown' })
    assert.equal(fetches(), before)
  })

  const failures: Record<string, { handle: LocalServer['handle']; reason: string }> = {
    'a 500 from discovery': { handle: (_, response) => json(response, {}, 500), reason: 'DiscoveryFailed' },
    'discovery that hangs': { handle: () => {}, reason: 'DiscoveryFailed' },
    'discovery of 10 MB': { handle: (_, response) => void response.end('x'.repeat(10_000_000)), reason: 'DiscoveryFailed' },
    'discovery that is no JSON': { handle: (_, response) => void response.end('<html>'), reason: 'DiscoveryFailed' },
    'discovery without jwks_uri': { handle: (_, response) => json(response, { issuer: server.url }), reason: 'DiscoveryFailed' },
    'a redirect': { handle: (_, response) => void response.writeHead(302, { location: '/x' }).end(), reason: 'DiscoveryFailed' },
    'another issuer': {
      handle: (_, response) => json(response, { issuer: `${server.url}/`, jwks_uri: `${server.url}/keys` }),
      reason: 'IssuerMismatch',
    },
    'keys elsewhere, in the clear': {
      handle: (_, response) => json(response, { issuer: server.url, jwks_uri: 'http://keys.example/' }),
      reason: 'KeySetFailed',
    },
    'a key set that hangs': { handle: (seen, response) => seen.path !== '/keys' && issuer(seen, response), reason: 'KeySetFailed' },
    'a key set of another form': {
      handle: (seen, response) => (seen.path === '/keys' ? json(response, { keys: 'none' }) : issuer(seen, response)),
      reason: 'KeySetFailed',
    },
    'a key set without usable keys': {
      handle: (seen, response) =>
        seen.path === '/keys' ? json(response, { keys: [{ kty: 'oct', k: 'AA', kid: 'k1' }] }) : issuer(seen, response),
      reason: 'NoUsableKeys',
    },
  }
  for (const [name, { handle, reason }] of Object.entries(failures)) {
    it(`is not ready, and says why, after ${name}`, async () => {
      server.handle = handle
      const jwks = start()
      await jwks.refresh()
      assert.deepEqual([jwks.condition().status, jwks.condition().reason], ['False', reason])
      assert.equal(kind(await jwks.find('k1', 'ES256')), 'unavailable')
    })
  }

  const named: Record<string, [issuer: (url: string) => unknown, message: RegExp]> = {
    'with a slash more': [(url) => `${url}/`, /names the issuer with a "\/" at its end: write issuer: http:[^ ]+\/ if/],
    'of another': [() => 'https://evil.example', /names the issuer https:\/\/evil.example, not http/],
    'of all tenants': [() => 'https://login.example/{tenantid}/v2.0', /one for all tenants/],
    'with control characters': [() => 'x\r\ny', /names the issuer x\?\?y/],
    'that is no text': [() => ['x'], /names no issuer/],
  }
  for (const [name, [other, message]] of Object.entries(named)) {
    it(`says which issuer a document names: one ${name}`, async () => {
      server.handle = (_, response) => json(response, { issuer: other(server.url), jwks_uri: `${server.url}/keys` })
      const jwks = start()
      await jwks.refresh()
      assert.equal(jwks.condition().reason, 'IssuerMismatch')
      assert.match(jwks.condition().message, message)
      assert.equal(fetches(), 0)
    })
  }
  it('takes the slash of an issuer away for its discovery document, and nowhere else', async () => {
    server.handle = (seen, response) =>
      seen.path === '/tenant/.well-known/openid-configuration'
        ? json(response, { issuer: `${server.url}/tenant/`, jwks_uri: `${server.url}/keys` })
        : issuer(seen, response)
    const slashed = start({ issuer: `${server.url}/tenant/` })
    const plain = start({ issuer: `${server.url}/tenant` })
    await Promise.all([slashed.refresh(), plain.refresh()])
    assert.equal(slashed.condition().reason, 'Fetched')
    assert.equal(plain.condition().reason, 'IssuerMismatch')
    assert.match(plain.condition().message, /with a "\/" at its end/)
    server.handle = (_, response) => json(response, { issuer: `${server.url}/tenant`, jwks_uri: `${server.url}/keys` })
    await slashed.refresh()
    assert.match(slashed.condition().message, /without a "\/" at its end/)
  })
  it('tells since when it is as it is', async () => {
    const began = now
    const jwks = start()
    assert.equal(jwks.condition().lastTransitionTime, new Date(began).toISOString())
    now += 2_000
    await jwks.refresh()
    now += 60_000
    await jwks.refresh()
    server.handle = (_, response) => json(response, {}, 500)
    await jwks.refresh()
    assert.equal(jwks.condition().lastTransitionTime, new Date(began + 2_000).toISOString(), 'it is ready all the time')
  })
  it('serves several lists of algorithms with one fetch, and knows which keys anybody can use', async () => {
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
    keys = [jwk(p384, 'big')]
    const jwks = start({ algorithms: ['ES256'] })
    await jwks.refresh()
    assert.deepEqual([jwks.condition().reason, jwks.condition().kids], ['NoUsableKeys', []])
    jwks.want(['ES384'])
    assert.deepEqual([jwks.condition().reason, jwks.condition().kids], ['Fetched', ['big']])
    assert.equal(kind(await jwks.find('big', 'ES384')), 'key')
    assert.equal(fetches(), 1)
  })
  it('needs no discovery where the policy names the key set', async () => {
    server.handle = (seen, response) => (seen.path === '/elsewhere' ? json(response, { keys }) : json(response, {}, 404))
    const jwks = start({ uri: `${server.url}/elsewhere` })
    assert.equal(kind(await jwks.find('k1', 'ES256')), 'key')
    assert.deepEqual(
      server.seen.map(({ path }) => path),
      ['/elsewhere'],
    )
  })
  it('shows a token to the issuer alone, not to where its document points', async () => {
    const other = await localServer((_, response) => json(response, { keys }))
    try {
      server.handle = (_, response) => json(response, { issuer: server.url, jwks_uri: `${other.url}/keys` })
      let token = 'first'
      const jwks = start({ token: () => token })
      await jwks.refresh()
      assert.equal(server.seen.at(-1)?.headers.authorization, 'Bearer first')
      assert.equal(other.seen.at(-1)?.headers.authorization, undefined)
      token = 'second'
      server.handle = issuer
      await jwks.refresh()
      assert.deepEqual(
        server.seen.slice(-2).map(({ headers }) => headers.authorization),
        ['Bearer second', 'Bearer second'],
      )
      const there = start({ uri: `${other.url}/keys`, token: () => token })
      await there.refresh()
      assert.equal(other.seen.at(-1)?.headers.authorization, 'Bearer second')
    } finally {
      await other.stop()
    }
  })

  it('tries again by itself until the issuer answers', async () => {
    server.handle = (_, response) => json(response, {}, 503)
    const jwks = start()
    await jwks.refresh()
    server.handle = issuer
    const end = performance.now() + 3000
    while (jwks.condition().status !== 'True' && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(jwks.condition().reason, 'Fetched')
    assert.equal(kind(await jwks.find('k1', 'ES256')), 'key')
  })
  it('asks a dead issuer for unknown keys no more often', async () => {
    server.handle = (_, response) => json(response, {}, 503)
    const jwks = start()
    await jwks.refresh()
    await jwks.find('a', 'ES256')
    const before = server.seen.length
    for (let i = 0; i < 500; i++) assert.equal(kind(await jwks.find(`x${i}`, 'ES256')), 'unavailable')
    assert.ok(server.seen.length <= before + 1, 'at most the retry on the clock')
  })
  it('uses the last good keys while the issuer is down, up to stale_for', async () => {
    const jwks = start({ staleForMs: 100_000 })
    await jwks.refresh()
    server.handle = (_, response) => json(response, {}, 500)
    now += 90_000
    await jwks.refresh()
    assert.equal(kind(await jwks.find('k1', 'ES256')), 'key')
    assert.deepEqual([jwks.condition().status, jwks.condition().reason], ['True', 'UsingLastGood'])
    assert.equal(kind(await jwks.find('k9', 'ES256')), 'unavailable', 'it may exist by now')
    now += 10_001
    assert.equal(kind(await jwks.find('k1', 'ES256')), 'unavailable')
    assert.deepEqual([jwks.condition().status, jwks.condition().reason], ['False', 'TooOld'])
  })
})

describe('readJwks', () => {
  const read = (listed: unknown[]): number => readJwks(JSON.stringify({ keys: listed }), ['ES256', 'RS256'])!.length
  it('passes over what cannot verify', () => {
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey
    assert.equal(read([jwk(one, 'a'), jwk(two), jwk(one, 'c', { use: 'sig', alg: 'ES256', key_ops: ['verify'] })]), 3)
    const useless = [
      null,
      1,
      'x',
      [],
      {},
      { kty: 'oct', k: 'AA' },
      { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' },
      jwk(one, 'a', { use: 'enc' }),
      jwk(one, 'a', { key_ops: ['encrypt'] }),
      jwk(one, 'a', { alg: 'ES384' }),
      jwk(one, 'a', { alg: 'HS256' }),
      jwk(one, 'a', { alg: 'RS256' }),
      jwk(one, ''),
      { ...jwk(one), kid: 5 },
      jwk(weak, 'w'),
      jwk(p384, 'p'),
    ]
    assert.equal(read(useless), 0)
  })
  it('takes another use for signatures where told to, as SPIFFE bundles have it', () => {
    const body = JSON.stringify({
      keys: [jwk(one, 'a', { use: 'jwt-svid' }), jwk(two, 'b', { use: 'sig' }), jwk(one, 'c', { use: 'x509-svid' })],
    })
    assert.deepEqual(
      readJwks(body, ['ES256'])?.map(({ kid }) => kid),
      ['b'],
    )
    assert.deepEqual(
      readJwks(body, ['ES256'], 'jwt-svid')?.map(({ kid }) => kid),
      ['a', 'b'],
    )
  })
  it('stops at 100 keys', () => assert.equal(read(Array.from({ length: 150 }, (_, i) => jwk(one, `k${i}`))), 100))
  it('looks at 1000 and no more, whatever they are', () => {
    const useless = (count: number) => Array.from({ length: count }, () => ({ kty: 'RSA', n: 'AQAB', e: 'AQAB' }))
    assert.equal(read([...useless(999), jwk(one, 'k')]), 1)
    assert.equal(read([...useless(1000), jwk(one, 'k')]), 0)
  })
  it('keeps nothing private', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const [found] = readJwks(JSON.stringify({ keys: [privateKey.export({ format: 'jwk' })] }), ['ES256'])!
    assert.equal(found?.key.type, 'public')
  })
  for (const body of ['', 'null', '[]', '{}', '{"keys":{}}'])
    it(`refuses ${body || 'nothing'}`, () => assert.equal(readJwks(body, ['ES256']), undefined))
})
