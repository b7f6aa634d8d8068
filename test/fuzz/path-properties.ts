import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import fc from 'fast-check'
import { Facts } from '../../src/core/facts.ts'
import { Deny } from '../../src/core/reasons.ts'
import { type SplitPath, splitPath } from '../../src/core/request-path.ts'
import { normalize } from '../../src/stages/normalize.ts'
import { aPolicy, aRequest } from '../support/facts.ts'
import { property } from './property.ts'

const piece = fc.oneof(
  { weight: 8, arbitrary: fc.constant('/') },
  { weight: 8, arbitrary: fc.constantFrom('a', 'b', 'v1', 'admin', 'x-y', '~', '@', "'", '*', '!', '=', '{id}') },
  { weight: 6, arbitrary: fc.constantFrom('.', '..', '%2e', '%2E', '.%2e', '%2f', '%2F', '%2e%2e%2f') },
  { weight: 4, arbitrary: fc.constantFrom('%41', '%7e', '%c3%a4', '%C3%A4', '%f0%9f%98%80', '%20', '%21', '%3a', '%3d') },
  {
    weight: 3,
    arbitrary: fc.constantFrom('%', '%2', '%zz', '%00', '%0a', '%7f', '%c3', '%ff', '%c0%ae', '%ed%a0%80', '%c2%85', '%ef%bf%bd'),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      '\\',
      '%5c',
      ';',
      '%3b',
      '%25',
      '%252f',
      '?',
      '#',
      ' ',
      '\t',
      '\r\n',
      '\u0000',
      '\u007f',
      '\u0085',
      '\ufffd',
    ),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 6 }) },
  { weight: 1, arbitrary: fc.constantFrom('a'.repeat(8180), `?${'x'.repeat(16_382)}`, '/'.repeat(300), 'http://h', '//h') },
)
/** Anything that could stand in `:path`, mostly near enough to a path to be one. */
export const rawPath = fc
  .tuple(fc.constantFrom('/', '/', '/', '/a/', ''), fc.array(piece, { maxLength: 9 }))
  .map(([first, rest]) => first + rest.join(''))

const pathCharacters = new Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@/%")
/** What is refused when it is escaped, beside controls: `%`, `;`, `\\`, DEL, and what needs no escape. */
const refusedEscapes = /[%;\\\u007fA-Za-z0-9._~-]/

/** The same reading, a character at a time: slow, and simple enough to be believed. */
function plainly(raw: string): SplitPath | undefined {
  for (const char of raw) {
    const code = char.codePointAt(0)!
    if (code <= 0x20 || (code >= 0x7f && code <= 0x9f) || char === '#' || char === '\ufffd') return undefined
  }
  const [path = '', ...queries] = raw.split('?')
  if (path[0] !== '/' || path.length > 8192 || raw.length - path.length - 1 > 16_384 || [...path].some((char) => !pathCharacters.has(char)))
    return undefined
  const segments: string[] = []
  const escaped = new Set<number>()
  for (const [i, segment] of (path === '/' ? [] : path.slice(1).split('/')).entries()) {
    const text = decoded(segment)
    if (text === undefined) return undefined
    if (text !== segment) escaped.add(i)
    segments.push(text)
  }
  if (segments.slice(0, -1).includes('')) return undefined
  for (const text of segments) {
    const parts = text.split('/')
    if (parts.some((part) => part === '.' || part === '..' || (part === '' && parts.length > 1))) return undefined
  }
  return {
    path,
    segments,
    query: queries.join('?'),
    encodedSlash: segments.some((text) => text.includes('/')),
    escaped: escaped.size > 0 ? escaped : undefined,
  }
}

function decoded(segment: string): string | undefined {
  const bytes: number[] = []
  for (let i = 0; i < segment.length; i++) {
    if (segment[i] !== '%') {
      bytes.push(segment.charCodeAt(i))
      continue
    }
    const hex = segment.slice(i + 1, i + 3)
    const byte = /^[0-9a-fA-F]{2}$/.test(hex) ? Number.parseInt(hex, 16) : -1
    if (byte < 0x20 || (byte < 0x80 && refusedEscapes.test(String.fromCharCode(byte)))) return undefined
    bytes.push(byte)
    i += 2
  }
  if (!isUtf8(Buffer.from(bytes))) return undefined
  const text = Buffer.from(bytes).toString()
  return [...text].some((char) => char >= '\u0080' && char <= '\u009f') ? undefined : text
}

const encoded = (text: string, how: (char: string) => string): string => text.replace(/[^/]/gu, how)
const percent = (char: string): string => [...Buffer.from(char)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')

const hostPiece = fc.constantFrom(
  ...[
    'a',
    'b',
    'A',
    'example',
    'Example',
    '.',
    '..',
    '-',
    '_',
    ':',
    ':80',
    ':8443',
    ':0',
    ':99999',
    ':123456',
    ',',
    ' ',
    '/',
    '@',
    '[::1]',
    '[',
  ],
  ...[
    ']',
    '%2e',
    '\u212a',
    '\u0130',
    '\u00e4',
    '\u3002',
    '\uff41',
    '\t',
    '#',
    '?',
    '*',
    '127.0.0.1',
    'xn--',
    'localhost',
    '1',
    'a'.repeat(260),
  ],
)
const rawHost = fc.array(hostPiece, { maxLength: 6 }).map((parts) => parts.join(''))
const policy = aPolicy([])

/** The host of a request after normalization; undefined where it is refused. */
function normalHost(host: string): string | undefined {
  const outcome = normalize.run(new Facts(aRequest({ host }), policy, 0, 'id'))
  if (outcome instanceof Deny || outcome instanceof Promise) return undefined
  return outcome.target.host
}

const asciiLower = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase())

const scheme = fc.constantFrom('Bearer', 'bearer', 'Basic', 'DPoP', 'Digest', 'Negotiate', '')
const token68 = fc.string({ unit: fc.constantFrom(...'abcXYZ019-._~+/'), minLength: 1, maxLength: 12 })
const credential = fc.oneof(
  fc.tuple(scheme, fc.constantFrom(' ', '  ', '\t'), token68, fc.constantFrom('', '=', '==')).map((parts) => parts.join('')),
  fc.tuple(token68, fc.constantFrom('', '=')).map((parts) => parts.join('')),
)

/** Paths, hosts and the rest of what normalize reads. */
export const pathProperties = [
  property(
    'path: read as a plain reading of the rules reads it, or refused',
    rawPath,
    (raw) => {
      const found = splitPath(raw)
      const expected = plainly(raw)
      if (typeof found === 'string') assert.equal(expected, undefined, `refused: ${found}`)
      else assert.deepEqual(found, expected)
    },
    { weight: 40 },
  ),
  property(
    'path: escapes written otherwise name the same segments, or nothing',
    fc.tuple(rawPath, fc.infiniteStream(fc.nat(5))),
    ([raw, dice]) => {
      const found = splitPath(raw)
      if (typeof found === 'string') return
      const upper = found.path.replace(/%../g, (code) => code.toUpperCase())
      const escapedMore = upper.replace(/%..|[^/%]/g, (part) => (part.length === 1 && dice.next().value === 0 ? percent(part) : part))
      for (const other of [upper, escapedMore, found.path.replace(/%../g, (code) => code.toLowerCase())]) {
        const again = splitPath(other)
        if (typeof again !== 'string') assert.deepEqual(again.segments, found.segments, other)
      }
    },
    { weight: 20 },
  ),
  property(
    'path: what was read once reads the same when it is written down',
    rawPath,
    (raw) => {
      const found = splitPath(raw)
      if (typeof found === 'string') return
      const written = `/${found.segments.map((text) => encoded(text, (char) => (/^[A-Za-z0-9._~-]$/.test(char) ? char : percent(char))).replaceAll('/', '%2F')).join('/')}`
      const again = splitPath(written)
      if (typeof again !== 'string') assert.deepEqual(again.segments, found.segments)
    },
    { weight: 10 },
  ),
  property(
    'host: lower case without its port, or refused',
    rawHost,
    (raw) => {
      const host = normalHost(raw)
      if (host === undefined) return
      assert.equal(normalHost(host), host, 'normalizing it again changes it')
      const rest = asciiLower(raw).slice(host.length)
      assert.ok(asciiLower(raw).startsWith(host) && /^(?::\d{1,5})?$/.test(rest), `${JSON.stringify(host)} is not what was sent`)
      assert.ok(host === '' || /^[a-z0-9_[]/.test(host))
      assert.doesNotMatch(host, /\.$|[\s,/@#?%*]/)
    },
    { weight: 20 },
  ),
  property(
    'host: upper case, a port and a dot choose no other host',
    fc.tuple(rawHost, fc.constantFrom('', '.'), fc.constantFrom('', ':80', ':65535')),
    ([raw, dot, port]) => {
      const host = normalHost(raw)
      if (host === undefined) return
      for (const other of [host.toUpperCase() + dot + port, host + dot + port]) {
        const again = normalHost(other)
        if (again !== undefined && !(host === '' && (dot || port))) assert.equal(again, host, other)
      }
    },
    { weight: 10 },
  ),
  property(
    'authorization: two credentials joined by a comma never pass for one',
    fc.tuple(credential, fc.constantFrom(',', ', ', ' ,', ',\t'), credential),
    ([a, comma, b]) => {
      const spaced = /^\S+[ \t]/.test(b.trim())
      // `a b=, c=` is one credential with parameters; two with a scheme each are two.
      if (!spaced || !/^[^ \t]+[ \t]/.test(a)) return
      const outcome = normalize.run(new Facts(aRequest({ headers: { authorization: `${a}${comma}${b}` } }), policy, 0, 'id'))
      assert.ok(outcome instanceof Deny && outcome.reason === 'bad_request', 'it passed')
    },
    { weight: 5 },
  ),
  property(
    'normalize: never throws, and knows bad_request alone',
    fc.record({
      method: fc.string({ maxLength: 8 }),
      host: rawHost,
      path: rawPath,
      headers: fc.dictionary(fc.constantFrom('authorization', 'host', 'x'), fc.oneof(fc.string(), fc.array(fc.string(), { maxLength: 3 }))),
    }),
    (parts) => {
      const outcome = normalize.run(new Facts(aRequest(parts), aPolicy([], { metadataKeys: ['users'] }), 0, 'id'))
      if (outcome instanceof Deny) assert.equal(outcome.reason, 'bad_request')
    },
    { weight: 10 },
  ),
]
