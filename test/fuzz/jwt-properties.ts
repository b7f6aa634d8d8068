import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import fc from 'fast-check'
import { readCredential } from '../../src/core/credential.ts'
import { readJsonObject } from '../../src/core/json.ts'
import { claimedIssuer, decodeBase64url, parseJwt } from '../../src/core/jwt.ts'
import { Deny } from '../../src/core/reasons.ts'
import type { Verdict } from '../../src/core/validator.ts'
import { oidcByPostern } from '../../src/identity/oidc-postern.ts'
import { present } from '../identity/tokens.ts'
import { readJson } from './json-reader.ts'
import { jsonObject, jsonText } from './json-text.ts'
import { property } from './property.ts'

const issuer = 'https://users.example'
const now = 1_800_000_000_000
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const ed = generateKeyPairSync('ed25519')
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })

const validator = oidcByPostern({
  validator: 'users',
  issuer,
  audiences: ['edge'],
  names: { subject: 'sub', roles: 'roles', role: undefined, scopes: 'scope', endUser: undefined },
  namespace: '',
  mayAssert: undefined,
  algorithms: ['ES256', 'EdDSA'],
  keys: {
    find: (kid, alg) => {
      if (alg === 'ES256' && (kid === undefined || kid === 'k1')) return { kind: 'key', key: ec.publicKey }
      return alg === 'EdDSA' && (kid === undefined || kid === 'k2') ? { kind: 'key', key: ed.publicKey } : { kind: 'unknown' }
    },
  },
  // Each token is to be read anew.
  remember: 1,
})

function judge(authorization: string): Verdict {
  const verdict = validator.identify(present(authorization, now))
  if (verdict instanceof Promise) throw new Error('it waited, with all keys in memory')
  return verdict
}
const admitted = (verdict: Verdict): boolean => verdict !== 'abstain' && !(verdict instanceof Deny)

const base64url = (bytes: string | Buffer): string => Buffer.from(bytes).toString('base64url')
const signature = (input: string, key: KeyObject, dsaEncoding: 'ieee-p1363' | 'der' = 'ieee-p1363'): Buffer =>
  key.asymmetricKeyType === 'ec' ? sign('sha256', Buffer.from(input), { key, dsaEncoding }) : sign(null, Buffer.from(input), key)
const signed = (header: string | Buffer, payload: string | Buffer, key: KeyObject): string => {
  const input = `${base64url(header)}.${base64url(payload)}`
  return `${input}.${signature(input, key).toString('base64url')}`
}

const seconds = now / 1000
const goodPayload = JSON.stringify({ iss: issuer, aud: 'edge', sub: 'alice', iat: seconds, exp: seconds + 300, roles: ['invoke'] })
const goodTokens = [
  signed('{"alg":"ES256","kid":"k1"}', goodPayload, ec.privateKey),
  signed('{"alg":"EdDSA","kid":"k2","typ":"JWT"}', goodPayload, ed.privateKey),
  signed('{"alg":"ES256","typ":"at+jwt"}', `${goodPayload.slice(0, -1)},"pad":"${'x'.repeat(500)}"}`, ec.privateKey),
]

const base64Piece = fc.constantFrom('A', 'Q', 'g', 'w', 'B', '_', '-', '0', '=', '==', '+', '/', '.', ' ', '\n', '%', '\u00e4')
const base64Text = fc.oneof(
  fc.array(base64Piece, { maxLength: 9 }).map((parts) => parts.join('')),
  fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
)

/** A part of a token: JSON in UTF-8 mostly, and bytes that are none. */
const part = fc.oneof(
  { weight: 8, arbitrary: jsonObject.map((text) => Buffer.from(text)) },
  { weight: 2, arbitrary: jsonText.map((text) => Buffer.from(text)) },
  { weight: 1, arbitrary: jsonObject.map((text) => Buffer.from(`\ufeff${text}`)) },
  { weight: 1, arbitrary: jsonObject.map((text) => Buffer.from(text, 'latin1')) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)) },
)

/** What stands in a part, where two parsers could not read it differently. */
function plainObject(bytes: Buffer): unknown {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
  const read = readJson(text)
  if (!read || read.repeats || read.depth > 32) return undefined
  return typeof read.value === 'object' && read.value !== null && !Array.isArray(read.value) ? read.value : undefined
}

const member = (name: string, values: fc.Arbitrary<unknown>) =>
  fc.option(values, { nil: undefined, freq: 3 }).map((value) => [name, value] as const)
const header = fc
  .tuple(
    member(
      'alg',
      fc.constantFrom(
        'ES256',
        'ES256',
        'ES256',
        'EdDSA',
        'EdDSA',
        'Ed25519',
        'none',
        'None',
        'HS256',
        'RS256',
        'ES384',
        'es256',
        '',
        1,
        null,
      ),
    ),
    member('kid', fc.constantFrom('k1', 'k2', 'k1', 'k2', '', '../k1', 'k1\u0000', 1, null, ['k1'])),
    member('typ', fc.constantFrom('JWT', 'jwt', 'at+jwt', 'application/at+jwt', 'AT+JWT', 'logout+jwt', 'dpop+jwt', '', null, 1, ['JWT'])),
    fc.oneof(
      { weight: 2, arbitrary: fc.constant(['x', 1] as const) },
      fc.constantFrom(
        ['crit', ['exp']] as const,
        ['crit', []] as const,
        ['b64', false] as const,
        ['b64', true] as const,
        ['jwk', {}] as const,
        ['jku', 'https://evil'] as const,
        ['__proto__', { alg: 'ES256' }] as const,
      ),
    ),
  )
  .map((members) => Object.fromEntries(members.filter(([, value]) => value !== undefined)) as Record<string, unknown>)

const how = fc.constantFrom('right', 'right', 'right', 'right', 'right', 'right', 'der', 'stranger', 'empty', 'hmac', 'other')

function signAs(input: string, manner: string, alg: unknown): string {
  const right = alg === 'EdDSA' || alg === 'Ed25519' ? ed.privateKey : ec.privateKey
  if (manner === 'right') return signature(input, right).toString('base64url')
  if (manner === 'der') return signature(input, ec.privateKey, 'der').toString('base64url')
  if (manner === 'stranger') return signature(input, stranger.privateKey).toString('base64url')
  if (manner === 'other') return signature(input, right === ec.privateKey ? ed.privateKey : ec.privateKey).toString('base64url')
  if (manner === 'empty') return ''
  return createHmac('sha256', ec.publicKey.export({ type: 'spki', format: 'pem' }))
    .update(input)
    .digest('base64url')
}

const mayBeAdmitted = ({ alg, kid, typ, ...rest }: Record<string, unknown>): boolean => {
  const right = (alg === 'ES256' && (kid === undefined || kid === 'k1')) || (alg === 'EdDSA' && (kid === undefined || kid === 'k2'))
  const kind = typ === undefined || (typeof typ === 'string' && /^(?:application\/)?(?:jwt|at\+jwt)$/i.test(typ))
  return right && kind && !Object.hasOwn(rest, 'crit') && !Object.hasOwn(rest, 'b64')
}

const edit = fc.record({ at: fc.nat(2000), kind: fc.constantFrom('set', 'insert', 'drop', 'swap', 'append', 'prepend'), text: base64Piece })
const edited = (token: string, list: readonly { readonly at: number; readonly kind: string; readonly text: string }[]): string =>
  list.reduce((text, { at, kind, text: piece }) => {
    const place = at % text.length
    if (kind === 'set') return text.slice(0, place) + piece + text.slice(place + 1)
    if (kind === 'insert') return text.slice(0, place) + piece + text.slice(place)
    if (kind === 'drop') return text.slice(0, place) + text.slice(place + 1)
    if (kind === 'swap')
      return (
        text.slice(0, place) +
        text
          .slice(place, place + 2)
          .split('')
          .reverse()
          .join('') +
        text.slice(place + 2)
      )
    return kind === 'append' ? text + piece : piece + text
  }, token)

const claim = (name: string, odd: readonly unknown[], good: readonly unknown[]) =>
  member(name, fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...good) }, fc.constantFrom(...odd), fc.jsonValue({ maxDepth: 2 })))
const claims = fc
  .tuple(
    claim('iss', [`${issuer}/`, 'HTTPS://users.example', [issuer]], [issuer]),
    claim('aud', ['Edge', ['other'], [], [['edge']], { 0: 'edge' }, 'edge '], ['edge', ['edge'], ['other', 'edge']]),
    claim('exp', ['1900000000', seconds - 61, -1, true], [seconds + 300, seconds + 0.5, seconds - 59]),
    claim('nbf', [seconds + 100, '0'], [seconds, 0]),
    claim('iat', [seconds + 100, '0'], [seconds, 0]),
    claim('sub', ['', 1, ['alice'], '\ud800', 'x'.repeat(1025), null], ['alice', 'bob', 'a b', '\u00e4']),
    claim('roles', ['admin', { 0: 'admin' }, [['admin']]], [['invoke'], [], ['a', 1, '']]),
    claim('scope', [1, {}], ['a b', ['a', 'b c']]),
    claim('act', ['alice', {}, { sub: '' }, { sub: 'a', act: { sub: 1 } }], [{ sub: 'a' }, { sub: 'a', act: { sub: 'b', iss: 'x' } }]),
    fc.oneof(
      { weight: 6, arbitrary: fc.constant(['x', 1] as const) },
      member('cnf', fc.constantFrom({ jkt: 'x' }, { 'x5t#S256': 'x' }, {}, 1, null)),
    ),
  )
  .map((members) => Object.fromEntries(members.filter(([, value]) => value !== undefined)) as Record<string, unknown>)

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)
function mayIdentify({ iss, aud, exp, nbf, iat, sub, ...rest }: Record<string, unknown>): boolean {
  // Nothing here proves that it holds a key.
  if (Object.hasOwn(rest, 'cnf')) return false
  if (iss !== issuer || ![aud].flat().includes('edge') || !isNumber(exp) || exp + 60 <= seconds) return false
  for (const time of [nbf, iat]) if (time !== undefined && !(isNumber(time) && time - 60 <= seconds)) return false
  return typeof sub === 'string' && sub !== '' && sub.length <= 1024 && sub.isWellFormed()
}

/** JWTs: their form, their signatures, their headers and their claims. */
export const jwtProperties = [
  property(
    'jwt: base64url has one spelling for each value',
    base64Text,
    (text) => {
      const bytes = decodeBase64url(text)
      const canonical = text !== '' && Buffer.from(text, 'base64url').toString('base64url') === text
      assert.equal(bytes !== undefined, canonical)
      if (bytes) assert.equal(bytes.toString('base64url'), text)
    },
    { weight: 10 },
  ),
  property(
    'jwt: taken apart as a plain reading of JSON reads it, or refused',
    fc.tuple(part, part, fc.constantFrom('AAAA', 'AA', 'AB', '', '=', 'A')),
    ([head, body, end]) => {
      const token = `${head.toString('base64url')}.${body.toString('base64url')}.${end}`
      const [headerMembers, payload] = [plainObject(head), plainObject(body)]
      const expected =
        headerMembers !== undefined && payload !== undefined && (end === 'AAAA' || end === 'AA')
          ? { header: headerMembers, payload }
          : undefined
      assert.deepEqual(parseJwt(token), expected)
    },
    { weight: 30 },
  ),
  property(
    'jwt: never throws about any text',
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.array(fc.oneof(base64Text, fc.constant('.'), jsonObject.map(base64url)), { maxLength: 5 }).map((parts) => parts.join('')),
    ),
    (text) => {
      parseJwt(text)
      claimedIssuer(text)
      const verdict = judge(`Bearer ${text}`)
      assert.ok(!admitted(verdict), 'it was admitted')
      const { scheme, token, digest } = readCredential(text)
      assert.equal(digest.length, 64)
      assert.ok(scheme === '' ? token === '' : text.toLowerCase().startsWith(`${scheme} `))
    },
    { weight: 15 },
  ),
  property(
    'jwt: a signed token with anything changed is admitted no more',
    fc.tuple(fc.constantFrom(...goodTokens), fc.array(edit, { minLength: 1, maxLength: 2 })),
    ([token, edits]) => {
      const text = edited(token, edits)
      assert.equal(admitted(judge(`Bearer ${text}`)), text === token)
    },
    { weight: 15 },
  ),
  property(
    'jwt: admitted with the right header and signature alone',
    fc.tuple(header, how),
    ([members, manner]) => {
      const input = `${base64url(JSON.stringify(members))}.${base64url(goodPayload)}`
      const verdict = judge(`Bearer ${input}.${signAs(input, manner, members['alg'])}`)
      assert.equal(admitted(verdict), manner === 'right' && mayBeAdmitted(members), verdict instanceof Deny ? verdict.detail : '')
    },
    { weight: 10 },
  ),
  property(
    'jwt: claims of any kind identify nobody but whom they name',
    claims,
    (payload) => {
      const verdict = judge(`Bearer ${signed('{"alg":"ES256"}', JSON.stringify(payload), ec.privateKey)}`)
      if (verdict === 'abstain') return assert.notEqual(payload['iss'], issuer)
      if (verdict instanceof Deny) return
      const read = readJsonObject(JSON.stringify(payload)) as Record<string, unknown>
      assert.ok(mayIdentify(read), 'it was admitted')
      assert.equal(verdict.subject, read['sub'])
      assert.deepEqual(verdict.roles, [
        ...new Set(Array.isArray(read['roles']) ? read['roles'].filter((role) => typeof role === 'string' && role !== '') : []),
      ])
    },
    { weight: 10 },
  ),
  property(
    'jwt: the same claims in another spelling of JSON are the same person, or nobody',
    fc.tuple(jsonObject, fc.nat(5)),
    ([text, nth]) => {
      const own = `{"iss":"${issuer}","aud":"edge","exp":${seconds + 300},"sub":"alice"`
      const rest = text.slice(1).trimStart()
      const body = rest.startsWith('}') ? `${own}${rest}` : `${own},${rest}`
      const verdict = judge(`Bearer ${signed('{"alg":"ES256"}', body, ec.privateKey)}`)
      const other = judge(
        `Bearer ${signed('{"alg":"ES256"}', nth === 0 ? ` ${body}\n` : body.replace('"sub"', '"s\\u0075b"').replace('"iss"', '"\\u0069ss"'), ec.privateKey)}`,
      )
      for (const one of [verdict, other]) if (one !== 'abstain' && !(one instanceof Deny)) assert.equal(one.subject, 'alice')
      assert.equal(admitted(verdict), admitted(other))
    },
    { weight: 10 },
  ),
]
