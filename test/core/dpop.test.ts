import { equal, match, notEqual, ok } from 'node:assert/strict'
import { createHmac, type KeyObject } from 'node:crypto'
import { replayKey, verifyProof } from '../../src/core/dpop.ts'
import { importProofKey, readProofKey } from '../../src/core/dpop-key.ts'
import { createNonces } from '../../src/core/dpop-nonce.ts'
import { normalUri, targetUri } from '../../src/core/dpop-target.ts'
import type { SignatureAlgorithm } from '../../src/core/jws.ts'
import { encode } from '../identity/tokens.ts'
import { aProof, aProved, ath, ec, ed, p384, publicJwk, rsa, rules, seconds, shortRsa, thumbprintOf, token } from './dpop-proofs.ts'

const right = aProof()
const [rightHeader = '', rightPayload = '', rightSignature = ''] = right.split('.')
const jwk = publicJwk(ec.publicKey)
const raw = (header: unknown, payload: unknown) => `${encode(header)}.${encode(payload)}.${rightSignature}`
const bound = (keys: { readonly publicKey: KeyObject }) => ({ thumbprint: thumbprintOf(publicJwk(keys.publicKey)) })

/** What is wrong with a proof → what is said of it; items as RFC 9449, section 4.3, numbers them. */
const refused: readonly [item: string, what: string, proof: string, said: RegExp, over?: Parameters<typeof aProved>[0]][] = [
  ['2', 'nothing', '', /no JWT/],
  ['2', 'no JWT', 'proof', /no JWT/],
  ['2', 'two proofs joined by a comma', `${right},${right}`, /no JWT/],
  ['2', 'white space', ` ${right}`, /no JWT/],
  ['2', 'padding', `${rightHeader}=.${rightPayload}.${rightSignature}`, /no JWT/],
  ['2', 'over 8 KiB', aProof({ payload: { more: 'x'.repeat(8192) } }), /no JWT/],
  ['2', 'a member twice', raw(`{"typ":"dpop+jwt","typ":"dpop+jwt","alg":"ES256","jwk":${JSON.stringify(jwk)}}`, {}), /no JWT/],
  ['3', 'no jti', aProof({ payload: { jti: undefined } }), /jti/],
  ['3', 'an empty jti', aProof({ payload: { jti: '' } }), /jti/],
  ['3', 'a jti that is a number', aProof({ payload: { jti: 7 } }), /jti/],
  ['3', 'a long jti', aProof({ payload: { jti: 'j'.repeat(257) } }), /jti/],
  ['3', 'no htm', aProof({ payload: { htm: undefined } }), /htm/],
  ['3', 'no htu', aProof({ payload: { htu: undefined } }), /htu/],
  ['3', 'no iat', aProof({ payload: { iat: undefined } }), /iat/],
  ['3', 'an iat that is a text', aProof({ payload: { iat: String(seconds) } }), /iat/],
  ['4', 'no typ', aProof({ header: { typ: undefined } }), /typ/],
  ['4', 'another typ', aProof({ header: { typ: 'JWT' } }), /typ/],
  ['4', 'typ in another case', aProof({ header: { typ: 'DPoP+JWT' } }), /typ/],
  ['5', 'no alg', aProof({ header: { alg: undefined } }), /alg/],
  ['5', 'alg none', `${encode({ typ: 'dpop+jwt', alg: 'none', jwk })}.${rightPayload}.AA`, /alg/],
  ['5', 'HMAC with the public key', hmac(), /alg/],
  ['5', 'an alg off the list', aProof({ keys: rsa }), /alg/, bound(rsa)],
  ['6', 'no jwk', aProof({ header: { jwk: undefined } }), /jwk/],
  ['6', 'a jwk that is a text', aProof({ header: { jwk: JSON.stringify(jwk) } }), /jwk/],
  ['6', 'another signature', `${rightHeader}.${rightPayload}.${aProof({ payload: { jti: 'two' } }).split('.')[2]}`, /signature/],
  ['6', 'a signature of another key', aProof({ keys: { publicKey: ec.publicKey, privateKey: p384.privateKey } }), /signature/],
  ['6', 'a signature in DER', aProof({ how: 'der' }), /signature/],
  [
    '6',
    'a payload that was changed',
    `${rightHeader}.${encode({ jti: 'x', htm: 'GET', htu: 'https://api.example/v1/things', iat: seconds, ath: ath(token) })}.${rightSignature}`,
    /signature/,
  ],
  ['6', 'an alg for another curve', aProof({ keys: p384, header: { alg: 'ES256' } }), /signature/, bound(p384)],
  ['6', 'an alg for another kind of key', aProof({ keys: ed, header: { alg: 'ES256' } }), /signature/, bound(ed)],
  ['7', 'a private key', aProof({ header: { jwk: ec.privateKey.export({ format: 'jwk' }) } }), /private/],
  ['7', 'a private member of any kind', aProof({ header: { jwk: { ...jwk, dp: 'AA' } } }), /private/],
  ['7', 'a symmetric key', aProof({ header: { jwk: { kty: 'oct', k: 'AAAA' } } }), /symmetric/],
  ['8', 'another method', aProof({ payload: { htm: 'POST' } }), /htm/],
  ['8', 'the method in lower case', aProof({ payload: { htm: 'get' } }), /htm/],
  ['9', 'another scheme', aProof({ payload: { htu: 'http://api.example/v1/things' } }), /htu/],
  ['9', 'another host', aProof({ payload: { htu: 'https://api.example.org/v1/things' } }), /htu/],
  ['9', 'another port', aProof({ payload: { htu: 'https://api.example:8443/v1/things' } }), /htu/],
  ['9', 'another path', aProof({ payload: { htu: 'https://api.example/v1/things/' } }), /htu/],
  ['9', 'another case of the path', aProof({ payload: { htu: 'https://api.example/V1/things' } }), /htu/],
  ['9', 'a path alone', aProof({ payload: { htu: '/v1/things' } }), /htu/],
  ['9', 'a user name', aProof({ payload: { htu: 'https://me@api.example/v1/things' } }), /htu/],
  ['9', 'the host as user name of another', aProof({ payload: { htu: 'https://api.example@evil.example/v1/things' } }), /htu/],
  ['9', 'an encoded slash', aProof({ payload: { htu: 'https://api.example/v1%2Fthings' } }), /htu/],
  ['9', 'a list', aProof({ payload: { htu: ['https://api.example/v1/things'] } }), /htu/],
  ['11', 'an iat 61 s old', aProof({ payload: { iat: seconds - 61 } }), /too old/],
  ['11', 'an iat in milliseconds', aProof({ payload: { iat: seconds * 1000 } }), /future/],
  ['11', 'an iat 61 s ahead', aProof({ payload: { iat: seconds + 61 } }), /future/],
  ['11', 'an exp that has passed', aProof({ payload: { exp: seconds - 61 } }), /expired/],
  ['11', 'an nbf to come', aProof({ payload: { nbf: seconds + 61 } }), /not valid yet/],
  ['12', 'no ath', aProof({ payload: { ath: undefined } }), /ath/],
  ['12', 'ath of another token', aProof({ payload: { ath: ath('another.access.token') } }), /ath/],
  ['12', 'ath in hexadecimal', aProof({ payload: { ath: Buffer.from(ath(token), 'base64url').toString('hex') } }), /ath/],
  ['12', 'another key than the bound one', right, /another key/, bound(p384)],
  ['–', 'crit', aProof({ header: { crit: ['exp'] } }), /crit/],
  ['–', 'b64', aProof({ header: { b64: false } }), /crit or b64/],
  ['–', 'a nonce that is a number', aProof({ payload: { nonce: 1 } }), /nonce/],
]

function hmac(): string {
  const input = `${encode({ typ: 'dpop+jwt', alg: 'HS256', jwk })}.${rightPayload}`
  return `${input}.${createHmac('sha256', ec.publicKey.export({ type: 'spki', format: 'pem' }))
    .update(input)
    .digest('base64url')}`
}

const withoutRsa = { ...rules, algorithms: rules.algorithms.filter((name) => !name.startsWith('RS')) }

describe('a DPoP proof (RFC 9449, section 4.3)', () => {
  for (const [item, what, proof, said, over] of refused)
    it(`item ${item}: refuses ${what}`, () => {
      const found = verifyProof(proof, aProved(over), withoutRsa, importProofKey)
      match(typeof found === 'string' ? found : 'admitted', said)
    })

  it('tells no more of a long URI than a line of a log can hold', () => {
    const uri = `https://api.example/${'a'.repeat(8000)}`
    const found = verifyProof(right, aProved({ uri }), rules, importProofKey)
    equal(found, `htu is not ${uri.slice(0, 512)}...`)
  })

  const admitted: readonly [what: string, proof: string, over?: Parameters<typeof aProved>[0]][] = [
    ['ES256', right],
    ['EdDSA', aProof({ keys: ed }), bound(ed)],
    ['Ed25519', aProof({ keys: ed, header: { alg: 'Ed25519' } }), bound(ed)],
    ['ES384', aProof({ keys: p384, header: { alg: 'ES384' } }), bound(p384)],
    ['RS256', aProof({ keys: rsa }), bound(rsa)],
    ['PS256', aProof({ keys: rsa, header: { alg: 'PS256' } }), bound(rsa)],
    ['members of a jwk that say more', aProof({ header: { jwk: { use: 'sig', kid: 'k', alg: 'ES256', ...jwk } } })],
    ['a query in htu, which is not compared', aProof({ payload: { htu: 'https://api.example/v1/things?a=b#c' } })],
    ['another spelling of htu', aProof({ payload: { htu: 'HTTPS://API.Example:443/v1/./x/../th%69ngs' } })],
    ['an iat 60 s old', aProof({ payload: { iat: seconds - 60 } })],
    ['an iat 60 s ahead', aProof({ payload: { iat: seconds + 60 } })],
    ['an iat with a fraction', aProof({ payload: { iat: seconds - 0.5 } })],
    ['a jti of 256 characters', aProof({ payload: { jti: 'j'.repeat(256) } })],
  ]
  for (const [what, proof, over] of admitted)
    it(`admits ${what}`, () => {
      const found = verifyProof(proof, aProved(over), rules, importProofKey)
      equal(typeof found, 'object', String(found))
    })

  it('is refused with any one character changed', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    for (let i = 0; i < right.length; i++) {
      const at = alphabet.indexOf(right[i]!)
      for (const other of at < 0 ? ['A', ',', ''] : [alphabet[at ^ 1]!, alphabet[at ^ 32]!, ' ']) {
        const found = verifyProof(right.slice(0, i) + other + right.slice(i + 1), aProved(), rules, importProofKey)
        equal(typeof found, 'string', `${JSON.stringify(other)} at ${i}`)
      }
    }
  })

  it('tells what makes it new, and for how long it could be shown again, by the slowest clock', () => {
    const found = verifyProof(
      aProof({ payload: { nonce: 'n', iat: seconds + 30 } }),
      aProved(),
      { ...rules, maxAgeMs: 120_000 },
      importProofKey,
    )
    ok(typeof found !== 'string')
    equal(found.id, 'one')
    equal(found.nonce, 'n')
    equal(found.until, seconds + 30 + 120 + 60)
  })

  it('imports no key but the one that the token is bound to, and that only where all else is right', () => {
    let imported = 0
    const keyOf = (key: Parameters<typeof importProofKey>[0]) => {
      imported += 1
      return importProofKey(key)
    }
    for (const proof of [aProof({ keys: ed }), aProof({ payload: { htm: 'PUT' } }), aProof({ payload: { ath: 'x' } })])
      verifyProof(proof, aProved(), rules, keyOf)
    equal(imported, 0)
  })

  it('is named in the replay store by its key and its jti together', () => {
    match(replayKey('a', 'b'), /^[A-Za-z0-9_-]{43}$/)
    notEqual(replayKey('a', 'b'), replayKey('a', 'c'))
    notEqual(replayKey('a', 'b'), replayKey('c', 'b'))
  })
})

describe('the key of a proof', () => {
  // RFC 7638, section 3.1.
  const n =
    '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw'

  it('has the thumbprint of RFC 7638', () => {
    const key = readProofKey({ kty: 'RSA', n, e: 'AQAB', alg: 'RS256', kid: '2011-04-29' })
    equal(typeof key === 'string' ? key : key.thumbprint, 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs')
  })

  const bad: readonly [what: string, jwk: unknown, said: RegExp][] = [
    ['a list', [jwk], /no object/],
    ['null', null, /no object/],
    ['no kty', { ...jwk, kty: undefined }, /kty/],
    ['an unknown kty', { ...jwk, kty: 'AKP' }, /kty/],
    ['a kty that every object has', { ...jwk, kty: 'constructor' }, /kty/],
    ['no y', { ...jwk, y: undefined }, /y of jwk/],
    ['x in another spelling', { ...jwk, x: `${jwk['x']}=` }, /x of jwk/],
    ['a curve that is no text', { ...jwk, crv: 7 }, /crv of jwk/],
    ['RSA of over 4096 bits', { kty: 'RSA', n: Buffer.alloc(513, 1).toString('base64url'), e: 'AQAB' }, /RSA/],
    ['RSA with a long exponent', { kty: 'RSA', n, e: Buffer.alloc(8, 1).toString('base64url') }, /RSA/],
  ]
  for (const [what, value, said] of bad)
    it(`is refused: ${what}`, () => {
      const key = readProofKey(value)
      match(typeof key === 'string' ? key : 'read', said)
    })

  it('is imported only where it is a key', () => {
    const read = (value: unknown) => {
      const key = readProofKey(value)
      ok(typeof key !== 'string', String(key))
      return importProofKey(key)
    }
    equal(read({ ...jwk, x: jwk['y'], y: jwk['y'] }), undefined)
    equal(read({ ...jwk, crv: 'P-999' }), undefined)
    ok(read(jwk))
  })

  it('verifies nothing where RSA has under 2048 bits', () => {
    const found = verifyProof(aProof({ keys: shortRsa }), aProved(bound(shortRsa)), rules, importProofKey)
    match(String(found), /signature/)
  })

  it('suits its alg, whichever of all it is', () => {
    const alg: SignatureAlgorithm = 'RS256'
    match(String(verifyProof(aProof({ header: { alg } }), aProved(), rules, importProofKey)), /signature/)
  })
})

describe('the URI of a request (RFC 3986, sections 6.2.2 and 6.2.3)', () => {
  const same: readonly [uri: string, normal: string | undefined][] = [
    ['https://api.example', 'https://api.example/'],
    ['https://api.example/', 'https://api.example/'],
    ['https://api.example?q', 'https://api.example/'],
    ['https://api.example:443/a', 'https://api.example/a'],
    ['https://api.example:/a', 'https://api.example/a'],
    ['https://api.example:0443/a', 'https://api.example/a'],
    ['https://api.example:80/a', 'https://api.example:80/a'],
    ['http://api.example:80/a', 'http://api.example/a'],
    ['http://API.example:8080/a', 'http://api.example:8080/a'],
    ['HtTpS://api.example/a', 'https://api.example/a'],
    ['https://[::1]:8443/a', 'https://[::1]:8443/a'],
    ['https://[2001:DB8::1]/a', 'https://[2001:db8::1]/a'],
    ['https://api.example/%7Euser/%41%2d%5f', 'https://api.example/~user/A-_'],
    ['https://api.example/a%2fb%c3%a9', 'https://api.example/a%2Fb%C3%A9'],
    ['https://api.example/a/./b/../c', 'https://api.example/a/c'],
    ['https://api.example/a/..', 'https://api.example/'],
    ['https://api.example/a/%2e%2E/b/.', 'https://api.example/b/'],
    ['https://api.example/../../a', 'https://api.example/a'],
    ['https://api.example/a//b', 'https://api.example/a//b'],
    ['https://api.example/a/', 'https://api.example/a/'],
    ["https://api.example/!$&'()*+,;=:@", "https://api.example/!$&'()*+,;=:@"],
    ['wss://api.example/a', undefined],
    ['ftp://api.example/a', undefined],
    ['//api.example/a', undefined],
    ['https:/api.example/a', undefined],
    ['https:api.example', undefined],
    ['https:///a', undefined],
    [' https://api.example/a', undefined],
    ['https://api.example/a b', undefined],
    ['https://api.example\\a', undefined],
    ['https://api.example/a\\b', undefined],
    ['https://api.ex%61mple/a', undefined],
    ['https://api.example:port/a', undefined],
    ['https://api.example:123456/a', undefined],
    ['https://user@api.example/a', undefined],
    ['https://éxample/a', undefined],
    ['https://api.example/é', undefined],
    ['https://api.example/a%2', undefined],
    ['https://api.example/\na', undefined],
  ]
  for (const [uri, normal] of same)
    it(`${JSON.stringify(uri)} is ${normal ?? 'none'}`, () => {
      equal(normalUri(uri), normal)
      if (normal !== undefined) equal(normalUri(normal), normal)
    })

  it('is made of what Envoy tells', () => {
    equal(targetUri('https', 'API.example:443', '/a%7e'), 'https://api.example/a~')
    equal(targetUri('https', '', '/a'), undefined)
    equal(targetUri('http', 'a,b', '/a'), undefined)
    equal(targetUri('http', 'api.example', 'a'), undefined)
    equal(targetUri('http', 'api.example/x', '/a'), undefined)
  })
})

describe('nonces', () => {
  const step = 60_000
  const at = step * 1000
  const one = createNonces(Buffer.from('a secret of all replicas'), 'default', step)
  const other = createNonces(Buffer.from('a secret of all replicas'), 'default', step)

  it('are the same on all replicas, and good in the span after', () => {
    const nonce = one.current(at)
    equal(other.current(at + step - 1), nonce)
    for (const later of [0, step - 1, step, 2 * step - 1]) ok(other.accepts(nonce, at + later), String(later))
    equal(other.accepts(nonce, at + 2 * step), false)
    notEqual(other.current(at + step), nonce)
  })

  it('of a replica whose clock is ahead are good, and no earlier ones', () => {
    ok(one.accepts(other.current(at + step), at))
    equal(one.accepts(other.current(at + 2 * step), at), false)
  })

  it('depend on secret and realm, and nobody can make one up', () => {
    const nonce = one.current(at)
    equal(createNonces(Buffer.from('another'), 'default', step).accepts(nonce, at), false)
    equal(createNonces(Buffer.from('a secret of all replicas'), 'other', step).accepts(nonce, at), false)
    for (const text of ['', 'undefined', nonce.slice(0, -1), `${nonce}a`]) equal(one.accepts(text, at), false)
    match(nonce, /^[A-Za-z0-9_-]{24}$/)
  })

  it('stay right however far the time goes', () => {
    const first = one.current(at)
    for (let i = 1; i < 50; i++) one.current(at + i * step)
    equal(one.current(at), first)
  })
})
