import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import fc from 'fast-check'
import { isWholeApiKey, makeApiKey } from '../../src/core/api-key.ts'
import { readCredential } from '../../src/core/credential.ts'
import { cookieValues, protocolTokens, queryTokens, withoutCookies, withoutTokens } from '../../src/core/credential-places.ts'
import { Deny } from '../../src/core/reasons.ts'
import { readSharedTokens } from '../../src/core/shared-tokens.ts'
import { basicCredentials } from '../../src/identity/basic.ts'
import { edgeClaims } from '../../src/identity/edge-trust.ts'
import { forwardedUri, readForwardedCertificates } from '../../src/identity/forwarded-certificate.ts'
import { aRequest } from '../support/facts.ts'
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

const elementValue = fc.oneof(
  fc.constantFrom('spiffe://cluster.local/ns/a/sa/b', 'spiffe://evil/x', 'CN=a, O="b"', 'a;b', 'a=b', '', '"', '\\', 'x\\"'),
  fc.string({ unit: 'grapheme-ascii', maxLength: 8 }),
)
const elements = fc.array(
  fc.array(fc.tuple(fc.constantFrom('By', 'Hash', 'Subject', 'URI', 'uri', 'DNS', 'Cert', 'Chain'), elementValue), {
    minLength: 1,
    maxLength: 4,
  }),
  { minLength: 1, maxLength: 3 },
)
/** As Envoy writes it. */
const written = (list: readonly (readonly (readonly [string, string])[])[]): string =>
  list
    .map((one) => one.map(([key, value]) => `${key}=${/[,;="\\]/.test(value) ? `"${value.replace(/[\\"]/g, '\\$&')}"` : value}`).join(';'))
    .join(',')
const forged = fc.oneof(
  elements.map(written),
  fc
    .array(fc.constantFrom('URI=', 'By=', 'Subject=', '"', '\\', ',', ';', '=', 'spiffe://evil/x', 'x', ' '), { maxLength: 8 })
    .map((parts) => parts.join('')),
)
const genuine = 'spiffe://cluster.local/ns/agents/sa/client'
const nearest = fc.constantFrom(
  `By=spiffe://cluster.local/edge;Hash=ab;URI=${genuine}`,
  `Hash=ab;Subject="CN=x,O=\\"y\\"";URI=${genuine};DNS=a`,
  `URI=${genuine}`,
)

const edgeValue = fc.option(
  fc.oneof(
    fc.constantFrom(
      'frank',
      'frank,root',
      '',
      ' ',
      'admin',
      'a b',
      '\u00e4',
      '\u0000',
      '\ufffd',
      '\ud800',
      'x'.repeat(1025),
      '__proto__',
      'invoke, admin',
      ',',
      'W10',
      'W',
    ),
    fc.string({ unit: 'binary', maxLength: 8 }),
  ),
  { nil: undefined, freq: 8 },
)
const roleList = fc.jsonValue({ maxDepth: 2 }).map((value) => Buffer.from(JSON.stringify([value].flat())).toString('base64url'))
const edgeSettings = {
  validator: 'mesh',
  headers: { subject: 'x-user-id', role: 'x-user-roles', end_user: 'x-user-id', email: 'x-user-email' },
  claims: {},
  namespace: 'mesh:',
  mayAssert: undefined,
}
const wholeKey = makeApiKey()

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
    'forwarded certificate: read as Envoy writes it',
    elements,
    (list) => {
      const expected = list.map((one) => one.map(([key, value]) => [key.toLowerCase(), value]))
      assert.deepEqual(readForwardedCertificates(written(list)), expected)
    },
    { weight: 8 },
  ),
  property(
    'forwarded certificate: what a client sent before changes nobody',
    fc.tuple(forged, nearest),
    ([client, edge]) => {
      const found = forwardedUri(client === '' ? edge : `${client},${edge}`)
      if (found !== 'unclear') assert.equal(found, genuine)
    },
    { weight: 8 },
  ),
  property(
    'edge headers: of any kind name nobody but whom they say',
    fc.record({ subject: edgeValue, roles: fc.oneof(edgeValue, roleList), email: edgeValue, trusted: fc.boolean() }),
    ({ subject, roles, email, trusted }) => {
      const headers = Object.fromEntries(
        Object.entries({ 'x-user-id': subject, 'x-user-roles': roles, 'x-user-email': email }).filter(([, value]) => value !== undefined),
      ) as Record<string, string>
      const verdict = edgeClaims({ ...edgeSettings, edge: { name: 'mesh', headers: [], trusts: () => trusted } }).identify(
        aRequest({ headers }),
        undefined,
        0,
      )
      if (verdict === 'abstain') assert.ok(!trusted || subject === undefined)
      else if (!(verdict instanceof Deny)) {
        assert.ok(trusted && verdict.rawSubject === subject && verdict.subject === `mesh:${subject}`)
        assert.doesNotMatch(verdict.rawSubject, /[\u0000-\u001f\u007f,]/)
        for (const role of verdict.roles)
          assert.ok(
            role !== '' &&
              (roles?.includes(role) ||
                Buffer.from(roles ?? '', 'base64url')
                  .toString()
                  .includes(JSON.stringify(role))),
            role,
          )
      }
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
