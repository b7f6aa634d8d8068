import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto'
import { decodeBase64url } from '../../core/jwt.ts'

/** A public key as agents send it: 32 raw bytes in base64url, or the JWK that holds them as `x` (RFC 8037, section 2). */
export type SentKey = string | { readonly kty: string; readonly crv: string; readonly x: string }

/** The Ed25519 key of an agent. */
export interface AgentKey {
  /** RFC 7638 thumbprint, base64url. */
  readonly thumbprint: string
  /** Whether it made this signature (base64url) over the UTF-8 bytes of a text. */
  readonly signed: (text: string, signature: string) => boolean
}

const keyBytes = 32
const signatureBytes = 64

/** Points of small order, without the sign: by such a key there are signatures that nobody made, and not every OpenSSL refuses them. */
const smallOrder: ReadonlySet<string> = new Set([
  '00'.repeat(32),
  `01${'00'.repeat(31)}`,
  `ec${'ff'.repeat(30)}7f`,
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
])
/** 2^255 - 20 is the highest coordinate (RFC 8032, section 5.1.3); these bytes begin with the lowest. */
const beyondField = /^(?:e[d-f]|f.)(?:ff){30}7f$/

function isSafePoint(encoded: Uint8Array): boolean {
  const y = Buffer.from(encoded)
  y[keyBytes - 1]! &= 0x7f
  const hex = y.toString('hex')
  return !smallOrder.has(hex) && !beyondField.test(hex)
}

/** @returns undefined where it is no Ed25519 public key */
export function readAgentKey(sent: SentKey): AgentKey | undefined {
  if (typeof sent !== 'string' && (sent.kty !== 'OKP' || sent.crv !== 'Ed25519')) return undefined
  const x = typeof sent === 'string' ? sent : sent.x
  const bytes = decodeBase64url(x)
  if (bytes?.length !== keyBytes || !isSafePoint(bytes)) return undefined
  const members = { crv: 'Ed25519', kty: 'OKP', x }
  let key: KeyObject
  try {
    key = createPublicKey({ key: members, format: 'jwk' })
  } catch {
    return undefined
  }
  return {
    thumbprint: hash('sha256', JSON.stringify(members), 'base64url'),
    signed: (text, signature) => {
      const bytes = decodeBase64url(signature)
      return bytes?.length === signatureBytes && verify(null, Buffer.from(text), key, bytes)
    },
  }
}
