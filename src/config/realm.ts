import type { Draft } from './draft.ts'
import type { FederationSettings } from './schema-issuer.ts'
import { parseAddress } from './schema-listen.ts'
import type { OidcSettings } from './schema-oidc.ts'

/** Where the listeners that several realms share have what is of one of them: `/realms/acme/token`. */
export const realmPath = (realm: string): string => `/realms/${realm}`

/**
 * The draft with `{realm}` filled in where the format allows it: issuers, audiences, endpoints and keys.
 * @param several whether it is one of several realms, whose issuers share a listener
 */
export function fillRealm(draft: Draft, realm: string, several = false): Draft {
  const fill = (text: string): string => text.replaceAll('{realm}', realm)
  const { sections } = draft
  const listener = sections.listen?.issuer
  return {
    ...draft,
    sections: {
      ...sections,
      realm,
      ...(sections.listen && listener
        ? { listen: { ...sections.listen, issuer: withUrl(listener, fill, several ? realmPath(realm) : '') } }
        : {}),
      admin: { ...sections.admin, audience: fill(sections.admin.audience) },
      issuer: {
        ...sections.issuer,
        keys: { ...sections.issuer.keys, ...(sections.issuer.keys.file !== undefined && { file: fill(sections.issuer.keys.file) }) },
        federation: sections.issuer.federation.map((rule) => fillRule(rule, fill)),
      },
      sources: mapValues(sections.sources, (source) => ({ ...source, key: fill(source.key) })),
      sts: mapValues(sections.sts, (endpoint) => ({ ...endpoint, token_endpoint: fill(endpoint.token_endpoint) })),
    },
    identity: draft.identity.map((entry) => {
      if (entry?.type === 'oidc') return fillOidc(entry, fill)
      return entry?.type === 'postern' ? { ...entry, audience: fill(entry.audience) } : entry
    }),
    routes: draft.routes.map((route) =>
      route?.downstream ? { ...route, downstream: { ...route.downstream, audience: fill(route.downstream.audience) } } : route,
    ),
  }
}

/** The template of the subject has claims where others have the realm. */
const fillRule = (rule: FederationSettings, fill: (text: string) => string): FederationSettings => ({
  ...rule,
  ...(rule.issuer === undefined ? {} : { issuer: fill(rule.issuer) }),
  audience: fill(rule.audience),
  ...(rule.audiences && { audiences: rule.audiences.map(fill) }),
  ...(rule.jwks?.uri === undefined ? {} : { jwks: { ...rule.jwks, uri: fill(rule.jwks.uri) } }),
})

function fillOidc(entry: OidcSettings, fill: (text: string) => string): OidcSettings {
  const { jwks, introspection } = entry
  return {
    ...entry,
    issuer: fill(entry.issuer),
    audience: entry.audience.map(fill),
    metadata_key: entry.metadata_key ?? entry.name,
    ...(jwks.uri === undefined ? {} : { jwks: { ...jwks, uri: fill(jwks.uri) } }),
    ...(introspection?.endpoint === undefined ? {} : { introspection: { ...introspection, endpoint: fill(introspection.endpoint) } }),
  }
}

type IssuerListener = NonNullable<NonNullable<Draft['sections']['listen']>['issuer']>

/** The issuer's URL, by default that of its address; left out where it has none. */
function withUrl(listener: IssuerListener, fill: (text: string) => string, path: string): IssuerListener {
  if (listener.url !== undefined) return { ...listener, url: fill(listener.url) }
  const at = parseAddress(listener.address)
  // A unix socket has no URL; what stands for every address, or for a port that nobody knows yet, is no place to be asked at.
  if (at?.kind !== 'tcp' || at.port === 0 || at.host === '0.0.0.0' || at.host === '::') return listener
  return { ...listener, url: `${listener.tls.mode === 'none' ? 'http' : 'https'}://${listener.address}${path}` }
}

const mapValues = <T>(object: Readonly<Record<string, T>>, change: (value: T) => T): Record<string, T> =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]))
