import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { type Jwks, type JwksOptions, openJwks } from '../../src/adapters/jwks.ts'
import { Deny } from '../../src/core/reasons.ts'
import type { BearerValidator } from '../../src/core/validator.ts'
import { oidcByPostern } from '../../src/identity/oidc-postern.ts'
import { encode, present, signToken } from '../identity/tokens.ts'
import { until } from '../support/until.ts'
import { json, type LocalServer, localServer } from './local-server.ts'

type Pair = Readonly<Record<'publicKey' | 'privateKey', KeyObject>>
const ecPair = (): Pair => generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = (key: KeyObject, more: object): object => ({ ...key.export({ format: 'jwk' }), ...more })

/** One issuer of the storm: its server, its keys here, and the validator that is asked. */
interface Stormy {
  readonly server: LocalServer
  readonly jwks: Jwks
  readonly validator: BearerValidator
  keys: object[]
  /** What a token under this key id, signed by this key, comes to: `ok`, or why not. At once where memory answers. */
  readonly ask: (kid: string | undefined, key: KeyObject, alg?: string) => string | Promise<string>
  readonly askToken: (token: string) => string | Promise<string>
  /** Fetches of the key set. */
  readonly fetches: () => number
}

describe('an issuer in a storm', () => {
  let now: number
  const one = ecPair()
  const open: Stormy[] = []

  const start = async (more: Partial<JwksOptions> = {}): Promise<Stormy> => {
    const server = await localServer()
    server.handle = well(() => stormy.keys, server)
    const jwks = openJwks({ issuer: server.url, algorithms: ['RS256', 'ES256'], timeoutMs: 150, clock: () => now, ...more })
    const validator = oidcByPostern({
      validator: 'users',
      issuer: server.url,
      audiences: ['edge'],
      names: { subject: 'sub', roles: undefined, role: undefined, scopes: undefined, endUser: undefined },
      namespace: '',
      mayAssert: undefined,
      algorithms: ['RS256', 'ES256'],
      keys: jwks,
    })
    const askToken = (token: string): string | Promise<string> => {
      const verdict = validator.identify(present(`Bearer ${token}`, now))
      const text = (found: Awaited<typeof verdict>): string => (found instanceof Deny ? found.reason : found === 'abstain' ? found : 'ok')
      return verdict instanceof Promise ? verdict.then(text) : text(verdict)
    }
    const claims = () => ({ iss: server.url, aud: 'edge', sub: 'alice', exp: Math.floor(now / 1000) + 300 })
    const stormy: Stormy = {
      server,
      jwks,
      validator,
      keys: [jwk(one.publicKey, { kid: 'k1' })],
      ask: (kid, key, alg = 'ES256') => askToken(signToken({ alg, ...(kid !== undefined && { kid }) }, claims(), key)),
      askToken,
      fetches: () => server.seen.filter(({ path }) => path === '/keys').length,
    }
    open.push(stormy)
    return stormy
  }
  const well =
    (keys: () => object[], server: LocalServer): LocalServer['handle'] =>
    ({ path }, response) =>
      json(response, path === '/keys' ? { keys: keys() } : { issuer: server.url, jwks_uri: `${server.url}/keys` })
  const looks = (stormy: Stormy): number => stormy.server.seen.length

  beforeEach(() => {
    now = 1_800_000_000_000
  })
  afterEach(async () => {
    for (const { jwks, server } of open.splice(0)) {
      jwks.close()
      await server.stop()
    }
  })

  const storms: Record<string, { how: LocalServer['handle']; reason: string }> = {
    hangs: { how: () => {}, reason: 'DiscoveryFailed' },
    'answers 500': { how: (_, response) => json(response, {}, 500), reason: 'DiscoveryFailed' },
    'answers 10 MB': { how: (_, response) => large(response), reason: 'DiscoveryFailed' },
  }
  for (const [name, { how, reason }] of Object.entries(storms)) {
    it(`that ${name} from the start is unavailable, holds up nobody else, and is believed when it is well again`, async () => {
      const stormy = await start()
      const calm = await start()
      stormy.server.handle = how
      await Promise.all([stormy.jwks.refresh(), calm.jwks.refresh()])
      const began = performance.now()
      for (let i = 0; i < 500; i++) {
        assert.equal(await stormy.ask(`k${i % 7}`, one.privateKey), 'identity_unavailable')
        assert.equal(calm.ask('k1', one.privateKey), 'ok', 'another issuer is answered from memory, at once')
      }
      assert.ok(performance.now() - began < 3_000, 'nobody waited for more than one fetch')
      // The first, one for an unknown key, and those on the clock: 0.5 s, 1 s, 2 s … apart.
      assert.ok(looks(stormy) <= 6, `${looks(stormy)} looks`)
      assert.equal(stormy.jwks.condition().reason, reason)
      stormy.server.handle = well(() => stormy.keys, stormy.server)
      await until('the issuer to be well', () => stormy.jwks.condition().status === 'True', 10_000)
      assert.equal(await stormy.ask('k1', one.privateKey), 'ok')
    })
    it(`that ${name} later is judged by its last good keys, for stale_for`, async () => {
      const stormy = await start({ staleForMs: 3_600_000 })
      await stormy.jwks.refresh()
      const since = stormy.jwks.condition().lastTransitionTime
      stormy.server.handle = how
      for (let minute = 0; minute < 59; minute += 10) {
        now += 600_000
        if (minute % 20 === 0) await stormy.jwks.refresh()
        assert.equal(stormy.ask('k1', one.privateKey), 'ok')
        assert.equal(await stormy.ask('k2', one.privateKey), 'identity_unavailable', 'it may exist by now')
      }
      const last = stormy.jwks.condition()
      assert.deepEqual([last.status, last.reason, last.lastTransitionTime], ['True', 'UsingLastGood', since])
      now += 1
      assert.equal(await stormy.ask('k1', one.privateKey), 'identity_unavailable')
      const { status, reason, lastTransitionTime } = stormy.jwks.condition()
      assert.deepEqual([status, reason], ['False', 'TooOld'])
      assert.equal(lastTransitionTime, new Date(Date.parse(since) + 3_600_000).toISOString())
    })
  }

  let sent = 0
  /** 10 MB, as far as they are taken. */
  const large = (response: ServerResponse): void => {
    const { socket } = response
    const before = socket?.bytesWritten ?? 0
    response.on('close', () => {
      sent += (socket?.bytesWritten ?? 0) - before
    })
    response.writeHead(200)
    const chunk = 'x'.repeat(64 * 1024)
    let left = 160
    const more = (): void => {
      while (left-- > 0 && !response.destroyed) if (!response.write(chunk)) return void response.once('drain', more)
      response.end()
    }
    more()
  }

  it('that answers 10 MB is cut off after 1 MiB, each time', async () => {
    const stormy = await start()
    await stormy.jwks.refresh()
    stormy.server.handle = ({ path }, response) =>
      path === '/keys' ? large(response) : json(response, { issuer: stormy.server.url, jwks_uri: `${stormy.server.url}/keys` })
    global.gc?.()
    const heap = process.memoryUsage()
    sent = 0
    for (let i = 0; i < 10; i++) {
      await stormy.jwks.refresh()
      assert.equal(stormy.ask('k1', one.privateKey), 'ok')
    }
    assert.match(stormy.jwks.condition().message, /more than 1048576 bytes/)
    await until('the last answer to be cut', () => sent > 0)
    // What was under way in buffers comes on top.
    assert.ok(sent < 10 * 6_000_000, `${sent} bytes were sent of 100 MB`)
    const grown = process.memoryUsage().heapUsed - heap.heapUsed
    assert.ok(grown < 60_000_000, `the heap grew by ${grown} bytes`)
  })

  it('that has keys of the wrong kinds is judged by those that fit', async () => {
    const stormy = await start()
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 })
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
    const [enc, crossed] = [ecPair(), ecPair()]
    const secret = Buffer.alloc(32, 7)
    const wrong = [
      { kty: 'oct', k: secret.toString('base64url'), kid: 'oct', alg: 'HS256' },
      { kty: 'oct', k: secret.toString('base64url'), kid: 'oct-es', alg: 'ES256' },
      jwk(weak.publicKey, { kid: 'weak', alg: 'RS256' }),
      jwk(p384.publicKey, { kid: 'p384' }),
      jwk(enc.publicKey, { kid: 'enc', use: 'enc' }),
      jwk(crossed.publicKey, { kid: 'crossed', alg: 'RS256' }),
    ]
    const hs = (kid: string): string => {
      const input = `${encode({ alg: 'HS256', kid })}.${encode({ iss: stormy.server.url, aud: 'edge', sub: 'a', exp: now / 1000 + 300 })}`
      return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
    }
    const tricks = (): (string | Promise<string>)[] => [
      stormy.askToken(hs('oct')),
      stormy.askToken(hs('k1')),
      stormy.ask('weak', weak.privateKey, 'RS256'),
      stormy.ask('p384', p384.privateKey, 'ES256'),
      stormy.ask('enc', enc.privateKey),
      stormy.ask('crossed', crossed.privateKey),
      stormy.ask('rsa', one.privateKey),
      stormy.ask('oct-es', one.privateKey),
    ]
    stormy.keys = [...wrong, jwk(one.publicKey, { kid: 'k1' }), jwk(rsa.publicKey, { kid: 'rsa' })]
    await stormy.jwks.refresh()
    assert.deepEqual(stormy.jwks.condition().kids, ['k1', 'rsa'])
    for (const found of await Promise.all(tricks())) assert.equal(found, 'invalid_credential')
    assert.equal(stormy.ask('k1', one.privateKey), 'ok')
    assert.equal(stormy.ask('rsa', rsa.privateKey, 'RS256'), 'ok')

    stormy.keys = wrong
    await stormy.jwks.refresh()
    assert.deepEqual([stormy.jwks.condition().status, stormy.jwks.condition().reason], ['False', 'NoUsableKeys'])
    assert.equal(await stormy.ask('k1', one.privateKey), 'identity_unavailable')
    assert.equal(await stormy.askToken(hs('oct')), 'invalid_credential')
  })

  it('that rotates its keys twice in a minute is followed at once', async () => {
    const stormy = await start()
    await stormy.jwks.refresh()
    const [two, three, four] = [ecPair(), ecPair(), ecPair()]
    const rotate = (kid: string, { publicKey }: Pair): void => {
      stormy.keys = [jwk(publicKey, { kid })]
    }
    assert.equal(stormy.ask('k1', one.privateKey), 'ok')
    now += 15_000
    rotate('k2', two)
    assert.equal(stormy.ask('k1', one.privateKey), 'ok', 'nobody knows yet')
    assert.equal(await stormy.ask('k2', two.privateKey), 'ok')
    assert.equal(await stormy.ask('k1', one.privateKey), 'invalid_credential', 'it was withdrawn')
    now += 40_000
    rotate('k3', three)
    assert.equal(await stormy.ask('k3', three.privateKey), 'ok')
    assert.equal(await stormy.ask('k2', two.privateKey), 'invalid_credential')
    assert.equal(stormy.fetches(), 3)

    // Sooner than 30 s after the last question for an unknown key: it is found when they are over.
    now += 5_000
    rotate('k4', four)
    for (let i = 0; i < 24; i++) {
      assert.equal(stormy.ask('k4', four.privateKey), 'invalid_credential')
      assert.equal(stormy.ask('k3', three.privateKey), 'ok')
      now += 1_000
    }
    assert.equal(stormy.fetches(), 3)
    now += 1_000
    assert.equal(await stormy.ask('k4', four.privateKey), 'ok')
    assert.equal(stormy.fetches(), 4)
  })

  it('whose key changes under the same kid is followed by the next fetch, and the old key’s tokens are out', async () => {
    const stormy = await start()
    await stormy.jwks.refresh()
    const two = ecPair()
    assert.equal(stormy.ask('k1', one.privateKey), 'ok')
    stormy.keys = [jwk(two.publicKey, { kid: 'k1' })]
    await stormy.jwks.refresh()
    assert.equal(stormy.ask('k1', one.privateKey), 'invalid_credential')
    assert.equal(stormy.ask('k1', two.privateKey), 'ok')
  })

  const floods: Record<string, { down: boolean; reason: string }> = {
    'that is well': { down: false, reason: 'invalid_credential' },
    'that is down': { down: true, reason: 'identity_unavailable' },
  }
  for (const [name, { down, reason }] of Object.entries(floods)) {
    it(`${name}, under a flood of 10,000 unknown kids, is asked once in 30 s; good tokens are admitted throughout`, async function () {
      this.timeout(30_000)
      const stormy = await start()
      const calm = await start()
      await Promise.all([stormy.jwks.refresh(), calm.jwks.refresh()])
      if (down) stormy.server.handle = (_, response) => json(response, {}, 503)
      const made = { iss: stormy.server.url, aud: 'edge', sub: 'mallory', exp: now / 1000 + 3600 }
      const [, payload, signature] = signToken({ alg: 'ES256', kid: 'x' }, made, one.privateKey).split('.')
      const before = { heap: process.memoryUsage().heapUsed, looks: stormy.fetches() }
      const began = now
      for (let i = 0; i < 10_000; i++) {
        now += 60
        const found = stormy.askToken(`${encode({ alg: 'ES256', kid: `made-up-${i}` })}.${payload}.${signature}`)
        assert.equal(await found, reason)
        if (i % 100 === 0) assert.equal(stormy.ask('k1', one.privateKey), 'ok')
        if (i % 1000 === 0) assert.equal(calm.ask('k1', one.privateKey), 'ok')
      }
      const most = Math.ceil((now - began) / 30_000)
      const asked = down ? stormy.server.seen.length - 2 : stormy.fetches() - before.looks
      // While it is down, those on the clock come on top: the test takes a few seconds.
      assert.ok(asked <= most + (down ? 8 : 0), `${asked} fetches in ${(now - began) / 1000} s`)
      assert.ok(asked >= most / 2, `${asked} fetches: rotated keys would not be found`)
      const grown = process.memoryUsage().heapUsed - before.heap
      assert.ok(grown < 50_000_000, `the heap grew by ${grown} bytes`)
      assert.equal(calm.fetches(), 1)
    })
  }

  it('asked by 10,000 at the same moment for one unknown kid is asked once', async () => {
    const stormy = await start()
    await stormy.jwks.refresh()
    const two = ecPair()
    stormy.keys = [jwk(one.publicKey, { kid: 'k1' }), jwk(two.publicKey, { kid: 'k2' })]
    const token = signToken(
      { alg: 'ES256', kid: 'k2' },
      { iss: stormy.server.url, aud: 'edge', sub: 'bob', exp: now / 1000 + 300 },
      two.privateKey,
    )
    const found = await Promise.all(Array.from({ length: 10_000 }, () => stormy.askToken(token)))
    assert.ok(found.every((verdict) => verdict === 'ok'))
    assert.equal(stormy.fetches(), 2)
  })
})
