import { noPlaces } from '../../src/core/credential-places.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { parseTemplate } from '../../src/core/path-template.ts'
import type { OwnershipRules, Policy } from '../../src/core/policy.ts'
import type { Principal } from '../../src/core/principal.ts'
import type { Request } from '../../src/core/request.ts'
import type { Route } from '../../src/core/route.ts'
import { type RouteEntry, RouteTable } from '../../src/core/route-table.ts'

/** A route that demands nothing but a principal; give what the test is about. */
function aRoute(over: Partial<Route> = {}): Route {
  return {
    id: 'r',
    public: false,
    enforce: true,
    authorization: 'replace',
    validators: undefined,
    workloads: undefined,
    binding: 'none',
    roles: undefined,
    scopes: undefined,
    condition: undefined,
    owner: undefined,
    capture: undefined,
    list: undefined,
    downstream: undefined,
    claims: [],
    audit: 'denials',
    encodedSlash: false,
    ...over,
  }
}

/** `GET,POST host/path`, where a host is optional. */
export function anEntry(text: string, over: Partial<Route> = {}): RouteEntry {
  const [methods = '', where = ''] = text.split(' ')
  const slash = where.indexOf('/')
  const segments = parseTemplate(where.slice(slash))
  if (typeof segments === 'string') throw new Error(segments)
  return { route: aRoute({ id: text, ...over }), host: where.slice(0, slash) || undefined, methods: methods.split(','), segments }
}

const fixed = ['subject', 'issuer', 'roles', 'workload', 'decision', 'owner'].map((name) => `x-postern-${name}`)

/** Owners alone, as far as labels decide. */
export const noSharing: OwnershipRules = {
  shared: undefined,
  groupsClaim: 'groups',
  tenant: undefined,
  endpoint: undefined,
  given: (roles) => new Set(roles),
  namespaces: new Map(),
}

export function aPolicy(entries: readonly RouteEntry[], over: Partial<Policy> = {}): Policy {
  const [subject = '', issuer = '', roles = '', workload = '', decision = '', owner = ''] = fixed
  return {
    realm: 'default',
    revision: 'a1b2c3d4e5f6',
    routes: new RouteTable(entries),
    preflight: 'deny',
    headers: { prefix: 'x-postern-', subject, issuer, roles, workload, decision, owner, fixed },
    denials: { detail: false, realm: 'postern', resourceMetadata: undefined, proofAlgorithms: 'ES256 EdDSA' },
    trustDomains: new Set(['cluster.local']),
    metadataKeys: [],
    places: noPlaces,
    edges: [],
    basics: [],
    stripped: [],
    ownerLabel: 'agentcube.io/owner',
    ownership: noSharing,
    subjectsOf: new Map(),
    ...over,
  }
}

export interface RequestParts {
  readonly method?: string
  readonly host?: string
  readonly path?: string
  /** A list sends a name several times. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly peerPrincipal?: string
  readonly extensions?: Readonly<Record<string, string>>
  readonly verified?: Readonly<Record<string, JsonObject>>
}

export function aRequest(parts: RequestParts = {}): Request {
  const headers = new Map(Object.entries(parts.headers ?? {}))
  const list = (name: string): readonly string[] => {
    const value = headers.get(name)
    return value === undefined ? [] : typeof value === 'string' ? [value] : value
  }
  return {
    method: parts.method ?? 'GET',
    host: parts.host ?? 'agents.example',
    path: parts.path ?? '/',
    scheme: 'https',
    header: (name) => (headers.has(name) ? list(name).join(',') : undefined),
    headerCount: (name) => list(name).length,
    headerNames: () => headers.keys(),
    namesLike: (prefix) => [...headers.keys()].filter((name) => name.startsWith(prefix) || name.includes('_')),
    peerPrincipal: parts.peerPrincipal ?? '',
    peerCertificate: '',
    extension: (name) => parts.extensions?.[name],
    verifiedPayload: (key) => parts.verified?.[key],
  }
}

export function aPrincipal(over: Partial<Principal> = {}): Principal {
  return {
    validator: 'users',
    issuer: 'https://issuer.example',
    subject: 'alice',
    rawSubject: 'alice',
    roles: [],
    scopes: [],
    claims: {},
    issuedAt: 1_700_000_000,
    expiresAt: 1_700_000_300,
    digest: 'd',
    ...over,
  }
}
