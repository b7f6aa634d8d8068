import { hash, type KeyObject } from 'node:crypto'
import { type ProofKey, readProofKey } from './dpop-key.ts'
import { normalUri } from './dpop-target.ts'
import type { Json, JsonObject } from './json.ts'
import { isSignatureAlgorithm, type SignatureAlgorithm, verifySignature } from './jws.ts'
import { clockSkew, parseJwt } from './jwt.ts'

/** Characters of a `jti`, and of a `nonce`: a UUID has 36. */
const longestIdentifier = 256
/** Characters of the request's URI in what is told to logs. */
const longestTold = 512

/** What a proof may be. */
export interface ProofRules {
  readonly algorithms: readonly SignatureAlgorithm[]
  /** Milliseconds after its `iat` for which a proof is good. */
  readonly maxAgeMs: number
}

/** The request that a proof has to be of. */
export interface ProvedTarget {
  readonly method: string
  /** Of the request as the client sent it: the normal form that {@link normalUri} gives. */
  readonly uri: string
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** What a proof shown beside an access token has to fit. */
export interface BoundToken {
  /** The access token presented with it. */
  readonly token: string
  /** Thumbprint of the key that the token is bound to (`cnf.jkt`). */
  readonly thumbprint: string
}

export type ProvedRequest = ProvedTarget & BoundToken

/** A proof of which all but its being new, and its nonce, is verified. */
export interface VerifiedProof {
  readonly id: string
  /** Seconds since the epoch after which no replica takes it any more, whatever its clock says. */
  readonly until: number
  readonly nonce: string | undefined
}

/** A proof as {@link readProof} verified it; of its nonce nothing is known. */
export interface ReadProof {
  /** Thumbprint of the key that it was made with. */
  readonly thumbprint: string
  readonly id: string
  readonly until: number
  readonly nonce: Json | undefined
}

/**
 * Verifies a DPoP proof (RFC 9449, section 4.3, items 2 to 9 and 11), whoever asks for it. The signature comes last, so that a
 * forged proof costs little, and keys are imported only where they may be those of the token.
 * @param text the `DPoP` header's value
 * @param bound of a resource server: what it has to fit besides (items 10 and 12). At the token endpoint (section 5) a proof is of no token
 * @param keyOf imports a key, or remembers it
 * @returns what is wrong with it, for logs
 */
export function readProof(
  text: string,
  target: ProvedTarget,
  bound: BoundToken | undefined,
  rules: ProofRules,
  keyOf: (key: ProofKey) => KeyObject | undefined,
): ReadProof | string {
  const jwt = parseJwt(text)
  if (!jwt) return 'the proof is no JWT in the strict form, or over 8 KiB'
  const { header, payload } = jwt
  if (header['typ'] !== 'dpop+jwt') return 'typ of the proof is not dpop+jwt'
  const { alg } = header
  if (!isSignatureAlgorithm(alg) || !rules.algorithms.includes(alg)) return `alg of the proof is none of ${rules.algorithms.join(', ')}`
  if (Object.hasOwn(header, 'crit') || Object.hasOwn(header, 'b64')) return 'the proof has a crit or b64 header'
  const key = readProofKey(header['jwk'])
  if (typeof key === 'string') return key
  if (bound && key.thumbprint !== bound.thumbprint) return 'the proof is made with another key than the one that the token is bound to'
  const fault = wrongTarget(payload, target, bound?.token) ?? wrongTime(payload, target.now, rules.maxAgeMs)
  if (fault !== undefined) return fault
  const { jti, nonce, iat } = payload
  if (typeof jti !== 'string' || jti === '' || jti.length > longestIdentifier)
    return `jti is no text of 1 to ${longestIdentifier} characters`
  const imported = keyOf(key)
  if (!imported || !verifySignature(text, alg, imported)) return 'the signature of the proof does not verify'
  // Another replica's clock may be behind the one that took it first.
  return { thumbprint: key.thumbprint, id: jti, until: (iat as number) + rules.maxAgeMs / 1000 + clockSkew, nonce }
}

/** Verifies a DPoP proof as a resource server has to: {@link readProof}, with the token that is bound to its key. */
export function verifyProof(
  text: string,
  request: ProvedRequest,
  rules: ProofRules,
  keyOf: (key: ProofKey) => KeyObject | undefined,
): VerifiedProof | string {
  const read = readProof(text, request, request, rules, keyOf)
  if (typeof read === 'string') return read
  const { id, until, nonce } = read
  if (nonce !== undefined && !isNonce(nonce)) return 'nonce is no text, or too long'
  return { id, until, nonce }
}

/** Whether a `nonce` is of a form that anybody gives out. */
export const isNonce = (nonce: Json | undefined): nonce is string => typeof nonce === 'string' && nonce.length <= longestIdentifier

function wrongTarget({ htm, htu, ath }: JsonObject, { method, uri }: ProvedTarget, token: string | undefined): string | undefined {
  if (htm !== method) return 'htm is not the method of the request'
  if (typeof htu !== 'string' || normalUri(htu) !== uri)
    return `htu is not ${uri.length > longestTold ? `${uri.slice(0, longestTold)}...` : uri}`
  return token === undefined || ath === hash('sha256', token, 'base64url') ? undefined : 'ath is not the hash of the token'
}

/** @param now milliseconds since the epoch */
function wrongTime({ iat, exp, nbf }: JsonObject, now: number, maxAgeMs: number): string | undefined {
  const seconds = now / 1000
  if (typeof iat !== 'number' || !Number.isFinite(iat)) return 'iat of the proof is missing or no number'
  if (iat - clockSkew > seconds) return 'the proof is made in the future (iat)'
  if (iat + maxAgeMs / 1000 < seconds) return 'the proof is too old (iat)'
  // Not asked for in a proof, but what stands there has to hold (RFC 7519, sections 4.1.4 and 4.1.5).
  if (exp !== undefined && !(typeof exp === 'number' && exp + clockSkew > seconds)) return 'the proof has expired (exp)'
  if (nbf !== undefined && !(typeof nbf === 'number' && nbf - clockSkew <= seconds)) return 'the proof is not valid yet (nbf)'
  return undefined
}

/** Names a proof in the replay store: the same `jti` of two keys is of two proofs. */
export const replayKey = (thumbprint: string, id: string): string => hash('sha256', `${thumbprint} ${id}`, 'base64url')
