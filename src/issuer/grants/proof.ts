import type { Confirmation } from '../../core/confirmation.ts'
import { replayKey } from '../../core/dpop.ts'
import { importProofKey, readProofKey } from '../../core/dpop-key.ts'
import type { Nonces } from '../../core/dpop-nonce.ts'
import { normalUri } from '../../core/dpop-target.ts'
import type { JsonObject } from '../../core/json.ts'
import { isSignatureAlgorithm, type SignatureAlgorithm, verifySignature } from '../../core/jws.ts'
import { clockSkew, parseJwt } from '../../core/jwt.ts'
import { type ReplayStore, Unavailable } from '../../core/ports.ts'
import type { GrantRequest } from '../grants.ts'
import { type Refusal, refuse, tokenNotAccepted } from './refusal.ts'

/** How DPoP proofs at the token endpoint are judged: as at the edge (`dpop`). */
export interface ProofRules {
  readonly algorithms: readonly SignatureAlgorithm[]
  /** Milliseconds after its `iat` for which a proof is good. */
  readonly maxAgeMs: number
  /** undefined: no nonce is asked for. Its answer is undefined while the secret cannot be had. */
  readonly nonces: (() => Nonces | undefined) | undefined
}

/** The keys that a client has proved to hold, and shows with this request. */
export interface ShownKeys {
  /** Thumbprint of the key of its DPoP proof. */
  readonly jkt: string | undefined
  /** SHA-256 of its certificate. */
  readonly x5tS256: string | undefined
  /** The proof, for {@link spend}. */
  readonly proof: { readonly key: string; readonly until: number } | undefined
}

const longestIdentifier = 256

const badProof = (detail: string): Refusal =>
  refuse('invalid_dpop_proof', 'not_proved', 'the DPoP proof is not valid for this request', detail)

/**
 * Verifies what a client shows of its keys (RFC 9449, section 5; RFC 8705, section 3). At the token endpoint a proof is of no
 * token, and so has no `ath`. It is not spent yet.
 */
export function shownKeys({ proof, now }: GrantRequest, rules: ProofRules): ShownKeys | Refusal {
  const x5tS256 = proof.certificate
  if (proof.dpop === undefined || proof.dpop === '') return { jkt: undefined, x5tS256, proof: undefined }
  const jwt = parseJwt(proof.dpop)
  if (!jwt) return badProof('the proof is no single JWT in the strict form, or over 8 KiB')
  const { header, payload } = jwt
  const { alg } = header
  if (header['typ'] !== 'dpop+jwt') return badProof('typ of the proof is not dpop+jwt')
  if (!isSignatureAlgorithm(alg) || !rules.algorithms.includes(alg))
    return badProof(`alg of the proof is none of ${rules.algorithms.join(', ')}`)
  if (Object.hasOwn(header, 'crit') || Object.hasOwn(header, 'b64')) return badProof('the proof has a crit or b64 header')
  const key = readProofKey(header['jwk'])
  if (typeof key === 'string') return badProof(key)
  const fault = wrongUse(payload, proof.url, now, rules.maxAgeMs)
  if (fault !== undefined) return badProof(fault)
  const imported = importProofKey(key)
  if (!imported || !verifySignature(proof.dpop, alg, imported)) return badProof('the signature of the proof does not verify')
  const wanted = freshNonce(payload['nonce'], rules, now)
  if (wanted) return wanted
  // Another replica's clock may be behind the one that takes it first.
  const until = (payload['iat'] as number) + rules.maxAgeMs / 1000 + clockSkew
  return { jkt: key.thumbprint, x5tS256, proof: { key: replayKey(key.thumbprint, payload['jti'] as string), until } }
}

/** @param now milliseconds since the epoch */
function wrongUse({ htm, htu, iat, exp, nbf, jti }: JsonObject, url: string, now: number, maxAgeMs: number): string | undefined {
  const seconds = now / 1000
  if (htm !== 'POST') return 'htm is not POST'
  if (typeof htu !== 'string' || normalUri(htu) === undefined || normalUri(htu) !== normalUri(url)) return `htu is not ${url}`
  if (typeof iat !== 'number' || !Number.isFinite(iat)) return 'iat of the proof is missing or no number'
  if (iat - clockSkew > seconds) return 'the proof is made in the future (iat)'
  if (iat + maxAgeMs / 1000 < seconds) return 'the proof is too old (iat)'
  if (exp !== undefined && !(typeof exp === 'number' && exp + clockSkew > seconds)) return 'the proof has expired (exp)'
  if (nbf !== undefined && !(typeof nbf === 'number' && nbf - clockSkew <= seconds)) return 'the proof is not valid yet (nbf)'
  if (typeof jti !== 'string' || jti === '' || jti.length > longestIdentifier)
    return `jti is no text of 1 to ${longestIdentifier} characters`
  return undefined
}

/** RFC 9449, section 8. @returns what asks for a fresh nonce, where one is needed */
function freshNonce(nonce: JsonObject[string] | undefined, rules: ProofRules, now: number): Refusal | undefined {
  if (!rules.nonces) return undefined
  const nonces = rules.nonces()
  if (!nonces) throw new Unavailable('the secret that nonces are made of cannot be had from state')
  if (typeof nonce === 'string' && nonce.length <= longestIdentifier && nonces.accepts(nonce, now)) return undefined
  const ask = refuse('use_dpop_nonce', 'not_proved', 'the DPoP proof needs the nonce of this answer')
  return { ...ask, nonce: nonces.current(now) }
}

/** @returns what is wrong where a token is bound to a key that was not proved (RFC 7800, section 3.1: all of it has to be) */
export function notProved(confirmation: Confirmation | undefined, shown: ShownKeys): Refusal | undefined {
  if (!confirmation) return undefined
  const { jkt, x5tS256 } = confirmation
  if (jkt !== undefined && jkt !== shown.jkt)
    return refuse(
      shown.jkt === undefined ? tokenNotAccepted : 'invalid_dpop_proof',
      'not_proved',
      'the token is bound to a key: expected a DPoP proof by that key',
    )
  if (x5tS256 !== undefined && x5tS256 !== shown.x5tS256)
    return refuse(
      tokenNotAccepted,
      'not_proved',
      'the token is bound to a client certificate: expected that certificate on this connection',
    )
  return undefined
}

/** Takes the proof for this request alone; last of all, so that nothing but requests that are granted takes room. @throws {Unavailable} */
export async function spend(shown: ShownKeys, replays: ReplayStore): Promise<Refusal | undefined> {
  if (!shown.proof) return undefined
  return (await replays.claim(shown.proof.key, shown.proof.until)) ? undefined : badProof('the proof was used before')
}

/** What a new token for the edge is bound to: what was proved with this request, never what an older token says. */
export function newBinding(shown: ShownKeys, ...had: readonly (Confirmation | undefined)[]): Confirmation | undefined {
  // A certificate is shown on each connection of a client that authenticates by it: it binds only where a token was bound already.
  const x5tS256 = had.some((one) => one?.x5tS256 !== undefined) ? shown.x5tS256 : undefined
  return shown.jkt === undefined && x5tS256 === undefined ? undefined : { jkt: shown.jkt, x5tS256 }
}
