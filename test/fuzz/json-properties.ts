import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { readJwks } from '../../src/adapters/jwks-parse.ts'
import type { Json } from '../../src/core/json.ts'
import { parsePointer, resolvePointer } from '../../src/core/json-pointer.ts'
import { property } from './property.ts'

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' })
const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' })
const jwk = fc
  .tuple(
    fc.constantFrom(ec, rsa, small, { kty: 'oct', k: 'AAAA' }, {}),
    fc.dictionary(
      fc.constantFrom('kty', 'use', 'alg', 'kid', 'key_ops', 'crv', 'x', 'y', 'n', 'e', 'd', '__proto__'),
      fc.oneof(
        fc.constantFrom(
          'EC',
          'RSA',
          'OKP',
          'oct',
          'sig',
          'enc',
          'ES256',
          'RS256',
          'HS256',
          'none',
          'P-256',
          'P-384',
          'AAAA',
          '',
          ['verify'],
          ['sign'],
        ),
        fc.jsonValue({ maxDepth: 1 }),
      ),
      { maxKeys: 2, noNullPrototype: true },
    ),
  )
  .map(([one, more]) => ({ ...one, ...more }))
const jwks = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .array(fc.oneof({ weight: 5, arbitrary: jwk }, fc.jsonValue({ maxDepth: 1 })), { maxLength: 4 })
      .map((keys) => JSON.stringify({ keys })),
  },
  fc.jsonValue().map((value) => JSON.stringify(value)),
  fc.string(),
)

const document: Json = { a: { b: [1, { c: 'x' }], '': 'empty', '~': 't', '/': 's' }, '': { '': 1 }, '0': 'zero' }
const pointer = fc.string({
  unit: fc.constantFrom('/', '/a', '/b', '/0', '/1', '/-', '/01', '~0', '~1', '~', '/__proto__', '/length', '/c', '/constructor'),
  maxLength: 5,
})

function plainly(text: string): unknown {
  if (text === '') return document
  if (!text.startsWith('/') || /~(?![01])/.test(text)) return 'none'
  let value: unknown = document
  for (const part of text.slice(1).split('/')) {
    const name = part.replace(/~[01]/g, (code) => (code === '~1' ? '/' : '~'))
    if (Array.isArray(value)) value = /^(?:0|[1-9][0-9]*)$/.test(name) && Number(name) < value.length ? value[Number(name)] : undefined
    else
      value =
        typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined
    if (value === undefined) return undefined
  }
  return value
}

/** Key sets of issuers, and pointers into the records of a platform. */
export const jsonProperties = [
  property(
    'key set: public keys that suit, and never throws',
    jwks,
    (body) => {
      const found = readJwks(body, ['ES256', 'RS256'])
      for (const { kid, alg, key } of found ?? []) {
        assert.equal(key.type, 'public')
        assert.ok(
          key.asymmetricKeyType === 'ec' || (key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= 2048),
        )
        assert.ok(kid === undefined || (typeof kid === 'string' && kid !== ''))
        assert.ok(alg === undefined || alg === 'ES256' || alg === 'RS256')
      }
    },
    { weight: 5, few: 500 },
  ),
  property(
    'JSON pointer: names what a plain reading of the standard names',
    pointer,
    (text) => {
      const parsed = parsePointer(text)
      assert.deepEqual(parsed === undefined ? 'none' : resolvePointer(document, parsed), plainly(text))
    },
    { weight: 3 },
  ),
]
