import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import fc from 'fast-check'
import { isWholeApiKey, makeApiKey } from '../../src/core/api-key.ts'
import { readCredential } from '../../src/core/credential.ts'
import { cookieValues, protocolTokens, queryTokens, withoutCookies, withoutTokens } from '../../src/core/credential-places.ts'
import { Deny } from '../../src/core/reasons.ts'
import { readSharedTokens } from '../../src/core/shared-tokens.ts'
import { basicCredentials } from '../../src/identity/basic.ts'
import { property } from './property.ts'

const token = fc.string({ unit: fc.constantFrom(...'abcXYZ019-._~+/='), maxLength: 12 })
const cookieName = fc.constantFrom('session', 'Session', 'sess', 'session2', '__Host-session', 'a', '')
const cookie = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(fc.constantFrom('', ' ', '\t'), cookieName, fc.constantFrom('=', '=', ' = ', ''), token)
      .map((parts) => parts.join('')),
  },
  fc.string({ unit: 'grapheme-ascii', maxLength: 10 }).filter((text) => !/[;,]/.test(text)),
)
const cookies = fc.tuple(fc.array(cookie, { maxLength: 6 }), fc.constantFrom('; ', ';', ', ', ',', ';;'))

/** What any server could take for the value of a cookie, however loosely it reads. */
const loosely = (text: string, name: string): string[] =>
  text
    .split(/[;,]/)
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`) || new RegExp(`^${name}\\s*=`).test(pair))
    .map((pair) => pair.slice(pair.indexOf('=') + 1).trim())

const protocol = fc.oneof(
  fc.constantFrom('chat', 'bearer', 'bearer.', 'Bearer.x', 'BEARER.', ' bearer.x', 'xbearer.a', 'bearer..'),
  token.map((text) => `bearer.${text}`),
  fc.string({ unit: 'grapheme-ascii', maxLength: 8 }).filter((text) => !text.includes(',')),
)

const userName = fc.oneof(
  fc.constantFrom('here', 'x', '', 'HERE', 'users'),
  fc.string({ unit: 'grapheme', maxLength: 6 }).filter((text) => text.isWellFormed() && !text.includes(':')),
)
const basicText = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        userName,
        fc.constantFrom(':', ':', ':', '', '::'),
        fc.oneof(
          token,
          fc.string({ unit: 'grapheme', maxLength: 6 }).filter((text) => text.isWellFormed()),
        ),
      )
      .map((parts) => Buffer.from(parts.join(''))),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)) },
)
const basic = basicCredentials('registries')
const unwrap = (text: string) => basic.unwrap(readCredential(`Basic ${text}`), new Set(['here']))

const wholeKey = makeApiKey((size) => Uint8Array.from({ length: size }, (_, i) => i * 7))

/** Where credentials stand, and what wraps them. */
export const credentialProperties = [
  property(
    'cookie: every value of a name is seen, and none goes on',
    cookies,
    ([pairs, separator]) => {
      const text = pairs.join(separator)
      assert.deepEqual(cookieValues(text, 'session'), loosely(text, 'session'))
      const left = withoutCookies(text, ['session', '__Host-session'])
      for (const name of ['session', '__Host-session']) assert.deepEqual(loosely(left, name), [], left)
      // What is no credential is not lost, where one stood or none did.
      for (const pair of pairs.map((one) => one.trim()).filter((one) => /^(?:a|sess|session2)=/.test(one) && separator.includes(';')))
        assert.ok(left.includes(pair), `${pair} is gone from ${left}`)
    },
    { weight: 8 },
  ),
  property(
    'websocket: every token among the subprotocols is seen, and none goes on',
    fc.tuple(fc.array(protocol, { maxLength: 6 }), fc.constantFrom(',', ', ', ' ,')),
    ([list, comma]) => {
      const text = list.join(comma)
      const expected = list
        .map((one) => one.trim())
        .filter((one) => one.toLowerCase().startsWith('bearer.'))
        .map((one) => one.slice(7))
      assert.deepEqual(protocolTokens(text), expected)
      assert.doesNotMatch(withoutTokens(text), /(?:^|[\s,])bearer\./i)
    },
    { weight: 5 },
  ),
  property(
    'query: access_token is read once for each time that it stands there',
    fc.array(fc.tuple(fc.constantFrom('access_token', 'a', 'Access_token', 'access_token2', ''), fc.constantFrom('=', '=', ''), token), {
      maxLength: 5,
    }),
    (pairs) => {
      const query = pairs.map((pair) => pair.join('')).join('&')
      const expected = query
        .split('&')
        .filter((part) => part === 'access_token' || part.startsWith('access_token='))
        .map((part) => part.slice('access_token='.length))
      assert.deepEqual(queryTokens(query), expected)
    },
    { weight: 5 },
  ),
  property('query: never throws about any text', fc.string({ unit: 'binary', maxLength: 40 }), (text) => void queryTokens(text), {
    weight: 2,
  }),
  property(
    'basic: one spelling for each user and password',
    basicText,
    (bytes) => {
      const found = unwrap(bytes.toString('base64'))
      const text = bytes.toString()
      const clear = isUtf8(bytes) && !/[\u0000-\u001f\u007f-\u009f]/.test(text)
      const colon = text.indexOf(':')
      const expected = clear && colon >= 0 && colon < text.length - 1 && bytes.length > 0
      assert.equal(!(found instanceof Deny), expected)
      if (!(found instanceof Deny))
        assert.deepEqual(found, { token: text.slice(colon + 1), only: text.slice(0, colon) === 'here' ? 'here' : undefined })
    },
    { weight: 8 },
  ),
  property(
    'basic: no other base64 is read',
    fc.tuple(basicText, fc.nat(7), fc.nat(40)),
    ([bytes, how, at]) => {
      const plain = bytes.toString('base64')
      const place = at % (plain.length + 1)
      const other = [
        plain.replace(/=+$/, ''),
        `${plain}=`,
        bytes.toString('base64url'),
        `${plain.slice(0, place)} ${plain.slice(place)}`,
        `${plain}\n`,
        plain.replace(/.(=*)$/, (_, pad: string) => `/${pad}`),
        `=${plain}`,
        `${plain.slice(0, place)}\u00a0${plain.slice(place)}`,
      ][how]!
      const found = unwrap(other)
      if (found instanceof Deny) return
      // Where it is another one's base64, it is that one's.
      assert.equal(Buffer.from(other, 'base64').toString('base64'), other)
      assert.ok(Buffer.from(other, 'base64').toString().endsWith(`:${found.token}`))
    },
    { weight: 5 },
  ),
  property(
    'API key: none with a character changed is whole',
    fc.tuple(fc.nat(60), fc.constantFrom('0', 'A', 'z', '_', '', ' ', '\u00e4')),
    ([at, text]) => {
      const place = at % wholeKey.length
      const changed = wholeKey.slice(0, place) + text + wholeKey.slice(place + 1)
      assert.equal(isWholeApiKey(changed), changed === wholeKey)
    },
    { weight: 3, few: 300 },
  ),
  property(
    'shared token: read or refused without telling it',
    fc
      .array(
        fc.constantFrom(
          '0123456789abcdef0123456789abcdef',
          'short-secret',
          'fedcba9876543210fedcba9876543210=',
          ' ',
          '\n',
          '\r\n',
          '\u00e4',
          ',',
        ),
        { maxLength: 6 },
      )
      .map((parts) => parts.join('')),
    (text) => {
      const found = readSharedTokens(text)
      if (typeof found === 'string') assert.doesNotMatch(found, /0123456789|short-secret|fedcba/)
      else for (const one of found) assert.ok(one.length >= 32 && text.split(/\r?\n/).includes(one))
    },
    { weight: 2, few: 300 },
  ),
]
