import { createHmac, hash, type KeyObject, constants as rsa, sign } from 'node:crypto'
import type { TokenSpec } from './case.ts'
import { type IssuerKeys, type IssuerName, kidOf } from './keys.ts'

/** Whose tokens can be made, and under which `iss`. */
export interface Minting {
  readonly keys: Readonly<Record<IssuerName, IssuerKeys>>
  readonly issuers: Readonly<Record<IssuerName | 'own' | 'ways' | 'first', string>>
}

/** What a good token says of alice; cases change it. */
const usual = { sub: 'alice', aud: 'edge', roles: ['invoke'] }

const kindOf = { RS256: 'rsa', RS512: 'rsa', PS256: 'rsa', ES256: 'ec', EdDSA: 'ed', HS256: 'rsa', none: 'rsa' } as const

/** Makes a token in compact form, good or bad, as the case says. */
export function mint(spec: TokenSpec, { keys, issuers }: Minting): string {
  const now = Math.floor(Date.now() / 1000)
  const kind = kindOf[spec.alg]
  const claims: Record<string, unknown> = { iss: issuers[spec.by], iat: now, exp: now + 300, ...usual, ...spec.claims }
  for (const [name, seconds] of Object.entries(spec.times)) claims[name] = now + seconds
  for (const name of spec.drop) delete claims[name]
  const header: Record<string, unknown> = { alg: spec.alg, kid: kidOf(spec.by, kind), typ: 'JWT', ...spec.header }
  for (const name of spec.dropHeader) delete header[name]
  const known: Record<string, string> = {
    ...issuers,
    iss: issuers[spec.by],
    now: String(now),
    exp: String(now + 300),
    past: String(now - 300),
    kid: kidOf(spec.by, kind),
  }
  const fill = (text: string): string =>
    text
      .replace(/\{\{(\w+)\}\}/g, (whole, name: string) => known[name] ?? whole)
      .replace(/\[repeat (\S+) (\d+)\]/g, (_, piece: string, times: string) => piece.repeat(Number(times)))
  const json = (value: unknown): string => fill(JSON.stringify(value))
  const parts = {
    header: base64url(spec.headerText === undefined ? json(withKeys(header, keys)) : fill(spec.headerText)),
    payload: base64url(spec.payload === undefined ? json(claims) : fill(spec.payload)),
  }
  const signature = changed(signed(spec, `${parts.header}.${parts.payload}`, keys), spec)
  return spec.form.replaceAll('{header}', parts.header).replaceAll('{payload}', parts.payload).replaceAll('{signature}', signature)
}

// `\xff` in a text is one byte: what is no UTF-8 can be said, too.
const base64url = (text: string): string =>
  Buffer.from(text, /[\u0080-\u00ff]/.test(text) && !/[^\u0000-\u00ff]/.test(text) ? 'latin1' : 'utf8').toString('base64url')

/** A header may carry somebody's public key: `jwk: stranger`, `jwk: client`. */
function withKeys(header: Record<string, unknown>, keys: Minting['keys']): Record<string, unknown> {
  const { jwk } = header
  if (jwk === 'stranger') return { ...header, jwk: keys.stranger.jwks.keys[0] }
  if (jwk === 'client' || jwk === 'thief')
    return { ...header, jwk: keys[jwk === 'client' ? 'client' : 'stranger'].publicKey.ec.export({ format: 'jwk' }) }
  return jwk === 'private' ? { ...header, jwk: keys.client.privateKey.ec.export({ format: 'jwk' }) } : header
}

function signed({ alg, by, key, signature }: TokenSpec, input: string, keys: Minting['keys']): Buffer {
  const bytes = Buffer.from(input)
  if (alg === 'none') return Buffer.alloc(0)
  if (alg === 'HS256')
    return createHmac('sha256', secretOf(keys[by], key, kidOf(by, 'rsa')))
      .update(bytes)
      .digest()
  const privateKey = keys[key === 'stranger' ? 'stranger' : by].privateKey[kindOf[alg]]
  switch (alg) {
    case 'RS256':
      return sign('sha256', bytes, privateKey)
    case 'RS512':
      return sign('sha512', bytes, privateKey)
    case 'PS256':
      return sign('sha256', bytes, { key: privateKey, padding: rsa.RSA_PKCS1_PSS_PADDING, saltLength: 32 })
    case 'ES256':
      return sign('sha256', bytes, { key: privateKey, dsaEncoding: signature === 'der' ? 'der' : 'ieee-p1363' })
    case 'EdDSA':
      return sign(null, bytes, privateKey)
  }
}

/** What everybody knows, taken for a secret. */
function secretOf({ publicKey, jwks }: IssuerKeys, key: TokenSpec['key'], kid: string): Buffer {
  const shown: KeyObject = publicKey.rsa
  switch (key) {
    case 'pkcs1':
      return Buffer.from(shown.export({ type: 'pkcs1', format: 'pem' }))
    case 'der':
      return shown.export({ type: 'spki', format: 'der' })
    case 'jwk':
      return Buffer.from(JSON.stringify(jwks.keys[0]))
    case 'modulus':
      return Buffer.from(String(jwks.keys[0]?.['n']), 'base64url')
    case 'jwks':
      return Buffer.from(JSON.stringify(jwks))
    case 'kid':
      return Buffer.from(kid)
    case 'empty':
      return Buffer.alloc(0)
    case 'nul':
      return Buffer.alloc(1)
    default:
      return Buffer.from(shown.export({ type: 'spki', format: 'pem' }))
  }
}

function changed(bytes: Buffer, { signature }: TokenSpec): string {
  switch (signature) {
    case 'empty':
      return ''
    case 'zeros':
      return Buffer.alloc(bytes.length || 64).toString('base64url')
    case 'short':
      return bytes.subarray(0, -1).toString('base64url')
    case 'long':
      return Buffer.concat([bytes, Buffer.alloc(1)]).toString('base64url')
    case 'flipped':
      return Buffer.from(bytes.map((byte, at) => (at === 10 ? byte ^ 1 : byte))).toString('base64url')
    case 'tail':
      return otherSpelling(bytes.toString('base64url'))
    default:
      return bytes.toString('base64url')
  }
}

/** Other letters for the same bytes: the last one has bits that belong to no byte. */
function otherSpelling(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(text.at(-1) ?? 'A')
  return `${text.slice(0, -1)}${alphabet[last + 1] ?? 'B'}`
}

/** Of an EC key (RFC 7638): its members in order, without anything else. */
export function thumbprint(key: KeyObject): string {
  const { crv, kty, x, y } = key.export({ format: 'jwk' })
  return hash('sha256', JSON.stringify({ crv, kty, x, y }), 'base64url')
}
