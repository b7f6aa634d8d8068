import { generateKeyPairSync, hash, type KeyObject } from 'node:crypto'
import type { ProofRules, ProvedRequest } from '../../src/core/dpop.ts'
import { signatureAlgorithms } from '../../src/core/jws.ts'
import { ec, ed, rsa, signToken } from '../identity/tokens.ts'

export { ec, ed, rsa }
export const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
export const shortRsa = generateKeyPairSync('rsa', { modulusLength: 1024 })

/** Seconds since the epoch. */
export const seconds = 1_800_000_000
export const token = 'the.access.token'
export const rules: ProofRules = { algorithms: signatureAlgorithms, maxAgeMs: 60_000 }

type Members = Readonly<Record<string, unknown>>

export const publicJwk = (key: KeyObject): Record<string, unknown> => key.export({ format: 'jwk' }) as Record<string, unknown>

/** RFC 7638, written anew, so that it is no word of the code under test. */
export function thumbprintOf(jwk: Members): string {
  const names = Object.keys(jwk)
    .filter((name) => ['crv', 'e', 'kty', 'n', 'x', 'y'].includes(name))
    .sort()
  return hash('sha256', `{${names.map((name) => `"${name}":"${jwk[name]}"`).join(',')}}`, 'base64url')
}

export const ath = (text: string): string => hash('sha256', text, 'base64url')

export interface ProofParts {
  readonly keys?: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }
  /** Merged over what is right; undefined leaves a member out. */
  readonly header?: Members
  readonly payload?: Members
  readonly how?: 'right' | 'der'
}

const defined = (members: Members): Members => Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))

/** A proof that is right but for what is said. */
export function aProof({ keys = ec, header = {}, payload = {}, how = 'right' }: ProofParts = {}): string {
  const alg = keys.publicKey.asymmetricKeyType === 'rsa' ? 'RS256' : keys.publicKey.asymmetricKeyType === 'ed25519' ? 'EdDSA' : 'ES256'
  return signToken(
    defined({ typ: 'dpop+jwt', alg, jwk: publicJwk(keys.publicKey), ...header }),
    defined({ jti: 'one', htm: 'GET', htu: 'https://api.example/v1/things', iat: seconds, ath: ath(token), ...payload }),
    keys.privateKey,
    how,
  )
}

/** The request that such a proof is of. */
export const aProved = (over: Partial<ProvedRequest> = {}): ProvedRequest => ({
  method: 'GET',
  uri: 'https://api.example/v1/things',
  token,
  thumbprint: thumbprintOf(publicJwk(ec.publicKey)),
  now: seconds * 1000,
  ...over,
})
