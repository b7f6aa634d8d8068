import assert from 'node:assert/strict'
import { crc32 } from 'node:zlib'
import { apiKeyPattern, apiKeyPrefix, isApiKey, isWholeApiKey, makeApiKey } from '../../src/core/api-key.ts'

const letters = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

describe('an API key', () => {
  it('has the form that scanners are told, and is never the same twice', () => {
    const made = Array.from({ length: 2000 }, () => makeApiKey())
    const form = new RegExp(`^${apiKeyPattern}$`)
    for (const key of made) {
      assert.match(key, form)
      assert.ok(isApiKey(key) && isWholeApiKey(key), key)
    }
    assert.equal(new Set(made).size, made.length)
  })

  it('has the CRC-32 of all that stands before it at its end, as another implementation computes it', () => {
    for (let i = 0; i < 200; i++) {
      const key = makeApiKey()
      const value = [...key.slice(-6)].reduce((sum, digit) => sum * 62 + letters.indexOf(digit), 0)
      assert.equal(value, crc32(key.slice(0, -6)))
    }
  })

  it('is made of characters that are equally likely', () => {
    // Each byte once: 248 of them count, four for each character.
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
    const seen = new Map<string, number>()
    for (let i = 0; i < 256; i += 32) {
      let first = true
      // Where all of a round is used up, the second round gives zeros.
      const key = makeApiKey((size) => {
        const given = first ? bytes.slice(i, i + size) : new Uint8Array(size)
        first = false
        return given
      })
      for (const letter of key.slice(apiKeyPrefix.length, -6)) seen.set(letter, (seen.get(letter) ?? 0) + 1)
    }
    // 248 to 255 are thrown away, and eight zeros stand for them.
    assert.deepEqual(
      [...letters].map((letter) => seen.get(letter)),
      [...letters].map((letter) => (letter === '0' ? 12 : 4)),
    )
  })

  it('is told from what differs in any character, without a look-up', () => {
    const key = makeApiKey()
    for (let i = apiKeyPrefix.length; i < key.length; i++) {
      for (const other of ['0', 'a', 'Z', '-', 'é', ' ']) {
        if (key[i] === other) continue
        const wrong = key.slice(0, i) + other + key.slice(i + 1)
        assert.equal(isWholeApiKey(wrong), false, wrong)
        assert.ok(isApiKey(wrong))
      }
    }
    for (const wrong of ['', apiKeyPrefix, key.slice(0, -1), `${key}0`, ` ${key}`, `${key}\n`, key.toUpperCase(), key.slice(1)])
      assert.equal(isWholeApiKey(wrong), false, JSON.stringify(wrong))
    assert.equal(isApiKey('postern_ke'), false)
  })
})
