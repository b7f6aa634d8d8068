import type { Policy } from '../../core/policy.ts'
import { RouteTable } from '../../core/route-table.ts'
import type { Settings } from '../schema.ts'
import { type Address, parseAddress } from '../schema-listen.ts'
import { type PolicyRoute, policyRoutes } from './policy-routes.ts'

/** An `oidc` validator with `verified_by: envoy`. */
export interface EnvoyVerified {
  readonly name: string
  readonly metadataKey: string
  readonly issuer: string
  readonly audiences: readonly string[]
  readonly forward: boolean
}

/** Where Postern listens for Envoy. */
export interface PolicyListener {
  /** Under `listen`. */
  readonly name: 'check' | 'ext_proc'
  readonly address: Address
  readonly tls: 'none' | 'tls' | 'mtls'
}

/** What of a policy an Envoy configuration must fit. */
export interface PolicyFacts {
  /** The one that is compared; undefined where all of several are. */
  readonly realm: string | undefined
  /** The names of all that are served, where the policy names several: each route of Envoy must then say which. */
  readonly realms: ReadonlySet<string> | undefined
  readonly check: PolicyListener
  readonly extProc: PolicyListener | undefined
  /** `errors: error_response`: an outage counts as an error of the authorizer. */
  readonly outagesAsErrors: boolean
  readonly routes: readonly PolicyRoute[]
  /** The same routes, as requests find them. */
  readonly table: RouteTable
  readonly verified: readonly EnvoyVerified[]
  /** Whether credentials other than those that Envoy verifies may come: such requests must not end at Envoy. */
  readonly others: boolean
  /** Headers that Postern reads, or removes where a client sends them; lower case. */
  readonly headers: readonly string[]
  /** Headers that edge-trust validators read, lower case. */
  readonly edgeHeaders: ReadonlySet<string>
  /** Whether it knows clients by their certificates. */
  readonly workloads: boolean
  /** Whether a route takes `%2F` in parameters. */
  readonly encodedSlash: boolean
}

type Tree = Readonly<Record<string, unknown>>

/** A policy, as far as it is compared. */
export interface ReadPolicy {
  readonly settings: Settings
  readonly policy: Policy
}

/**
 * What an Envoy configuration must fit of a policy that was read without faults.
 * @param realms the names of all realms, where it is one of several
 */
export function policyFacts({ settings, policy }: ReadPolicy, realms?: ReadonlySet<string>): PolicyFacts {
  const verified = settings.identity.flatMap((entry) =>
    entry.type === 'oidc' && entry.verified_by === 'envoy'
      ? [
          {
            name: entry.name,
            metadataKey: entry.metadata_key ?? entry.name,
            issuer: entry.issuer,
            audiences: [entry.audience].flat(),
            forward: entry.forward,
          },
        ]
      : [],
  )
  const edge = settings.identity.filter(({ type }) => type === 'edge-trust').flatMap((entry) => headersIn(entry as Tree))
  const { check, ext_proc: extProc } = settings.listen
  return {
    realm: settings.realm,
    realms,
    check: listener('check', check),
    extProc: extProc && listener('ext_proc', extProc),
    outagesAsErrors: settings.errors === 'error_response',
    routes: policyRoutes(settings),
    table: policy.routes,
    verified,
    others: settings.identity.length > verified.length,
    headers: headersRead(settings),
    edgeHeaders: new Set(edge),
    workloads:
      settings.identity.some(({ type }) => type === 'mtls') ||
      settings.routes.some(({ workload, binding }) => workload !== undefined || binding === 'mtls'),
    encodedSlash: settings.routes.some((route) => route.encoded_slash),
  }
}

/**
 * What an Envoy configuration must fit of several realms together, which it serves side by side. Their routes are left out: which of
 * them serves a request of Envoy's is known of one realm at a time.
 */
export function factsOfRealms(policies: readonly [ReadPolicy, ...ReadPolicy[]]): PolicyFacts {
  const realms = new Set(policies.map(({ settings }) => settings.realm))
  const each = policies.map((one) => policyFacts(one, realms))
  const verified = new Map(each.flatMap((facts) => facts.verified.map((one) => [JSON.stringify(one), one])))
  return {
    ...each[0]!,
    realm: undefined,
    routes: [],
    table: new RouteTable([]),
    verified: [...verified.values()],
    others: each.some(({ others }) => others),
    headers: [...new Set(each.flatMap(({ headers }) => headers))],
    edgeHeaders: new Set(each.flatMap(({ edgeHeaders }) => [...edgeHeaders])),
    workloads: each.some(({ workloads }) => workloads),
    encodedSlash: each.some(({ encodedSlash }) => encodedSlash),
  }
}

const listener = (name: PolicyListener['name'], { address, tls }: Settings['listen']['check' | 'ext_proc'] & object): PolicyListener => ({
  name,
  address: parseAddress(address) ?? { kind: 'unix', path: address },
  tls: tls.mode,
})

/** Without a policy: what every Postern reads. */
export const headersAlways: readonly string[] = ['authorization', 'x-postern-subject', 'x-postern-claim-groups']

function headersRead(settings: Settings): string[] {
  const { prefix } = settings.headers
  const read = settings.identity.flatMap((entry) => headersIn(entry as Tree))
  const resources = settings.routes.flatMap(({ owner }) => headerSources(owner))
  // A proof of possession (RFC 9449) may come with every token.
  return [...new Set(['authorization', 'dpop', `${prefix}subject`, `${prefix}claim-groups`, ...read, ...resources])]
}

/** The headers that one validator reads, or removes, whatever its type: those that its settings name. */
function headersIn(entry: Tree): string[] {
  const edge = entry['type'] === 'edge-trust'
  const named = [
    ...(edge ? [...texts(entry['headers']), ...texts(entry['claims_from_headers'], 'names')] : texts(entry['from']).flatMap(headerOf)),
    ...texts(entry['end_user_header']),
    ...texts((entry['proof'] as Tree | undefined)?.['header']),
  ]
  return named.map((name) => name.toLowerCase())
}

/** The header that a place of credentials stands for; none for the query. */
function headerOf(place: string): string[] {
  if (place.startsWith('header:')) return [place.slice('header:'.length)]
  if (place.startsWith('cookie:')) return ['cookie']
  if (place === 'websocket') return ['sec-websocket-protocol']
  return place === 'query' ? [] : [place]
}

/** The texts of a value: its own, those of a list, or the members (or names) of a mapping. */
function texts(value: unknown, of: 'names' | 'members' = 'members'): string[] {
  if (typeof value === 'string') return [value]
  if (Array.isArray(value)) return value.filter((item) => typeof item === 'string')
  if (typeof value !== 'object' || value === null) return []
  return of === 'names' ? Object.keys(value) : Object.values(value).filter((item) => typeof item === 'string')
}

/** `header:NAME` of an owner's id. */
const headerSources = (owner: unknown): string[] =>
  texts((owner as Tree | undefined)?.['id'])
    .filter((id) => id.startsWith('header:'))
    .map((id) => id.slice('header:'.length).toLowerCase())
