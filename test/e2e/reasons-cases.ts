import { createHmac } from 'node:crypto'
import { generateKeyPair } from 'jose'
import type { DenyReason } from '../../src/core/reasons.ts'
import { handMadeToken, type OidcIssuer } from '../support/oidc.ts'

/** What becomes of a request: the reason, `envoy` for its own 400, or what the upstream received as path. */
export type Outcome = DenyReason | 'envoy' | `upstream ${string}`

/**
 * Spellings of paths by what is wrong with them, as sent by GET with a token that may use /plain and /plain/nested/{name}: the
 * outcome behind the Envoy that is shipped, which repairs or refuses many of them itself, and behind one that does neither.
 */
export const paths: readonly (readonly [what: string, path: string, hardened: Outcome, lenient: Outcome])[] = [
  ['a plain one', '/plain', 'upstream /plain', 'upstream /plain'],
  ['a query, whatever it holds', '/plain?x=%2f%5c;..//%zz', 'upstream /plain?x=%2f%5c;..//%zz', 'upstream /plain?x=%2f%5c;..//%zz'],
  ['an encoded letter', '/%70lain', 'upstream /plain', 'bad_request'],
  ['another case', '/PLAIN', 'no_route', 'no_route'],
  ['a trailing slash that is another route', '/plain/', 'missing_role', 'missing_role'],
  ['a trailing slash that is none', '/plain/nested/a/', 'no_route', 'no_route'],
  ['two trailing slashes', '/plain//', 'missing_role', 'bad_request'],
  ['two leading slashes', '//plain', 'upstream /plain', 'bad_request'],
  ['an empty segment', '/plain//nested/a', 'upstream /plain/nested/a', 'bad_request'],
  ['a dot segment', '/plain/nested/./a', 'upstream /plain/nested/a', 'bad_request'],
  ['a last dot segment', '/plain/.', 'missing_role', 'bad_request'],
  ['two dots', '/nowhere/../plain', 'upstream /plain', 'bad_request'],
  ['an encoded dot', '/plain/%2e', 'missing_role', 'bad_request'],
  ['encoded dots', '/plain/%2e%2e/plain', 'upstream /plain', 'bad_request'],
  ['dots in both spellings', '/plain/nested/.%2E', 'missing_role', 'bad_request'],
  ['dots and a parameter', '/plain/nested/..;/x', 'no_route', 'bad_request'],
  ['a path parameter', '/plain;a=b', 'bad_request', 'bad_request'],
  ['an encoded semicolon', '/plain/nested/a%3Bb', 'bad_request', 'bad_request'],
  ['a backslash', '/plain\\nested\\a', 'upstream /plain/nested/a', 'bad_request'],
  ['an encoded backslash', '/plain/nested/a%5cb', 'envoy', 'bad_request'],
  ['an encoded slash', '/plain/nested/a%2fb', 'envoy', 'bad_request'],
  ['an encoded slash in upper case', '/plain/nested/a%2Fb', 'envoy', 'bad_request'],
  ['an encoded slash in a literal', '/plain%2fnested/a', 'envoy', 'bad_request'],
  ['an encoded slash where the route takes it', '/npm/@scope%2fname', 'envoy', 'upstream /npm/@scope%2fname'],
  ['dots between encoded slashes, there too', '/npm/@scope%2f..%2fname', 'envoy', 'bad_request'],
  ['two encoded slashes, there too', '/npm/@scope%2f%2fname', 'envoy', 'bad_request'],
  ['an encoded NUL', '/plain/nested/a%00', 'envoy', 'bad_request'],
  ['an encoded line break', '/plain/nested/a%0ab', 'bad_request', 'bad_request'],
  ['an encoded DEL', '/plain/nested/a%7f', 'bad_request', 'bad_request'],
  ['an encoded percent sign', '/plain/nested/a%25', 'bad_request', 'bad_request'],
  ['dots encoded twice', '/plain/nested/%252e%252e', 'bad_request', 'bad_request'],
  ['no hex digits after a percent sign', '/plain/nested/%zz', 'bad_request', 'bad_request'],
  ['nothing after a percent sign', '/plain/nested/%', 'bad_request', 'bad_request'],
  ['a byte that is no UTF-8', '/plain/nested/%ff', 'bad_request', 'bad_request'],
  ['an overlong dot', '/plain/nested/%c0%ae', 'bad_request', 'bad_request'],
  ['UTF-8', '/plain/nested/%e2%82%ac', 'upstream /plain/nested/%e2%82%ac', 'upstream /plain/nested/%e2%82%ac'],
  ['a raw byte above 7F', '/plain/nested/\x80', 'envoy', 'envoy'],
  ['a raw control character', '/plain/nested/a\x01b', 'envoy', 'envoy'],
  ['a tab', '/plain/nested/a\tb', 'envoy', 'envoy'],
  ['a number sign', '/plain#x', 'envoy', 'envoy'],
  ['a number sign in the query', '/plain?a#b', 'envoy', 'envoy'],
  ['no leading slash', 'plain', 'envoy', 'envoy'],
  ['an asterisk', '*', 'envoy', 'envoy'],
  ['an absolute form with an empty segment', 'http://edge.example//plain', 'upstream /plain', 'bad_request'],
  ['characters that RFC 3986 has not', '/plain/nested/a|b', 'upstream /plain/nested/a%7Cb', 'bad_request'],
  ['more than 8 KiB', `/plain/nested/${'a'.repeat(8192)}`, 'bad_request', 'bad_request'],
  [
    'more than 8 KiB, in the query',
    `/plain?${'a'.repeat(8192)}`,
    `upstream /plain?${'a'.repeat(8192)}`,
    `upstream /plain?${'a'.repeat(8192)}`,
  ],
]

/** Requests whose first lines are wrong in another way than by their path; behind the shipped Envoy. */
export const heads: readonly (readonly [what: string, lines: readonly string[], outcome: Outcome])[] = [
  ['two hosts', ['GET /plain HTTP/1.1', 'Host: a.example', 'Host: b.example'], 'bad_request'],
  ['no host', ['GET /plain HTTP/1.1'], 'envoy'],
  ['a host with a user', ['GET /plain HTTP/1.1', 'Host: eve@agents.example'], 'bad_request'],
  ['a host with a space', ['GET /plain HTTP/1.1', 'Host: agents example'], 'envoy'],
  ['an unknown host', ['GET /hosted HTTP/1.1', 'Host: other.example'], 'no_route'],
  ['a known host, whose routes are final', ['GET /plain HTTP/1.1', 'Host: agents.example'], 'no_route'],
  ['a host below it, where the path is not', ['GET /hosted HTTP/1.1', 'Host: x.agents.example'], 'no_route'],
  ['a host in upper case, with port and dot', ['GET /hosted HTTP/1.1', 'Host: AGENTS.example.:443'], 'upstream /hosted'],
  ['a path that no route has', ['GET /nowhere HTTP/1.1', 'Host: edge.example'], 'no_route'],
  ['a method that is not listed', ['DELETE /plain HTTP/1.1', 'Host: edge.example'], 'no_route'],
  ['HEAD where only GET is listed', ['HEAD /managed HTTP/1.1', 'Host: edge.example'], 'no_route'],
  ['OPTIONS that is no preflight', ['OPTIONS /plain HTTP/1.1', 'Host: edge.example'], 'no_route'],
  ['PURGE', ['PURGE /plain HTTP/1.1', 'Host: edge.example'], 'no_route'],
  ['TRACE', ['TRACE /plain HTTP/1.1', 'Host: edge.example'], 'no_route'],
  ['CONNECT', ['CONNECT /plain HTTP/1.1', 'Host: edge.example'], 'envoy'],
  ['a method that Envoy does not know', ['BREW /plain HTTP/1.1', 'Host: edge.example'], 'envoy'],
  ['a method in lower case', ['get /plain HTTP/1.1', 'Host: edge.example'], 'envoy'],
  ['a header with an underscore', ['GET /plain HTTP/1.1', 'Host: edge.example', 'x_postern_subject: alice'], 'envoy'],
]

export interface TokenCase {
  readonly what: string
  /** Values of `Authorization`, each in a header field of its own. */
  readonly authorization: (issuer: OidcIssuer) => Promise<readonly string[]> | readonly string[]
  /** The reason, and that behind `verified_by: postern` where it is another. */
  readonly reason: DenyReason
}

const claims = { sub: 'alice', aud: 'edge', roles: ['invoke'] }
const now = (): number => Math.floor(Date.now() / 1000)
const minted =
  (over: Record<string, unknown>, header: Record<string, unknown> = {}) =>
  async (issuer: OidcIssuer): Promise<string[]> => [`Bearer ${await issuer.mint({ ...claims, ...over }, { header })}`]
const handMade = (issuer: OidcIssuer, header: object, signature: Uint8Array): string =>
  `Bearer ${handMadeToken(header, { iss: issuer.issuer, iat: now(), exp: now() + 300, ...claims }, signature)}`
const good = minted({})
const goodWith = (change: (value: string) => readonly string[]) => async (issuer: OidcIssuer) => change((await good(issuer))[0]!)

/** Credentials that must not pass, with the same outcome whoever verifies them unless it says otherwise. */
export const tokens: readonly TokenCase[] = [
  { what: 'a malformed token', authorization: () => ['Bearer abc'], reason: 'no_validator_admitted' },
  { what: 'three parts that are no JSON', authorization: () => ['Bearer YQ.YQ.YQ'], reason: 'no_validator_admitted' },
  { what: 'no token after the scheme', authorization: () => ['Bearer'], reason: 'no_validator_admitted' },
  { what: 'an empty value', authorization: () => [''], reason: 'no_validator_admitted' },
  { what: 'another scheme', authorization: () => ['Basic YWxpY2U6c2VjcmV0'], reason: 'no_validator_admitted' },
  { what: 'an unknown issuer', authorization: minted({ iss: 'https://elsewhere.example' }), reason: 'no_validator_admitted' },
  { what: 'an unknown kid', authorization: minted({}, { kid: 'unknown' }), reason: 'invalid_credential' },
  { what: 'a wrong audience', authorization: minted({ aud: 'other' }), reason: 'invalid_credential' },
  { what: 'no audience', authorization: minted({ aud: undefined }), reason: 'invalid_credential' },
  {
    what: 'a wrong alg: HMAC with what everybody knows',
    authorization: (issuer) => {
      const unsigned = handMade(issuer, { alg: 'HS256', kid: issuer.keyIds()[0] }, new Uint8Array([1]))
      const input = unsigned.slice('Bearer '.length, unsigned.lastIndexOf('.'))
      return [`Bearer ${input}.${createHmac('sha256', issuer.jwksUri).update(input).digest('base64url')}`]
    },
    reason: 'invalid_credential',
  },
  { what: 'a wrong alg: that of another key', authorization: minted({}, { kid: 'es256-0' }), reason: 'invalid_credential' },
  {
    what: 'alg none with a signature',
    authorization: (issuer) => [handMade(issuer, { alg: 'none' }, new Uint8Array([1]))],
    reason: 'invalid_credential',
  },
  {
    what: 'alg none without one, which is no JWT',
    authorization: (issuer) => [handMade(issuer, { alg: 'none' }, new Uint8Array())],
    reason: 'invalid_credential',
  },
  { what: 'crit', authorization: minted({}, { crit: ['b64'], b64: true }), reason: 'invalid_credential' },
  { what: 'no exp', authorization: minted({ exp: undefined }), reason: 'invalid_credential' },
  { what: 'an exp that is a text', authorization: minted({ exp: '4102444800' }), reason: 'invalid_credential' },
  { what: 'an expired token', authorization: minted({ iat: now() - 600, exp: now() - 300 }), reason: 'expired_credential' },
  { what: 'a token that is not yet valid', authorization: minted({ nbf: now() + 300 }), reason: 'invalid_credential' },
  { what: 'a token of the future', authorization: minted({ iat: now() + 300, exp: now() + 600 }), reason: 'invalid_credential' },
  { what: 'no subject', authorization: minted({ sub: undefined }), reason: 'invalid_credential' },
  { what: 'an empty subject', authorization: minted({ sub: '' }), reason: 'invalid_credential' },
  { what: 'a token bound to a key', authorization: minted({ cnf: { jkt: 'x' } }), reason: 'invalid_credential' },
  {
    what: 'a forged signature',
    authorization: async (issuer) => {
      const { privateKey } = await generateKeyPair('RS256')
      return [`Bearer ${await issuer.mint(claims, { key: privateKey })}`]
    },
    reason: 'invalid_credential',
  },
  {
    // Envoy verifies it; here no more is read of it than whose it claims to be.
    what: 'a token of 9 KiB',
    authorization: minted({ filler: 'x'.repeat(6_600) }),
    reason: 'invalid_credential',
  },
  {
    what: 'padding after it',
    authorization: goodWith((value) => [`${value}==`]),
    reason: 'invalid_credential',
  },
  { what: 'two Authorization headers', authorization: goodWith((value) => [value, value]), reason: 'bad_request' },
  {
    what: 'two Authorization headers, of two schemes',
    authorization: goodWith((value) => ['Basic YWxpY2U6eA==', value]),
    reason: 'bad_request',
  },
  { what: 'two credentials in one value', authorization: goodWith((value) => [`Basic YWxpY2U6eA==, ${value}`]), reason: 'bad_request' },
]

/** Ids by how they are sent; the caller owns `s1` and nothing else. */
export const ids: readonly (readonly [
  what: string,
  path: string,
  headers: Readonly<Record<string, string | string[]>>,
  outcome: Outcome,
])[] = [
  ['in the path: one’s own', '/sandboxes/s1', {}, 'upstream /sandboxes/s1'],
  ['in the path: encoded', '/sandboxes/s%31', {}, 'upstream /sandboxes/s1'],
  ['in the path: another’s', '/sandboxes/s2', {}, 'not_owner'],
  ['in the path: an unknown one', '/sandboxes/unknown', {}, 'not_owner'],
  ['in the path: with a space', '/sandboxes/s%201', {}, 'bad_request'],
  ['in the path: with a comma', '/sandboxes/s1,s2', {}, 'bad_request'],
  ['in the path: with a colon', '/sandboxes/sandbox:s1', {}, 'bad_request'],
  ['in the path: with letters that are not ASCII', '/sandboxes/%c3%a4', {}, 'bad_request'],
  ['in the path: of 129 characters', `/sandboxes/${'a'.repeat(129)}`, {}, 'bad_request'],
  ['in the path: none', '/sandboxes/', {}, 'no_route'],
  ['in a header: one’s own', '/by-header', { 'x-sandbox-id': 's1' }, 'upstream /by-header'],
  ['in a header: another’s', '/by-header', { 'x-sandbox-id': 's2' }, 'not_owner'],
  ['in a header: none', '/by-header', {}, 'bad_request'],
  ['in a header: empty', '/by-header', { 'x-sandbox-id': '' }, 'bad_request'],
  ['in a header: twice', '/by-header', { 'x-sandbox-id': ['s1', 's1'] }, 'bad_request'],
  ['in a header: two', '/by-header', { 'x-sandbox-id': 's1,s2' }, 'bad_request'],
  ['in a header: outside the pattern', '/by-header', { 'x-sandbox-id': '../s1' }, 'bad_request'],
  ['in the query: one’s own', '/by-query?id=s1', {}, 'upstream /by-query?id=s1'],
  ['in the query: none, where absent is allowed', '/by-query', {}, 'upstream /by-query'],
  ['in the query: another’s', '/by-query?id=s2', {}, 'not_owner'],
  ['in the query: another’s, in another spelling', '/by-query?%69d=s2', {}, 'not_owner'],
  ['in the query: empty', '/by-query?id=', {}, 'bad_request'],
  ['in the query: twice', '/by-query?id=s1&id=s2', {}, 'bad_request'],
  ['in the query: two', '/by-query?id=s1,s2', {}, 'bad_request'],
  ['in the query: in upper case', '/by-query?ID=s2', {}, 'bad_request'],
  ['in the query: as a list', '/by-query?id[]=s2', {}, 'bad_request'],
  ['in the query: that cannot be decoded', '/by-query?id=%zz', {}, 'bad_request'],
]
