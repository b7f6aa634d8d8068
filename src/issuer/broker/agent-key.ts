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

/** @returns undefined where it is no Ed25519 public key */
export function readAgentKey(sent: SentKey): AgentKey | undefined {
  if (typeof sent !== 'string' && (sent.kty !== 'OKP' || sent.crv !== 'Ed25519')) return undefined
  const x = typeof sent === 'string' ? sent : sent.x
  if (decodeBase64url(x)?.length !== keyBytes) return undefined
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
