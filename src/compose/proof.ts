import { openSharedSecret, type SharedSecret } from '../adapters/shared-secret.ts'
import type { Settings } from '../config/schema.ts'
import { createNonces, type Nonces } from '../core/dpop-nonce.ts'
import type { State } from '../core/ports.ts'
import type { Prove } from '../core/proof.ts'
import { createProof } from '../identity/proof.ts'
import type { Pool } from './pool.ts'

export interface ProofNeeds {
  readonly state: Pick<State, 'replays' | 'secrets'>
  readonly secrets: Pool<Promise<SharedSecret>>
}

/** Proof of possession, as a policy wants it. */
export async function composeProof({ dpop, realm }: Pick<Settings, 'dpop' | 'realm'>, { state, secrets }: ProofNeeds): Promise<Prove> {
  const { max_age: maxAgeMs, nonce, algorithms } = dpop
  const secret = nonce === 'required' ? await secrets.get('dpop-nonce', () => openSharedSecret(state.secrets, 'dpop-nonce')) : undefined
  return createProof({ maxAgeMs, algorithms, replays: state.replays, nonces: secret && noncesOf(secret, realm, maxAgeMs) })
}

/** Nonces of the secret that is in use now. */
function noncesOf(secret: SharedSecret, realm: string, stepMs: number): () => Nonces | undefined {
  let made: { readonly of: Uint8Array; readonly nonces: Nonces } | undefined
  return () => {
    const bytes = secret.current()
    if (bytes !== undefined && made?.of !== bytes) made = { of: bytes, nonces: createNonces(bytes, realm, stepMs) }
    return made?.nonces
  }
}
