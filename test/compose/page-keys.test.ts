import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { calculateJwkThumbprint, decodeProtectedHeader, exportJWK, jwtVerify } from 'jose'
import { encryptedKeyStore, keyCipher } from '../../src/adapters/key-cipher.ts'
import { openMemoryState } from '../../src/adapters/memory-state.ts'
import { createPageKeys, type PageKeys } from '../../src/compose/page-keys.ts'
import { type KeyStore, keyVersion, type StoredKey, Unavailable } from '../../src/core/ports.ts'
import { type KeyRing, openKeyRing } from '../../src/issuer/key-ring.ts'
import { keySet } from '../../src/issuer/key-set.ts'
import { createKey, createPageKey, isPageKey, load } from '../../src/issuer/signing-key.ts'
import { sharedKeys } from '../issuer/key-store.ts'
import { until } from '../support/until.ts'

const order = { subject: 'admin', roles: ['viewer'], scopes: ['a'], ttl: 60, now: 1_800_000_000_000 }

describe('keys of page tokens', () => {
  const closing: { close: () => unknown }[] = []
  const closed = <T extends { close: () => unknown }>(one: T): T => {
    closing.push(one)
    return one
  }
  afterEach(async () => {
    for (const one of closing.splice(0).reverse()) await one.close()
  })
  const pagesOf = (store: KeyStore, feed: Parameters<typeof createPageKeys>[0]['feed'], faults: unknown[] = []): PageKeys =>
    closed(createPageKeys({ issuer: 'https://issuer.example', store, feed, rotateEveryMs: 1e10, onFault: (cause) => faults.push(cause) }))
  const ringOf = async (store: KeyStore, feed: Parameters<typeof openKeyRing>[0]['feed']): Promise<KeyRing> =>
    closed(
      await openKeyRing({
        store: keySet(store, (key) => !isPageKey(key)),
        feed,
        publishBeforeMs: 9e5,
        rotateEveryMs: 1e10,
        keepForMs: 1e8,
      }),
    )
  const ready = async (pages: PageKeys) =>
    until('a page key', () => {
      try {
        return pages.mint(order)
      } catch (cause) {
        if (cause instanceof Unavailable) return undefined
        throw cause
      }
    })

  it('are RS256 with 2048 bits, named by their thumbprint', async () => {
    const stored = await createPageKey(1, 2)
    const { publicKey } = load(stored, undefined)
    assert.equal(publicKey.asymmetricKeyDetails?.modulusLength, 2048)
    assert.equal(stored.kid, `page:${await calculateJwkThumbprint(await exportJWK(publicKey))}`)
    assert.deepEqual([stored.algorithm, stored.createdAt, stored.activeAt, isPageKey(stored)], ['RS256', 1, 2, true])
    assert.equal(isPageKey(createKey(1, 1)), false)
  })
  it('are unavailable until they are there, and nobody waits for them', async () => {
    const { store, feed } = sharedKeys()
    const pages = pagesOf(store, feed)
    assert.throws(() => pages.mint(order), Unavailable)
    assert.equal(pages.keys.find('page:x', 'RS256').kind, 'unavailable')
    assert.deepEqual(await store.list(), [], 'and none is made that nobody asked for')
    pages.begin()
    assert.throws(() => pages.mint(order), Unavailable)
    const { token } = await ready(pages)
    const { kid, ...header } = decodeProtectedHeader(token)
    assert.deepEqual(header, { alg: 'RS256', typ: 'postern-page+jwt' })
    const found = pages.keys.find(kid, 'RS256')
    assert.ok(found.kind === 'key')
    const { payload } = await jwtVerify(token, found.key, { currentDate: new Date(order.now) })
    assert.match(String(payload.jti), /^[0-9a-f-]{36}$/)
    const { jti: _, ...claims } = payload
    assert.deepEqual(claims, {
      iss: 'https://issuer.example',
      sub: 'admin',
      aud: 'postern-page',
      roles: ['viewer'],
      scope: 'a',
      iat: 1_800_000_000,
      exp: 1_800_000_060,
    })
    assert.equal(pages.keys.find(kid, 'ES256').kind, 'unknown')
  })
  it('never give a token a longer life than 60 s', async () => {
    const { store, feed } = sharedKeys()
    const pages = pagesOf(store, feed)
    pages.begin()
    await ready(pages)
    const { issuedAt, expiresAt } = pages.mint({ ...order, ttl: 3600 })
    assert.equal(expiresAt - issuedAt, 60)
  })
  it('are one for all replicas that start at once', async () => {
    const { store, feed, at } = sharedKeys()
    const all = Array.from({ length: 4 }, () => pagesOf(store, feed))
    for (const pages of all) pages.begin()
    const minted = await Promise.all(all.map(ready))
    assert.equal(at().length, 1)
    const kids = minted.map(({ token }) => decodeProtectedHeader(token).kid)
    assert.equal(new Set(kids).size, 1)
    for (const pages of all) assert.equal(pages.keys.find(kids[0], 'RS256').kind, 'key')
  })
  it('live beside the signing keys, and neither ring ever has a key of the other', async () => {
    const state = closed(await openMemoryState({ realm: 'default' }))
    const ring = await ringOf(state.keys, state.feed)
    const pages = pagesOf(state.keys, state.feed)
    pages.begin()
    const { token } = await ready(pages)
    const page = decodeProtectedHeader(token).kid!
    await ring.rotate({ now: true })
    assert.equal((await state.keys.list()).length, 3)
    assert.equal(ring.list().length, 2)
    assert.equal(ring.find(page, 'RS256').kind, 'unknown')
    assert.equal(ring.find(page, 'ES256').kind, 'unknown')
    assert.ok(ring.jwks().keys.every(({ alg }) => alg === 'ES256'))
    const signing = decodeProtectedHeader(ring.sign({}, 'JWT')).kid
    for (const alg of ['ES256', 'RS256'] as const) assert.equal(pages.keys.find(signing, alg).kind, 'unknown')
    assert.equal(pages.keys.find(page, 'RS256').kind, 'key', 'a rotation of the others leaves it alone')
  })
  it('are encrypted at rest as the others are', async () => {
    const { store, feed, at } = sharedKeys()
    const pages = pagesOf(encryptedKeyStore(store, keyCipher(Buffer.alloc(32, 7))), feed)
    pages.begin()
    const { token } = await ready(pages)
    assert.match(at()[0]!.privateKey, /^a256gcm:/)
    const again = pagesOf(encryptedKeyStore(store, keyCipher(Buffer.alloc(32, 7))), feed)
    again.begin()
    await ready(again)
    assert.equal(again.keys.find(decodeProtectedHeader(token).kid, 'RS256').kind, 'key')
  })
  it('come when state does', async () => {
    const shared = sharedKeys()
    shared.fault = new Unavailable('down')
    const faults: unknown[] = []
    const pages = pagesOf(shared.store, shared.feed, faults)
    pages.begin()
    await new Promise((resolve) => setTimeout(resolve, 50))
    shared.fault = undefined
    await ready(pages)
    assert.deepEqual(faults, [])
  })
})

describe('a set of keys among others', () => {
  const key = (kid: string): StoredKey => ({ ...createKey(1, 1), kid })
  it('replaces its own alone, and only what it saw', async () => {
    const { store, at } = sharedKeys([key('a'), key('page:x')])
    const pages = keySet(store, isPageKey)
    const others = keySet(store, (one) => !isPageKey(one))
    assert.deepEqual(
      (await pages.list()).map(({ kid }) => kid),
      ['page:x'],
    )
    assert.equal(await pages.replace([], [key('page:y')]), false)
    assert.equal(await pages.replace([keyVersion(key('a'))], [key('page:y')]), false)
    assert.equal(await pages.replace([keyVersion(key('page:x'))], [key('page:y')]), true)
    assert.deepEqual(
      at().map(({ kid }) => kid),
      ['a', 'page:y'],
    )
    assert.equal(await others.replace([keyVersion(key('a'))], [key('a'), key('b')]), true)
    assert.deepEqual(
      at()
        .map(({ kid }) => kid)
        .sort(),
      ['a', 'b', 'page:y'],
    )
  })
  it('loses to whoever changes the others at the same time', async () => {
    const { store, at } = sharedKeys([key('a')])
    const race = [
      keySet(store, isPageKey).replace([], [key('page:x')]),
      keySet(store, (one) => !isPageKey(one)).replace([keyVersion(key('a'))], [key('b')]),
    ]
    const won = await Promise.all(race)
    assert.equal(won.filter(Boolean).length, 1)
    assert.ok(createPublicKey(at()[0]!.privateKey))
  })
})
