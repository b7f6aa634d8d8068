import assert from 'node:assert/strict'
import { generateKeyPairSync, hash, type KeyObject, sign } from 'node:crypto'
import fc from 'fast-check'
import { verifyProof } from '../../src/core/dpop.ts'
import { importProofKey, readProofKey } from '../../src/core/dpop-key.ts'
import { normalUri } from '../../src/core/dpop-target.ts'
import { property } from './property.ts'

const mine = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = mine.publicKey.export({ format: 'jwk' })
const otherJwk = other.publicKey.export({ format: 'jwk' })
const key = readProofKey(jwk)
if (typeof key === 'string') throw new Error(key)
const imported = importProofKey(key)!

const now = 1_800_000_000_000
const seconds = now / 1000
const accessToken = 'an-access-token'
const ath = hash('sha256', accessToken, 'base64url')
const rules = { algorithms: ['ES256' as const], maxAgeMs: 60_000 }
const request = { method: 'GET', uri: 'https://edge.example/owned/s1', token: accessToken, thumbprint: key.thumbprint, now }
const verify = (text: string) =>
  verifyProof(text, request, rules, (found) => (found.thumbprint === key.thumbprint ? imported : importProofKey(found)))

function proof(header: object, payload: object, by: KeyObject = mine.privateKey): string {
  const input = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${input}.${sign('sha256', Buffer.from(input), { key: by, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}
const goodHeader = { typ: 'dpop+jwt', alg: 'ES256', jwk }
const goodPayload = { jti: 'one', htm: 'GET', htu: request.uri, iat: seconds, ath }
const good = proof(goodHeader, goodPayload)

/** An object as it should be, or with one member changed or left out: several faults would hide each other. */
const swap = (object: object, ...others: readonly (readonly [name: string, values: readonly unknown[]])[]) =>
  fc.oneof(
    { weight: 4, arbitrary: fc.constant(object as Record<string, unknown>) },
    {
      weight: 6,
      arbitrary: fc.oneof(...others.map(([name, values]) => fc.constantFrom(...values).map((value) => ({ ...object, [name]: value })))),
    },
    fc
      .constantFrom(...Object.keys(object))
      .map((dropped) => Object.fromEntries(Object.entries(object).filter(([name]) => name !== dropped))),
  )

const header = swap(
  goodHeader,
  ['typ', ['JWT', 'DPOP+JWT', 1]],
  ['alg', ['none', 'HS256', 'EdDSA', 'es256']],
  [
    'jwk',
    [
      otherJwk,
      { ...jwk, d: 'AAAA' },
      { ...jwk, x: otherJwk.x },
      { ...jwk, kty: 'oct', k: 'AAAA' },
      { ...jwk, crv: 'P-384' },
      null,
      'x',
      { ...jwk, use: 'enc' },
    ],
  ],
  ['crit', [['x']]],
  ['kid', ['x']],
)
const payload = swap(
  goodPayload,
  ['jti', ['', 1, 'x'.repeat(257), 'two']],
  ['htm', ['get', 'POST', '']],
  [
    'htu',
    [
      'https://edge.example/owned/s2',
      'http://edge.example/owned/s1',
      'https://edge.example:443/owned/s1',
      'https://EDGE.example/owned/%731?x#y',
      'https://edge.example/owned/x/../s1',
      'https://edge.example.evil/owned/s1',
      'https://u@edge.example/owned/s1',
      'https://edge.example/owned%2fs1',
      '/owned/s1',
      1,
    ],
  ],
  ['iat', [seconds - 61, seconds + 61, seconds - 59, seconds + 59, 'x', null]],
  ['ath', ['', ath.slice(0, -1), `${ath}=`, hash('sha256', 'x', 'base64url')]],
  ['exp', [seconds - 61, seconds + 1]],
  ['nonce', ['x', 1, 'x'.repeat(257)]],
)

const sameUri = new Set([
  'https://edge.example/owned/s1',
  'https://edge.example:443/owned/s1',
  'https://EDGE.example/owned/%731?x#y',
  'https://edge.example/owned/x/../s1',
])
function mayPass(h: Record<string, unknown>, p: Record<string, unknown>): boolean {
  const key = h['jwk']
  if (h['typ'] !== 'dpop+jwt' || h['alg'] !== 'ES256' || Object.hasOwn(h, 'crit')) return false
  if (key !== jwk && !(typeof key === 'object' && key !== null && 'use' in key)) return false
  const { jti, htm, htu, iat, ath: hashed, exp, nonce } = p
  if (
    typeof jti !== 'string' ||
    jti === '' ||
    jti.length > 256 ||
    htm !== 'GET' ||
    typeof htu !== 'string' ||
    !sameUri.has(htu) ||
    hashed !== ath
  )
    return false
  if (typeof iat !== 'number' || iat > seconds + 60 || iat < seconds - 60 || (typeof exp === 'number' && exp < seconds - 60)) return false
  return nonce === undefined || (typeof nonce === 'string' && nonce.length <= 256)
}

const uriPiece = fc.constantFrom(
  '/',
  'a',
  'B',
  '.',
  '..',
  '%2e',
  '%2F',
  '%41',
  '%c3%a4',
  '~',
  ';',
  '?x=/../y',
  '#z',
  ':',
  '@',
  '%',
  '//',
  'edge',
)
const uri = fc
  .tuple(
    fc.constantFrom('https://', 'http://', 'HTTPS://'),
    fc.constantFrom(
      'edge.example',
      'EDGE.example',
      'edge.example:443',
      'edge.example:80',
      'edge.example:0443',
      'edge.example:',
      'u@edge.example',
      'edge%2eexample',
    ),
    fc.array(uriPiece, { maxLength: 7 }).map((parts) => (parts.length === 0 ? '' : `/${parts.join('')}`)),
  )
  .map((parts) => parts.join(''))

const escapesNormal = (text: string): string =>
  text.replace(/%[0-9a-f]{2}/gi, (code) => {
    const char = String.fromCharCode(Number.parseInt(code.slice(1), 16))
    return /[A-Za-z0-9\-._~]/.test(char) ? char : code.toUpperCase()
  })

/** Proofs of possession (RFC 9449). */
export const dpopProperties = [
  property(
    'dpop: a proof passes for the request, token and key that it is of, and for no other',
    fc.tuple(header, payload, fc.constantFrom('mine', 'mine', 'mine', 'forged', 'stranger')),
    ([h, p, whose]) => {
      const used = whose === 'stranger' && h['jwk'] === jwk ? { ...h, jwk: otherJwk } : h
      const found = verify(proof(used, p, whose === 'mine' ? mine.privateKey : other.privateKey))
      assert.equal(typeof found !== 'string', whose === 'mine' && mayPass(h, p), typeof found === 'string' ? found : 'it passed')
    },
    { weight: 8 },
  ),
  property(
    'dpop: a proof with anything changed passes no more',
    fc.tuple(fc.nat(2000), fc.constantFrom('A', 'B', '.', '=', ' ', '', '_', '-', '\u00e4')),
    ([at, text]) => {
      const place = at % good.length
      const changed = good.slice(0, place) + text + good.slice(place + 1)
      assert.equal(typeof verify(changed) !== 'string', changed === good)
    },
    { weight: 5 },
  ),
  property(
    'dpop: a URI is read as a URL parser reads it',
    uri,
    (text) => {
      const found = normalUri(text)
      if (found === undefined) return
      assert.equal(normalUri(found), found)
      const { protocol, host, pathname, username } = new URL(text)
      assert.equal(username, '')
      assert.equal(found, `${protocol}//${host}${escapesNormal(pathname)}`)
    },
    { weight: 5 },
  ),
]
