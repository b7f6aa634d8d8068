import { createPublicKey, type KeyObject } from 'node:crypto'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import type { Settings } from '../config/schema.ts'
import type { JsonObject } from '../core/json.ts'
import { isSignatureAlgorithm, type SignatureAlgorithm } from '../core/jws.ts'
import { parseJwt } from '../core/jwt.ts'
import type { VerificationKeys } from '../core/verification-keys.ts'
import { issuerUrl } from './issuer.ts'

/** A credential as a case writes it: claims, from which a token is made that the validator would verify. */
export interface CaseToken {
  /** Name of an oidc or postern validator. */
  readonly validator: string
  /** Merged over `iss`, `aud`, `iat`, `exp` (in 5 minutes) and `sub`; null leaves a claim out. */
  readonly claims?: JsonObject | undefined
  /** Merged over `alg`, `kid` and `typ`; null leaves a member out. */
  readonly header?: JsonObject | undefined
  /** Breaks the signature. */
  readonly forged?: boolean | undefined
  /** How it is presented: `bearer` (default), `dpop`, `basic:USER`, `header:NAME`, `cookie:NAME`, `query` or `websocket`. */
  readonly in?: string | undefined
}

/** Keys that stand for those of all issuers: offline nothing can be fetched, so tokens are made by these. */
export interface OfflineKeys {
  readonly keys: VerificationKeys
  readonly sign: (header: JsonObject, payload: JsonObject) => Promise<string>
}

const kid = 'offline'

/** Keys of the moment, one pair for each algorithm that is asked for. */
export function offlineKeys(): OfflineKeys {
  const pairs = new Map<SignatureAlgorithm, Promise<{ readonly privateKey: CryptoKey; readonly publicKey: KeyObject }>>()
  const pair = (alg: SignatureAlgorithm) => {
    const known = pairs.get(alg)
    if (known) return known
    const made = generateKeyPair(alg, { extractable: true }).then(async ({ privateKey, publicKey }) => ({
      privateKey,
      publicKey: createPublicKey({ key: (await exportJWK(publicKey)) as JWK & { kty: string }, format: 'jwk' } as Parameters<
        typeof createPublicKey
      >[0]),
    }))
    pairs.set(alg, made)
    return made
  }
  return {
    keys: {
      find: (name, alg) =>
        name === undefined || name === kid ? pair(alg).then(({ publicKey: key }) => ({ kind: 'key', key })) : { kind: 'unknown' },
    },
    sign: async (header, payload) => {
      const alg = header['alg']
      const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
      if (!isSignatureAlgorithm(alg)) return `${part(header)}.${part(payload)}.${alg === 'none' ? '' : part({ no: 'signature' })}`
      const { privateKey } = await pair(alg)
      const jwt = new SignJWT({ ...payload }).setProtectedHeader({ ...header, alg })
      return jwt.sign(privateKey, { crit: Object.fromEntries([header['crit']].flat().map((name) => [String(name), true])) })
    },
  }
}

/** Makes the token of a case. @param now milliseconds since the epoch */
export async function makeToken(settings: Settings, { sign }: OfflineKeys, token: CaseToken, now: number): Promise<string> {
  const entry = settings.identity.find(({ name }) => name === token.validator)
  if (!entry || (entry.type !== 'oidc' && entry.type !== 'postern')) {
    throw new TypeError(`token.validator: expected the name of an oidc or postern validator, not "${token.validator}"`)
  }
  const seconds = Math.floor(now / 1000)
  const own = entry.type === 'postern'
  const alg = own ? 'ES256' : entry.algorithms[0]!
  const header = without({ alg, kid, typ: own ? 'at+jwt' : 'JWT', ...token.header })
  const iss = own ? issuerUrl(settings) : entry.issuer
  const payload = without({ iss, aud: [entry.audience].flat()[0]!, iat: seconds, exp: seconds + 300, sub: 'alice', ...token.claims })
  const made = await sign(header, payload)
  return token.forged ? `${made.slice(0, -8)}AAAAAAAA` : made
}

/**
 * A real token as if its signature were good: signed again, under the same algorithm, by a key that verifies here. What is
 * no JWT, or signed by no algorithm that could be verified, stays as it is.
 */
export async function assumeSigned(token: string, { sign }: OfflineKeys): Promise<string> {
  const jwt = parseJwt(token)
  if (!jwt || !isSignatureAlgorithm(jwt.header['alg'])) return token
  return sign({ ...(jwt.header as JsonObject), kid }, jwt.payload)
}

/** What Envoy's jwt_authn would hand over for a token: its payload, where a validator with `verified_by: envoy` names its issuer. */
export function verifiedByEnvoy(settings: Settings, token: string): Record<string, JsonObject> {
  const payload = parseJwt(token)?.payload
  const found: Record<string, JsonObject> = {}
  for (const entry of settings.identity) {
    if (payload && entry.type === 'oidc' && entry.verified_by === 'envoy' && payload['iss'] === entry.issuer)
      found[entry.metadata_key ?? entry.name] = payload
  }
  return found
}

const without = (members: JsonObject): JsonObject => Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null))
