import { createPublicKey, type KeyObject } from 'node:crypto'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import type { Settings } from '../config/schema.ts'
import type { JsonObject } from '../core/json.ts'
import { isSignatureAlgorithm, type SignatureAlgorithm } from '../core/jws.ts'
import { parseJwt } from '../core/jwt.ts'
import { managementPlane, maxPageLife, pageAlgorithm, pageAudience, pageType } from '../core/management-plane.ts'
import type { VerificationKeys } from '../core/verification-keys.ts'
import { issuerUrl } from './issuer.ts'
import type { CaseKey, OfflineApiKeys } from './offline-api-keys.ts'

/** A credential as a case writes it: claims, from which a token is made that the validator would verify. */
export interface CaseToken {
  /** Name of an oidc, postern or api-keys validator, or management-plane for a page token. */
  readonly validator: string
  /** Merged over `iss`, `aud`, `iat`, `exp` (in 5 minutes) and `sub`; null leaves a claim out. */
  readonly claims?: JsonObject | undefined
  /** Merged over `alg`, `kid` and `typ`; null leaves a member out. */
  readonly header?: JsonObject | undefined
  /** For a validator of type api-keys. */
  readonly key?: CaseKey | undefined
  /** Breaks the signature, or the checksum of a key. */
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
export async function makeToken(
  settings: Settings,
  { sign, apiKeys }: OfflineKeys & { readonly apiKeys: OfflineApiKeys },
  token: CaseToken,
  now: number,
): Promise<string> {
  const seconds = Math.floor(now / 1000)
  const make = async (header: JsonObject, payload: JsonObject): Promise<string> => {
    const made = await sign(without({ kid, ...header, ...token.header }), without({ iat: seconds, ...payload, ...token.claims }))
    return token.forged ? `${made.slice(0, -8)}AAAAAAAA` : made
  }
  if (token.validator === managementPlane) {
    const header = { alg: pageAlgorithm, typ: pageType }
    return make(header, { iss: issuerUrl(settings), aud: pageAudience, exp: seconds + maxPageLife, sub: 'admin' })
  }
  const entry = settings.identity.find(({ name }) => name === token.validator)
  if (entry?.type === 'api-keys') {
    const key = apiKeys.make(entry.name, token.key ?? {}, now)
    return token.forged ? key.slice(0, -1) : key
  }
  if (!entry || (entry.type !== 'oidc' && entry.type !== 'postern')) {
    throw new TypeError(
      `token.validator: expected the name of an oidc, postern or api-keys validator, or management-plane, not "${token.validator}"`,
    )
  }
  const own = entry.type === 'postern'
  const header = { alg: own ? 'ES256' : entry.algorithms[0]!, typ: own ? 'at+jwt' : 'JWT' }
  const iss = own ? issuerUrl(settings) : entry.issuer
  return make(header, { iss, aud: [entry.audience].flat()[0]!, exp: seconds + 300, sub: 'alice' })
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
