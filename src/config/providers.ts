import type { SignatureAlgorithm } from '../core/jws.ts'

/** Which claims hold what where the policy does not say; what is absent is never read. */
export interface ClaimDefaults {
  readonly subject: string
  readonly roles?: string | undefined
  readonly role?: string | undefined
  readonly scopes?: string | undefined
  readonly end_user?: string | undefined
}

/** What is known of an identity provider: the defaults of `provider`, and how its issuers are written. */
export interface Provider {
  /** As its maker writes it. */
  readonly title: string
  readonly claims: ClaimDefaults
  /** Claims that name the client which the token was made for, for `authorized_parties`. */
  readonly clients: readonly string[]
  readonly algorithms: readonly Exclude<SignatureAlgorithm, 'Ed25519'>[]
  /** Accepted `typ` of the JOSE header in lower case, without `application/`; `none` stands for a header without it. */
  readonly types: readonly string[]
  /** A claim that tells access tokens from others of the same issuer: where it is there, it holds one of these. */
  readonly kind?: { readonly claim: string; readonly values: readonly string[] }
  /** What every subject is. */
  readonly subjects?: 'spiffe'
  /** `use` of keys that sign tokens, beside `sig`. */
  readonly keyUse?: string
  readonly issuer: {
    /** Hosts that belong to this provider alone. */
    readonly hosts?: RegExp
    /** An issuer has one of these forms, which differ in the slash at the end for one. */
    readonly forms: readonly RegExp[]
    readonly example: string
  }
}

const accessTokens = ['none', 'jwt', 'at+jwt'] as const

/** An `oidc` entry without `provider`. */
export const generic: Omit<Provider, 'title' | 'issuer'> = {
  claims: { subject: 'sub', roles: 'roles', scopes: 'scope' },
  clients: ['azp', 'client_id'],
  algorithms: ['RS256', 'ES256', 'EdDSA'],
  types: accessTokens,
}

export const providerNames = [
  'keycloak',
  'auth0',
  'okta',
  'google',
  'azure',
  'github-actions',
  'gitlab',
  'nomad',
  'kubernetes',
  'spiffe',
] as const
export type ProviderName = (typeof providerNames)[number]

export const providers: Readonly<Record<ProviderName, Provider>> = {
  keycloak: {
    title: 'Keycloak',
    claims: { subject: 'sub', roles: 'realm_access.roles', scopes: 'scope' },
    clients: ['azp', 'client_id'],
    algorithms: ['RS256', 'ES256', 'PS256', 'EdDSA'],
    types: accessTokens,
    // ID, refresh and logout tokens of a realm are signed by the same keys.
    kind: { claim: 'typ', values: ['Bearer', 'DPoP'] },
    issuer: { forms: [/^https?:\/\/[^/]+(?:\/[^/]+)*\/realms\/[^/]+$/], example: 'https://keycloak.example/realms/REALM' },
  },
  auth0: {
    title: 'Auth0',
    claims: { subject: 'sub', roles: 'permissions', scopes: 'scope' },
    clients: ['azp', 'client_id'],
    algorithms: ['RS256', 'PS256'],
    types: ['jwt', 'at+jwt'],
    issuer: { hosts: /\.auth0\.com$/, forms: [/^https:\/\/[^/]+\/$/], example: 'https://TENANT.us.auth0.com/' },
  },
  okta: {
    title: 'Okta',
    claims: { subject: 'sub', roles: 'groups', scopes: 'scp' },
    clients: ['cid'],
    algorithms: ['RS256'],
    types: accessTokens,
    issuer: {
      hosts: /\.okta(?:preview|-emea|-gov)?\.com$/,
      forms: [/^https:\/\/[^/]+\/oauth2\/[^/]+$/],
      example: 'https://ORG.okta.com/oauth2/default',
    },
  },
  google: {
    title: 'Google',
    claims: { subject: 'sub' },
    clients: ['azp'],
    algorithms: ['RS256'],
    types: ['none', 'jwt'],
    issuer: { hosts: /^accounts\.google\.com$/, forms: [/^https:\/\/accounts\.google\.com$/], example: 'https://accounts.google.com' },
  },
  azure: {
    title: 'Azure AD (Entra ID)',
    // `sub` differs from one application to the next; `oid` is the same person or service in the whole tenant.
    claims: { subject: 'oid', roles: 'roles', scopes: 'scp' },
    clients: ['azp', 'appid'],
    algorithms: ['RS256'],
    types: ['jwt', 'at+jwt'],
    issuer: {
      hosts: /^(?:login\.microsoftonline\.(?:com|us)|login\.partner\.microsoftonline\.cn|sts\.windows\.net)$/,
      forms: [
        /^https:\/\/login\.(?:partner\.)?microsoftonline\.(?:com|us|cn)\/(?!common\/|organizations\/|consumers\/)[^/]+\/v2\.0$/,
        /^https:\/\/sts\.(?:windows|chinacloudapi)\.(?:net|cn)\/[^/]+\/$/,
        /^https:\/\/[^/]+\.ciamlogin\.com\/[^/]+\/v2\.0$/,
        /^https:\/\/[^/]+\.b2clogin\.com\/[^/]+\/v2\.0\/$/,
      ],
      example: 'https://login.microsoftonline.com/TENANT_ID/v2.0, or https://sts.windows.net/TENANT_ID/ for tokens of version 1',
    },
  },
  'github-actions': {
    title: 'GitHub Actions',
    claims: { subject: 'sub', end_user: 'actor' },
    clients: [],
    algorithms: ['RS256'],
    types: ['jwt'],
    issuer: {
      hosts: /^token\.actions\.githubusercontent\.com$/,
      forms: [/^https:\/\/token\.actions\.githubusercontent\.com(?:\/[^/]+)?$/, /^https:\/\/[^/]+\/_services\/token$/],
      example: 'https://token.actions.githubusercontent.com',
    },
  },
  gitlab: {
    title: 'GitLab',
    claims: { subject: 'sub', end_user: 'user_login' },
    clients: [],
    algorithms: ['RS256'],
    types: ['none', 'jwt'],
    issuer: { hosts: /^gitlab\.com$/, forms: [/^https?:\/\/[^/]+(?:\/[^/]+)*$/], example: 'https://gitlab.com' },
  },
  nomad: {
    title: 'Nomad',
    claims: { subject: 'sub' },
    clients: [],
    algorithms: ['RS256', 'EdDSA'],
    types: ['none', 'jwt'],
    issuer: { forms: [/^https?:\/\/./], example: 'https://nomad.example, the oidc_issuer of its servers' },
  },
  kubernetes: {
    title: 'Kubernetes',
    claims: { subject: 'sub' },
    clients: [],
    algorithms: ['RS256', 'ES256', 'ES384', 'ES512'],
    types: ['none', 'jwt'],
    issuer: {
      hosts: /\.oic\.prod-aks\.azure\.com$|^oidc\.eks\.|^container\.googleapis\.com$/,
      forms: [/^https:\/\/[^/]+\.oic\.prod-aks\.azure\.com\/.+\/$/, /^https?:\/\/(?![^/]+\.oic\.prod-aks\.azure\.com\/).*[^/]$/],
      example: 'https://kubernetes.default.svc.cluster.local, the --service-account-issuer of the API server',
    },
  },
  spiffe: {
    title: 'SPIFFE',
    claims: { subject: 'sub' },
    clients: [],
    algorithms: ['ES256', 'ES384', 'ES512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
    // As JWT-SVID, section 2.4, has it.
    types: ['none', 'jwt', 'jose'],
    subjects: 'spiffe',
    // A SPIFFE bundle marks the keys of JWT-SVIDs so.
    keyUse: 'jwt-svid',
    issuer: { forms: [/^https?:\/\/./], example: 'https://oidc.example, the jwt_issuer of the SPIRE server' },
  },
}
