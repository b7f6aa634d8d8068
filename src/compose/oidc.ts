import { openCertificateLoader } from '../adapters/certificate-files.ts'
import { type Introspection, openIntrospection } from '../adapters/introspection.ts'
import { type Jwks, type JwksCondition, openJwks } from '../adapters/jwks.ts'
import { generic, providers } from '../config/providers.ts'
import type { OidcSettings } from '../config/schema-oidc.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import type { BearerValidator } from '../core/validator.ts'
import type { VerificationKeys } from '../core/verification-keys.ts'
import type { ClaimRules } from '../identity/claims.ts'
import { oidcByEnvoy } from '../identity/oidc-envoy.ts'
import { oidcIntrospected, type TokenIntrospection } from '../identity/oidc-introspected.ts'
import { oidcByPostern } from '../identity/oidc-postern.ts'
import { clientCertificates, withCertificates } from './certificates.ts'
import type { Pool } from './pool.ts'
import { authOf } from './tokens.ts'

export interface OidcNeeds {
  readonly jwks: Pool<Jwks>
  /** Absent: nobody can be asked about opaque tokens. */
  readonly introspections?: Pool<Introspection> | undefined
  /** Of this process; absent: opened where they are needed. */
  readonly certificates?: CertificateLoader | undefined
  /** Told after each fetch of an issuer's keys. */
  readonly onKeys?: ((condition: JwksCondition) => void) | undefined
  /** Stand for the keys of every issuer, where nothing can be fetched. */
  readonly keys?: VerificationKeys | undefined
}

/** What every validator of JWTs is told. */
export type CommonRules = Pick<ClaimRules, 'validator' | 'namespace' | 'mayAssert'>

/** An `oidc` entry of `identity`. */
export function composeOidc(entry: OidcSettings, common: CommonRules, needs: OidcNeeds): BearerValidator {
  const known = entry.provider === undefined ? generic : providers[entry.provider]
  const { claims, algorithms } = entry
  const rules: ClaimRules = {
    ...common,
    issuer: entry.issuer,
    audiences: entry.audience,
    names: { subject: claims.subject, roles: claims.roles, role: claims.role, scopes: claims.scopes, endUser: claims.end_user },
    ...(entry.authorized_parties && {
      authorizedParties: { claims: known.clients.length > 0 ? known.clients : generic.clients, allowed: new Set(entry.authorized_parties) },
    }),
    ...(known.kind && { kind: known.kind }),
    ...(known.subjects && { subjects: known.subjects }),
  }
  const types = entry.types.map((type) => (type === 'none' ? undefined : type))
  if (entry.verified_by === 'envoy') {
    const byEnvoy = oidcByEnvoy({ ...rules, metadataKey: entry.metadata_key ?? entry.name, forward: entry.forward, algorithms, types })
    return withIntrospection(entry, byEnvoy, rules, needs, undefined)
  }
  const keys = needs.keys ?? keysOf(entry, known.keyUse, needs)
  const signed = entry.introspection?.tokens === 'all' ? { algorithms, types, keys } : undefined
  return withIntrospection(entry, oidcByPostern({ ...rules, algorithms, types, keys }), rules, needs, signed)
}

function keysOf(entry: OidcSettings, keyUse: string | undefined, { jwks, certificates, onKeys }: OidcNeeds): Jwks {
  const { refresh, stale_for, timeout, uri, ca, token } = entry.jwks
  const options = {
    issuer: entry.issuer,
    refreshMs: refresh,
    staleForMs: stale_for,
    timeoutMs: timeout,
    ...(uri !== undefined && { uri }),
    ...(keyUse !== undefined && { keyUse }),
  }
  // Entries of one issuer share its keys, whatever each lets its tokens be signed with: then it is asked once for all.
  const { algorithms } = entry
  const keys = jwks.get(JSON.stringify([options, ca, token?.reference]), () => {
    const source = clientCertificates(certificates ?? openCertificateLoader(), `jwks ${entry.issuer}`, { ca })
    const read = token && { token: () => token.read() }
    return withCertificates(source, openJwks({ ...options, algorithms, tls: source?.current, ...read, ...(onKeys && { observe: onKeys }) }))
  })
  keys.want(algorithms)
  return keys
}

function withIntrospection(
  entry: OidcSettings,
  rest: BearerValidator,
  rules: ClaimRules,
  { introspections, certificates }: OidcNeeds,
  signed: Parameters<typeof oidcIntrospected>[1]['signed'],
): BearerValidator {
  const { introspection: asked } = entry
  if (!asked) return rest
  const introspection = introspections ? introspectionOf(entry, asked, introspections, certificates) : nobody(entry.issuer)
  return oidcIntrospected(rest, { ...rules, introspection, ...(signed && { signed }) })
}

function introspectionOf(
  entry: OidcSettings,
  asked: NonNullable<OidcSettings['introspection']>,
  pool: Pool<Introspection>,
  certificates: CertificateLoader | undefined,
): Introspection {
  const { ca } = entry.jwks
  const options = {
    issuer: entry.issuer,
    clientId: asked.client_id,
    timeoutMs: asked.timeout,
    ttlMs: asked.cache.ttl,
    negativeTtlMs: asked.cache.negative_ttl,
    size: asked.cache.size,
    maxInFlight: asked.max_in_flight,
    ...(asked.endpoint !== undefined && { endpoint: asked.endpoint }),
  }
  // Secrets show as "[secret]" in JSON, and are read anew for each question.
  const references = [asked.auth.secret?.reference, asked.auth.private_key_jwt?.key.reference]
  return pool.get(JSON.stringify([options, ca, asked.auth, references]), () => {
    const files = { ca, ...asked.auth.mtls }
    const source = clientCertificates(certificates ?? openCertificateLoader(), `introspection ${entry.issuer}`, files)
    return withCertificates(source, openIntrospection({ ...options, auth: authOf(asked.auth), tls: source?.current }))
  })
}

/** Offline nobody can be asked. */
const nobody = (issuer: string): TokenIntrospection => ({
  recall: () => undefined,
  ask: () => ({ kind: 'unavailable', detail: `tokens of ${issuer} cannot be checked: nobody is asked offline` }),
})
