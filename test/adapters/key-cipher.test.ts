import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { encryptedKeyStore, KeyCipherError, keyCipher, readEncryptionKey } from '../../src/adapters/key-cipher.ts'
import type { StoredKey } from '../../src/core/ports.ts'

const secret = randomBytes(32)
const refuses = (act: () => unknown): KeyCipherError => {
  try {
    act()
  } catch (error) {
    assert.ok(error instanceof KeyCipherError)
    return error
  }
  return assert.fail('nothing was refused')
}

describe('key cipher', () => {
  const cipher = keyCipher(secret)
  const pem = '-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n'

  it('gives back what it sealed, sealed differently each time', () => {
    const sealed = cipher.seal('k1', pem)
    assert.equal(cipher.open('k1', sealed), pem)
    assert.notEqual(cipher.seal('k1', pem), sealed)
    assert.ok(!Buffer.from(sealed.split(':')[1]!, 'base64url').includes('secret'))
  })
  it('refuses another secret, another kid, and anything changed, in a sentence that says what is expected', () => {
    const sealed = cipher.seal('k1', pem)
    const changed = Buffer.from(sealed.split(':')[1]!, 'base64url')
    changed[20]! ^= 1
    for (const act of [
      () => keyCipher(randomBytes(32)).open('k1', sealed),
      () => cipher.open('k2', sealed),
      () => cipher.open('k1', `a256gcm:${changed.toString('base64url')}`),
      () => cipher.open('k1', sealed.slice(0, 30)),
      () => cipher.open('k1', pem),
      () => cipher.open('k1', ''),
    ]) {
      assert.match(refuses(act).message, /^the stored signing key k[12] .*issuer\.keys\.encryption_key/)
    }
  })
  it('reads the configured key in hexadecimal and base64', () => {
    for (const text of [secret.toString('hex'), secret.toString('base64'), secret.toString('base64url'), ` ${secret.toString('hex')}\n`]) {
      assert.deepEqual(readEncryptionKey(text), secret)
    }
    for (const text of [
      '',
      'password',
      secret.toString('hex').slice(1),
      `${secret.toString('hex')}00`,
      randomBytes(31).toString('base64'),
      randomBytes(33).toString('base64'),
    ]) {
      const { message } = refuses(() => readEncryptionKey(text))
      assert.match(message, /expected 32 bytes/)
      assert.ok(text === '' || !message.includes(text))
    }
  })
  it('wraps a store so that nothing private is at rest', async () => {
    let rest: readonly StoredKey[] = []
    const store = encryptedKeyStore(
      {
        list: async () => rest,
        replace: async (_, next) => {
          rest = next
          return true
        },
      },
      cipher,
    )
    const key: StoredKey = { kid: 'k1', algorithm: 'ES256', createdAt: 1, activeAt: 2, privateKey: pem }
    assert.equal(await store.replace([], [key]), true)
    assert.ok(!JSON.stringify(rest).includes('secret'))
    assert.deepEqual(await store.list(), [key])
  })
})
