import assert from 'node:assert/strict'
import { calculateJwkThumbprint, createLocalJWKSet, jwtVerify } from 'jose'
import { Unavailable } from '../../src/core/ports.ts'
import { type KeyRing, type KeyRingOptions, openKeyRing } from '../../src/issuer/key-ring.ts'
import { UnreadableKey } from '../../src/issuer/signing-key.ts'
import { type SharedKeys, sharedKeys } from './key-store.ts'

const minute = 60_000
const day = 24 * 60 * minute

describe('key ring', () => {
  let now: number
  let shared: SharedKeys
  const rings: KeyRing[] = []
  const open = async (more: Partial<KeyRingOptions> = {}): Promise<KeyRing> => {
    const { store, feed } = shared
    const ring = await openKeyRing({
      store,
      feed,
      publishBeforeMs: 15 * minute,
      rotateEveryMs: 30 * day,
      keepForMs: day,
      clock: () => now,
      ...more,
    })
    rings.push(ring)
    return ring
  }
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 60))
  const kidOf = (token: string): string => JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()).kid
  const signer = (ring: KeyRing): string => kidOf(ring.sign({ a: 1 }, 'JWT'))
  const kids = (ring: KeyRing): string[] => ring.jwks().keys.map((key) => key.kid)

  beforeEach(() => {
    now = 1_800_000_000_000
    shared = sharedKeys()
  })
  afterEach(() => {
    for (const ring of rings.splice(0)) ring.close()
  })

  it('makes a key where there is none, which signs at once', async () => {
    const ring = await open()
    const token = ring.sign({ sub: 'ä' }, 'at+jwt')
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(ring.jwks() as never))
    assert.deepEqual(payload, { sub: 'ä' })
    const [key] = ring.jwks().keys
    assert.deepEqual(protectedHeader, { alg: 'ES256', typ: 'at+jwt', kid: key!.kid })
    assert.equal(key!.kid, await calculateJwkThumbprint(key! as never))
    assert.deepEqual(Object.keys(key!).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'], 'nothing private')
    assert.equal(ring.find(key!.kid, 'ES256').kind, 'key')
    assert.equal(ring.find(key!.kid, 'HS256').kind, 'unknown')
    assert.equal(ring.find(undefined, 'ES256').kind, 'unknown')
  })
  it('shares one key among replicas that start at once', async () => {
    const all = await Promise.all(Array.from({ length: 6 }, () => open()))
    assert.equal(shared.at().length, 1)
    assert.equal(new Set(all.map(signer)).size, 1)
  })
  it('survives a restart', async () => {
    assert.equal(signer(await open()), signer(await open()))
  })
  it('publishes a new key before it signs, on every replica', async () => {
    const [ring, other] = [await open(), await open()]
    const first = signer(ring)
    const next = await ring.rotate()
    await settle()
    assert.notEqual(next, first)
    for (const each of [ring, other]) {
      assert.deepEqual(kids(each), [first, next])
      assert.equal(signer(each), first)
    }
    assert.deepEqual(
      ring.list().map((key) => key.state),
      ['signing', 'published'],
    )
    assert.equal(await other.rotate(), next, 'one that waits is not doubled')
    now += 15 * minute - 1000
    assert.equal(signer(other), first)
    now += 1000
    assert.equal(signer(other), next)
    assert.deepEqual(
      other.list().map((key) => key.state),
      ['retired', 'signing'],
    )
  })
  it('lets a new key sign at once when told to', async () => {
    const ring = await open()
    const forced = await ring.rotate({ now: true })
    assert.equal(signer(ring), forced)
    const waiting = await ring.rotate()
    assert.equal(signer(ring), forced)
    assert.equal(await ring.rotate({ now: true }), waiting, 'the one that waits begins')
    assert.equal(signer(ring), waiting)
    assert.equal(kids(ring).length, 3)
  })
  it('rotates by the clock, and keeps an old key until its last token has ended', async () => {
    const [ring, other] = [await open(), await open()]
    const first = signer(ring)
    now += 30 * day - 15 * minute - 1000
    await ring.reload()
    assert.equal(kids(ring).length, 1)
    now += 1000
    await Promise.all([ring.reload(), other.reload()])
    await settle()
    assert.equal(shared.at().length, 2, 'one of two won')
    assert.equal(signer(ring), first)
    now += 15 * minute
    const second = signer(ring)
    assert.notEqual(second, first)
    now += day - 1000
    await ring.reload()
    assert.deepEqual(kids(ring), [first, second])
    now += 1000
    await ring.reload()
    assert.deepEqual(kids(ring), [second])
    assert.equal(ring.find(first, 'ES256').kind, 'unknown')
  })
  it('goes on with the keys in memory while state is down, and says so', async () => {
    const faults: unknown[] = []
    const ring = await open({ fault: (error) => faults.push(error), reloadEveryMs: 10 })
    shared.fault = new Unavailable('down')
    await settle()
    assert.ok(faults[0] instanceof Unavailable)
    assert.ok(signer(ring))
    await assert.rejects(ring.rotate(), Unavailable)
    shared.fault = undefined
    assert.ok(await ring.rotate())
  })
  it('is refused where stored keys cannot be read', async () => {
    shared = sharedKeys([{ kid: 'k', algorithm: 'ES256', createdAt: 1, activeAt: 1, privateKey: 'a256gcm:AAAA' }])
    await assert.rejects(
      open(),
      (error) => error instanceof UnreadableKey && /signing key k .*expected an ES256 private key/.test(error.message),
    )
  })
})
