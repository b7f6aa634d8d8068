import type { KeyObject } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { type ProofRules, replayKey, type VerifiedProof, verifyProof } from '../core/dpop.ts'
import { importProofKey, type ProofKey } from '../core/dpop-key.ts'
import type { Nonces } from '../core/dpop-nonce.ts'
import { type OuterScheme, targetUri } from '../core/dpop-target.ts'
import { type ReplayStore, type Soon, Unavailable } from '../core/ports.ts'
import type { ProofDemand } from '../core/proof.ts'
import { type Deny, deny } from '../core/reasons.ts'
import type { Request } from '../core/request.ts'

/** How DPoP proofs are judged (RFC 9449). */
export interface DpopOptions extends ProofRules {
  /** Shared by all replicas. */
  readonly replays: ReplayStore
  /** undefined: no nonce is asked for. Its answer is undefined while the secret cannot be had. */
  readonly nonces: (() => Nonces | undefined) | undefined
}

/** Keys of proofs that are remembered, by their thumbprints: to import one takes longer than most checks. */
const mostKeys = 10_000

const refused = (detail: string): Deny => deny('invalid_credential', detail, { scheme: 'DPoP', error: 'invalid_dpop_proof' })

/**
 * The scheme of the URI that the client asked for, by `x-forwarded-proto`: Envoy sets it by what the connection is, and leaves it
 * to the proxies before it only where it was told how many of those to trust. `:scheme` is whatever an HTTP/2 client writes.
 */
function outerScheme(request: Request): OuterScheme | undefined {
  const scheme = request.header('x-forwarded-proto')
  return scheme === 'https' || scheme === 'http' ? scheme : undefined
}

/** @returns asks for the proof of a token that is bound to a key with this thumbprint (`cnf.jkt`) */
export function proveByDpop(options: DpopOptions): (demand: ProofDemand, thumbprint: string) => Soon<Deny | undefined> {
  const keys = new LRUCache<string, KeyObject>({ max: mostKeys })
  const keyOf = (proof: ProofKey): KeyObject | undefined => {
    const known = keys.get(proof.thumbprint)
    if (known) return known
    const key = importProofKey(proof)
    if (key) keys.set(proof.thumbprint, key)
    return key
  }

  const verified = ({ state, token }: ProofDemand, thumbprint: string): VerifiedProof | Deny => {
    const { request, target, now } = state
    const proof = request.header('dpop')
    if (proof === undefined || proof === '') return refused('the token is bound to a key, and no DPoP header came with it')
    // Envoy joins several fields of one name with a comma, which is in no JWT.
    if (request.headerCount('dpop') > 1 || proof.includes(',')) return refused('more than one DPoP header')
    if (token === '') return refused('Envoy did not forward the token (forward: true), so that its hash (ath) cannot be compared')
    const scheme = outerScheme(request)
    if (scheme === undefined)
      return refused('x-forwarded-proto says neither http nor https, so that the URI of the request (htu) is not known')
    const uri = targetUri(scheme, request.host, target.path)
    if (uri === undefined) return refused('the request names no host, so that its URI (htu) is not known')
    const found = verifyProof(proof, { method: target.method, uri, token, thumbprint, now }, options, keyOf)
    return typeof found === 'string' ? refused(found) : found
  }

  return (demand, thumbprint) => {
    const proof = verified(demand, thumbprint)
    if ('reason' in proof) return proof
    const { now } = demand.state
    if (options.nonces) {
      const nonces = options.nonces()
      if (!nonces) throw new Unavailable('the secret that nonces are made of cannot be had from state')
      if (proof.nonce === undefined || !nonces.accepts(proof.nonce, now)) {
        const detail = proof.nonce === undefined ? 'the proof has no nonce' : 'the nonce of the proof is none that was given out lately'
        return deny('invalid_credential', detail, { scheme: 'DPoP', error: 'use_dpop_nonce', nonce: nonces.current(now) })
      }
    }
    // Last, so that nothing but good proofs of tokens that were admitted takes room.
    const claimed = options.replays.claim(replayKey(thumbprint, proof.id), proof.until)
    const judge = (first: boolean): Deny | undefined => (first ? undefined : refused('the proof was used before'))
    return claimed instanceof Promise ? claimed.then(judge) : judge(claimed)
  }
}
