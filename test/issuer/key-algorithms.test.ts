import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { calculateJwkThumbprint, createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { type KeyAlgorithm, keyAlgorithms, Unavailable } from '../../src/core/ports.ts'
import { adminTokens } from '../../src/issuer/admin-token.ts'
import { type KeyRing, type KeyRingOptions, openKeyRing } from '../../src/issuer/key-ring.ts'
import { createMint } from '../../src/issuer/mint.ts'
import { publicKeysPem } from '../../src/issuer/public-keys.ts'
import { type SharedKeys, sharedKeys } from './key-store.ts'

const minute = 60_000
const day = 24 * 60 * minute
const times = { publishBeforeMs: 15 * minute, rotateEveryMs: 30 * day, keepForMs: day }

describe('algorithms of the key ring', () => {
  let now: number
  let shared: SharedKeys
  const rings: KeyRing[] = []
  const open = async (more: Partial<KeyRingOptions> = {}): Promise<KeyRing> => {
    const { store, feed } = shared
    const ring = await openKeyRing({ store, feed, ...times, clock: () => now, ...more })
    rings.push(ring)
    return ring
  }
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 60))
  const headOf = (ring: KeyRing, algorithm?: KeyAlgorithm) => decodeProtectedHeader(ring.sign({ a: 1 }, 'JWT', algorithm))
  const states = (ring: KeyRing): string[] => ring.list().map(({ algorithm, state }) => `${algorithm} ${state}`)

  beforeEach(() => {
    now = 1_800_000_000_000
    shared = sharedKeys()
  })
  afterEach(() => {
    for (const ring of rings.splice(0)) ring.close()
  })

  for (const algorithm of keyAlgorithms) {
    it(`signs, publishes, finds and shows ${algorithm}`, async () => {
      const ring = await open({ algorithm })
      const token = ring.sign({ sub: 'a' }, 'at+jwt')
      const { protectedHeader } = await jwtVerify(token, createLocalJWKSet(ring.jwks() as never))
      const [key] = ring.jwks().keys
      assert.deepEqual(protectedHeader, { alg: algorithm, typ: 'at+jwt', kid: key!.kid })
      assert.equal(key!.kid, await calculateJwkThumbprint(key! as never))
      assert.ok(!('d' in key!))
      for (const other of keyAlgorithms) assert.equal(ring.find(key!.kid, other).kind, other === algorithm ? 'key' : 'unknown')
      const pem = publicKeysPem(ring.list(), { algorithm })
      assert.deepEqual(createPublicKey(pem!).export({ format: 'jwk' })['kty'], key!.kty)
      assert.equal(publicKeysPem(ring.list(), { algorithm: algorithm === 'ES256' ? 'RS256' : 'ES256' }), undefined)
      if (algorithm === 'RS256') assert.equal(createPublicKey(pem!).asymmetricKeyDetails?.modulusLength, 2048)
      const mint = createMint({ issuer: 'https://i.example', signer: ring, adminAudience: 'admin' })
      const verify = adminTokens({ issuer: 'https://i.example', adminAudience: 'admin', keys: ring })
      const admin = mint.admin('admin', now).token
      assert.equal(verify(admin, now)?.subject, 'admin')
      assert.equal(verify(`${admin.slice(0, -8)}AAAAAAAA`, now), undefined)
    })
  }

  it('change on a restart: the new key is published before it signs, and the old one stays as long as its tokens live', async () => {
    const first = await open()
    const old = headOf(first).kid!
    const token = first.sign({ a: 1 }, 'JWT')
    const ring = await open({ algorithm: 'EdDSA' })
    assert.deepEqual(states(ring), ['ES256 signing', 'EdDSA published'])
    assert.equal(headOf(ring).alg, 'ES256')
    now += 15 * minute
    await settle()
    assert.deepEqual([headOf(ring).alg, headOf(first).alg], ['EdDSA', 'EdDSA'], 'a replica with the old policy follows')
    await jwtVerify(token, createLocalJWKSet(ring.jwks() as never))
    now += day - 1000
    await ring.reload()
    assert.equal(ring.find(old, 'ES256').kind, 'key')
    now += 1000
    await ring.reload()
    assert.deepEqual(states(ring), ['EdDSA signing'])
  })
  it('change on a reload, once: replicas that disagree for a while do not undo one another', async () => {
    const [one, other] = [await open(), await open()]
    await one.configure({ ...times, algorithm: 'RS256' })
    await settle()
    for (let i = 0; i < 5; i++) await Promise.all([one.reload(), other.reload()])
    assert.deepEqual(states(other), ['ES256 signing', 'RS256 published'])
    await other.configure({ ...times, algorithm: 'RS256' })
    assert.equal(shared.at().length, 2, 'the key that waits is the one')
    now += 15 * minute
    assert.equal(headOf(other).alg, 'RS256')
    await Promise.all([one.configure({ ...times, algorithm: 'ES256' }), other.configure({ ...times, algorithm: 'ES256' })])
    await settle()
    assert.deepEqual(states(one), ['ES256 retired', 'RS256 signing', 'ES256 published'])
  })
  it('are not changed by a worker, which follows its primary', async () => {
    await open()
    const worker = await open({ algorithm: 'EdDSA', rotateEveryMs: Number.POSITIVE_INFINITY, keepForMs: Number.POSITIVE_INFINITY })
    assert.deepEqual(states(worker), ['ES256 signing'])
  })

  it('stand beside one another, each with keys of its own', async () => {
    const ring = await open({ also: ['RS256'] })
    assert.deepEqual(states(ring).sort(), ['ES256 signing', 'RS256 signing'], 'nobody can have cached a key set yet')
    assert.deepEqual([headOf(ring).alg, headOf(ring, 'RS256').alg, headOf(ring, 'EdDSA').alg], ['ES256', 'RS256', 'ES256'])
    const kid = headOf(ring, 'RS256').kid!
    assert.match(kid, /^rs256:/)
    await jwtVerify(ring.sign({ a: 1 }, 'JWT', 'RS256'), createLocalJWKSet(ring.jwks() as never))
    const next = await ring.rotate()
    assert.deepEqual(states(ring).sort(), ['ES256 published', 'ES256 signing', 'RS256 published', 'RS256 signing'])
    assert.doesNotMatch(next, /:/, 'told is the key of all other tokens')
    now += 15 * minute
    assert.notEqual(headOf(ring, 'RS256').kid, kid)
    const pem = publicKeysPem(ring.list(), { algorithm: 'RS256' })!
    assert.equal(pem.match(/BEGIN PUBLIC KEY/g)?.length, 2)
    assert.equal(
      publicKeysPem(ring.list(), { kid: headOf(ring, 'RS256').kid! }),
      pem.slice(0, pem.length / 2),
      'the one that signs comes first',
    )
  })
  it('that some want later are published first; until then the usual key signs', async () => {
    const ring = await open()
    await ring.configure({ ...times, also: ['RS256'] })
    assert.deepEqual(states(ring), ['ES256 signing', 'RS256 published'])
    assert.equal(headOf(ring, 'RS256').alg, 'ES256')
    now += 15 * minute
    assert.equal(headOf(ring, 'RS256').alg, 'RS256')
    assert.equal(headOf(ring).alg, 'ES256', 'and nobody else gets it')
  })
  it('that nobody wants any more end with their time, and stay as long as their tokens live', async () => {
    const ring = await open({ also: ['RS256'] })
    const token = ring.sign({ a: 1 }, 'JWT', 'RS256')
    await ring.configure(times)
    assert.equal(headOf(ring, 'RS256').alg, 'ES256')
    assert.deepEqual(states(ring).sort(), ['ES256 signing', 'RS256 retired'])
    await jwtVerify(token, createLocalJWKSet(ring.jwks() as never))
    now += 30 * day
    await ring.reload()
    assert.ok(states(ring).includes('RS256 retired'))
    now += day
    await ring.reload()
    assert.ok(!states(ring).some((state) => state.startsWith('RS256')))
  })

  it('that nobody wants any more stay as long as their tokens live, though keys are to rotate more often from now on', async () => {
    const ring = await open({ also: ['RS256'] })
    now += 20 * day
    const { kid } = headOf(ring, 'RS256')
    await ring.configure({ ...times, rotateEveryMs: 5 * day })
    now += day - 1000
    await ring.reload()
    assert.equal(ring.find(kid, 'RS256').kind, 'key')
    now += 1000
    await ring.reload()
    assert.equal(ring.find(kid, 'RS256').kind, 'unknown')
  })

  it('that are wanted again sign by a new key alone: one that has ended would be gone before its tokens', async () => {
    const ring = await open({ also: ['EdDSA'] })
    const old = headOf(ring, 'EdDSA').kid
    await ring.configure(times)
    now += 30 * day
    await ring.reload()
    now += day / 2
    await ring.configure({ ...times, also: ['EdDSA'] })
    const { kid, alg } = headOf(ring, 'EdDSA')
    assert.notEqual(kid, old)
    assert.equal(alg, 'ES256')
    now += 15 * minute
    assert.equal(headOf(ring, 'EdDSA').alg, 'EdDSA')
    now += day - 15 * minute
    await ring.reload()
    assert.deepEqual([ring.find(kid, alg).kind, ring.find(old, 'EdDSA').kind], ['key', 'unknown'])
  })

  it('keep a key as long as the longest life that was allowed while it signed', async () => {
    const ring = await open()
    const first = headOf(ring).kid!
    await ring.configure({ ...times, keepForMs: 10 * day })
    await ring.configure(times)
    await ring.rotate({ now: true })
    assert.deepEqual(
      shared.at().map(({ keepFor }) => keepFor),
      [10 * 86_400, 86_400],
    )
    now += 10 * day - 1000
    await ring.reload()
    assert.equal(ring.find(first, 'ES256').kind, 'key')
    now += 1000
    await ring.reload()
    assert.equal(ring.find(first, 'ES256').kind, 'unknown')
  })
  it('never signs with a key that was followed before it began', async () => {
    const ring = await open()
    const other = await open()
    const first = headOf(ring).kid!
    await ring.rotate()
    // The next one begins before the one that waits.
    await ring.configure({ ...times, algorithm: 'EdDSA', publishBeforeMs: minute })
    assert.ok(shared.at().every(({ activeAt, retiredAt = activeAt }) => retiredAt >= activeAt))
    const signed: string[] = []
    for (const step of [0, minute, 14 * minute, minute, day / 2]) {
      now += step
      await ring.reload()
      await other.reload()
      signed.push(headOf(ring).alg!)
      assert.equal(headOf(other).alg, headOf(ring).alg)
    }
    assert.deepEqual(signed, ['ES256', 'EdDSA', 'EdDSA', 'EdDSA', 'EdDSA'])
    now += day
    await ring.reload()
    assert.deepEqual(states(ring), ['EdDSA signing'])
    assert.equal(ring.find(first, 'ES256').kind, 'unknown')
  })

  it('of a key that two replicas change at once: nothing that one was told is undone', async () => {
    const all = [await open(), await open(), await open()]
    for (let round = 0; round < 10; round++) {
      const waiting = await all[0]!.rotate()
      await settle()
      // One begins it, while the others only look, or rotate too.
      const [begun, , again] = await Promise.all([all[0]!.rotate({ now: true }), all[1]!.reload(), all[2]!.rotate({ now: true })])
      await settle()
      assert.ok([begun, again].includes(waiting))
      for (const ring of all) assert.ok(['signing', 'retired'].includes(ring.list().find(({ kid }) => kid === waiting)!.state))
      assert.equal(new Set(all.map((ring) => headOf(ring).kid)).size, 1)
      now += 1000
    }
  })
  it('begin at once only when every replica can have heard of them', async () => {
    const ring = await open({ settleMs: 2000 })
    const first = headOf(ring).kid
    const next = await ring.rotate({ now: true })
    assert.equal(headOf(ring).kid, first)
    now += 1000
    assert.equal(await ring.rotate({ now: true }), next, 'and are neither doubled nor put off')
    now += 1000
    assert.equal(headOf(ring).kid, next)
    const waiting = await ring.rotate()
    now += 2000
    assert.equal(await ring.rotate({ now: true }), waiting)
    assert.equal(headOf(ring).kid, waiting, 'one that waited was heard of')
  })
  it('that leaked are taken away, on every replica, and the key before one that waited goes on', async () => {
    const [ring, replica] = [await open({ also: ['RS256'] }), await open({ also: ['RS256'] })]
    const first = headOf(ring).kid!
    assert.equal(await ring.remove(first), 'signs')
    assert.equal(await ring.remove(headOf(ring, 'RS256').kid!), 'signs')
    assert.equal(await ring.remove('none'), 'unknown')
    const waiting = await ring.rotate()
    assert.equal(await replica.remove(waiting), 'removed')
    await settle()
    for (const each of [ring, replica]) assert.equal(each.find(waiting, 'ES256').kind, 'unknown')
    assert.ok(ring.list().every(({ kid, retiredAt }) => kid !== first || retiredAt === undefined))
    now += 20 * day
    await ring.reload()
    assert.equal(headOf(ring).kid, first)
    now += 1000
    await ring.rotate({ now: true })
    assert.equal(await ring.remove(first), 'removed')
    await settle()
    for (const each of [ring, replica]) assert.equal(each.find(first, 'ES256').kind, 'unknown')
  })
  it('are taken when state answers again', async () => {
    const ring = await open({ reloadEveryMs: 20 })
    shared.fault = new Unavailable('down')
    await assert.rejects(ring.configure({ ...times, algorithm: 'EdDSA' }), Unavailable)
    shared.fault = undefined
    await new Promise((resolve) => setTimeout(resolve, 150))
    assert.deepEqual(states(ring), ['ES256 signing', 'EdDSA published'])
  })
})
