import type { Confirmation } from '../../core/confirmation.ts'
import { isNonce, type ProofRules as ProofForms, readProof, replayKey } from '../../core/dpop.ts'
import { importProofKey } from '../../core/dpop-key.ts'
import type { Nonces } from '../../core/dpop-nonce.ts'
import { normalUri } from '../../core/dpop-target.ts'
import type { Json } from '../../core/json.ts'
import { type ReplayStore, Unavailable } from '../../core/ports.ts'
import type { GrantRequest } from '../grants.ts'
import { type Refusal, refuse, tokenNotAccepted } from './refusal.ts'

/** How DPoP proofs at the token endpoint are judged: as at the edge (`dpop`). */
export interface ProofRules extends ProofForms {
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

const badProof = (detail: string): Refusal =>
  refuse('invalid_dpop_proof', 'not_proved', 'the DPoP proof is not valid for this request', detail)

/**
 * Verifies what a client shows of its keys (RFC 9449, section 5; RFC 8705, section 3). At the token endpoint a proof is of no
 * token, and so has no `ath`. It is not spent yet.
 */
export function shownKeys({ proof, now }: GrantRequest, rules: ProofRules): ShownKeys | Refusal {
  const x5tS256 = proof.certificate
  if (proof.dpop === undefined || proof.dpop === '') return { jkt: undefined, x5tS256, proof: undefined }
  const target = { method: 'POST', uri: normalUri(proof.url) ?? proof.url, now }
  const read = readProof(proof.dpop, target, undefined, rules, importProofKey)
  if (typeof read === 'string') return badProof(read)
  const wanted = freshNonce(read.nonce, rules, now)
  if (wanted) return wanted
  const { thumbprint, id, until } = read
  return { jkt: thumbprint, x5tS256, proof: { key: replayKey(thumbprint, id), until } }
}

/** RFC 9449, section 8. @returns what asks for a fresh nonce, where one is needed */
function freshNonce(nonce: Json | undefined, rules: ProofRules, now: number): Refusal | undefined {
  if (!rules.nonces) return undefined
  const nonces = rules.nonces()
  if (!nonces) throw new Unavailable('the secret that nonces are made of cannot be had from state')
  if (isNonce(nonce) && nonces.accepts(nonce, now)) return undefined
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
