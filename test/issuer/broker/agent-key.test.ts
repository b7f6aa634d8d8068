import assert from 'node:assert/strict'
import { readAgentKey } from '../../../src/issuer/broker/agent-key.ts'
import { agentKeys } from '../../support/broker.ts'

const prime = 2n ** 255n - 19n
const order = 2n ** 252n + 27742317777372353535851937790883648493n

/** 32 bytes, the lowest first (RFC 8032, section 5.1.2). */
function littleEndian(number: bigint): Buffer {
  const bytes = Buffer.alloc(32)
  for (let i = 0, rest = number; i < 32; i++, rest >>= 8n) bytes[i] = Number(rest & 255n)
  return bytes
}
const numberIn = (bytes: Uint8Array): bigint => bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n)

describe("an agent's key", () => {
  it('is proved by its own signatures alone', () => {
    const [one, other] = [agentKeys(), agentKeys()]
    const key = readAgentKey(one.publicKey)!
    assert.equal(key.signed('nonce', one.sign('nonce')), true)
    assert.equal(key.signed('nonce', other.sign('nonce')), false)
    assert.equal(key.signed('other', one.sign('nonce')), false)
  })

  // Some builds of OpenSSL take signatures that nobody made by such a key.
  it('is none where its point has small order, however that is spelled', () => {
    const eighth = numberIn(Buffer.from('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a', 'hex'))
    // The last three are at or above the prime: no encoding of a point (section 5.1.3).
    const points = [0n, 1n, prime - 1n, eighth, prime - eighth, prime, prime + 1n, prime + 18n]
    for (const y of points)
      for (const sign of [0, 128]) {
        const bytes = littleEndian(y)
        bytes[31]! |= sign
        assert.equal(readAgentKey(bytes.toString('base64url')), undefined, `y = ${y}, sign = ${sign}`)
      }
  })

  it('takes no second spelling of a signature', () => {
    const keys = agentKeys()
    const key = readAgentKey(keys.publicKey)!
    const signature = Buffer.from(keys.sign('nonce'), 'base64url')
    const shifted = littleEndian(numberIn(signature.subarray(32)) + order)
    assert.equal(key.signed('nonce', Buffer.concat([signature.subarray(0, 32), shifted]).toString('base64url')), false)
    assert.equal(key.signed('nonce', `${keys.sign('nonce')}=`), false)
    const last = keys.sign('nonce')
    // The last character holds two bits of nothing.
    assert.equal(key.signed('nonce', `${last.slice(0, -1)}${String.fromCharCode(last.charCodeAt(last.length - 1) + 1)}`), false)
  })
})
