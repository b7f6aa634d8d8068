/** What a row changes in the policy that Postern is measured with. */
export interface PolicyOptions {
  /** `unix:/path` or `host:port`. */
  readonly check: string
  readonly admin: string
  readonly issuer: string
  /** `state`: `file:PATH` or a Redis URL. */
  readonly state: string
  /** Absent: what Postern chooses itself. */
  readonly transport?: 'grpc-js'
  /** In the table; the one that is asked for is the last. 50 unless said. */
  readonly routes?: number
  /** The one that knows the principal is the last. 1 unless said. */
  readonly validators?: number
  /** Verified here and not by Envoy: the issuer to fetch keys from. */
  readonly verifiedHere?: { readonly issuer: string }
  /** false: the route hands no token on, where that is not what is measured. */
  readonly downstream?: boolean
  /** Lifetime of the downstream token; 60 s unless said. */
  readonly ttl?: string
  readonly audit?: 'all'
  readonly cache?: { readonly size: number }
  readonly workers?: number
  /** mTLS on the Check listener, for these clients. */
  readonly mtls?: { readonly cert: string; readonly key: string; readonly ca: string; readonly allow: string }
}

/** Holds the key that signing keys are encrypted with in Redis. */
export const encryptionKeyVariable = 'BENCH_ENCRYPTION_KEY'

/** What the captured request says: the policy job of all servers that are measured. */
export const job = {
  issuer: 'https://idp.example.com/realms/acme',
  audience: 'sandbox-api',
  metadataKey: 'jwt',
  subject: '8a1f6f0e-77a2-4f4e-9d0c-0b1f5ce0a001',
  resource: 'sandbox',
  id: 'sb-00000bb8',
  routes: 50,
  owners: 10_000,
} as const

/**
 * The policy of a row, in JSON (which YAML includes). The captured request is allowed: its role `developer` inherits what the
 * route demands, the sandbox is its subject's, and the upstream gets a token of its own, claim headers and the rest.
 */
export function policyText(options: PolicyOptions): string {
  const { check, admin, issuer, state, transport, audit, cache, workers, mtls } = options
  const policy = {
    version: 1,
    listen: {
      check: {
        address: check,
        ...(transport === undefined ? {} : { transport }),
        ...(mtls === undefined ? {} : { tls: { mode: 'mtls', cert: mtls.cert, key: mtls.key, ca: mtls.ca, allow: [mtls.allow] } }),
      },
      admin: { address: admin },
      issuer: { address: issuer },
    },
    state,
    ...(workers === undefined ? {} : { workers }),
    // Near copies outlive the run: what is warm stays so, and a cold one is cold for want of room.
    ownership: { cache: { ttl: '1h', ...(cache === undefined ? {} : { size: cache.size }) } },
    ...(audit === undefined ? {} : { audit: { decisions: audit } }),
    ...(state.startsWith('redis:') ? { issuer: { keys: { encryption_key: `$\{env:${encryptionKeyVariable}}` } } } : {}),
    identity: validators(options),
    roles: { 'sandbox:read': {}, 'sandbox:invoke': { inherits: ['sandbox:read'] }, developer: { inherits: ['sandbox:invoke'] } },
    routes: routes(options),
  }
  // Without white space: 10,000 routes then fit into the 1 MiB that a policy file may have.
  return `${JSON.stringify(policy)}\n`
}

/** Several issuers, as a platform with several identity providers has; each but the last abstains from the captured request. */
function validators({ validators: count = 1, verifiedHere }: PolicyOptions): object[] {
  const common = { type: 'oidc', audience: [job.audience], claims: { roles: 'realm_access.roles' } }
  const others = Array.from({ length: count - 1 }, (_, i) => ({
    ...common,
    name: `other-${i}`,
    issuer: `https://idp-${i}.example.com/realms/acme`,
    verified_by: 'envoy',
    metadata_key: `other-${i}`,
    subject_namespace: `other-${i}:`,
  }))
  const own =
    verifiedHere === undefined
      ? { issuer: job.issuer, verified_by: 'envoy', metadata_key: job.metadataKey }
      : { issuer: verifiedHere.issuer, verified_by: 'postern' }
  return [...others, { ...common, name: 'users', ...own, subject_namespace: '' }]
}

/** Routes of several shapes, as an API has them, so that the table has something to choose from. */
function routes({ routes: count = job.routes, downstream = true, ttl = '60s' }: PolicyOptions): object[] {
  const shapes = [
    (n: number) => ({ path: `/v1/service-${n}` }),
    (n: number) => ({ path: `/v1/service-${n}/{id}` }),
    (n: number) => ({ path: `/v1/service-${n}/{id}/parts/{part}`, methods: ['GET', 'PUT'] }),
    (n: number) => ({ path: `/v1/service-${n}/{id}/files/**` }),
    (n: number) => ({ path: '/v1/status', host: `service-${n}.example.com` }),
  ]
  const others = Array.from({ length: count - 1 }, (_, i) => ({
    id: `route-${i}`,
    ...shapes[i % shapes.length]!(Math.floor(i / shapes.length)),
    roles: ['sandbox:read'],
  }))
  const measured = {
    id: 'invoke-sandbox',
    methods: ['GET', 'POST'],
    path: '/v1/sandboxes/{id}/invoke',
    roles: ['sandbox:invoke'],
    owner: { resource: job.resource, id: 'path:id' },
    ...(downstream ? { downstream: { audience: 'picod', ttl } } : {}),
    claims: ['email'],
  }
  return [...others, measured]
}
