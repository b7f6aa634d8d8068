import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Metrics } from '../adapters/metrics.ts'
import { createAdminApp } from '../admin/app.ts'
import { hostsOf } from '../admin/hosts.ts'
import type { AdminOptions, IssuerPort, PagePort } from '../admin/ports.ts'
import type { Loaded } from '../config/read.ts'
import type { Settings } from '../config/schema.ts'
import { type State, Unavailable } from '../core/ports.ts'
import { StartRefused } from '../core/start-refused.ts'
import { parseListenAddress } from '../wire/listener.ts'
import { apiKeysPort } from './api-keys.ts'
import { admitsPages } from './identity.ts'
import type { IssuerParts } from './issuer.ts'
import type { Rulings } from './rulings.ts'

export interface AdminNeeds extends Pick<AdminOptions, 'status' | 'readiness' | 'newId' | 'onFault'> {
  /** Counts the logins of every listener that serves this. */
  readonly logins: NonNullable<AdminOptions['logins']>
  readonly broker: AdminOptions['broker']
  /** The issuer's listener serves a part of it: its names, and nobody's certificate. */
  readonly onIssuer?: boolean
  readonly state: State
  /** What is written to the audit trail, with floods of failures as counts. */
  readonly trail: Pick<AdminOptions['audit'], 'commit'>
  readonly issuer: IssuerParts | undefined
  readonly rulings: Rulings
  readonly metrics: Metrics
  readonly loaded: () => Loaded
}

/** The admin listener's app over the parts of the service. */
export function composeAdmin(needs: AdminNeeds): ReturnType<typeof createAdminApp> {
  const { state, trail, issuer, rulings, metrics, loaded, status, readiness, newId, onFault, logins, broker, onIssuer = false } = needs
  const { settings } = loaded()
  const allowed = allowedBy()
  const listen = onIssuer ? settings.listen.issuer : settings.listen.admin
  return createAdminApp({
    realm: settings.realm,
    hosts: listen && hostNames(listen),
    logins,
    broker,
    secret: () => loaded().settings.admin.secret?.read(),
    issuer: issuer && issuerPort(issuer, rulings, loaded),
    pages: issuer && pagePort(issuer, loaded),
    workloads: () => (listen?.tls.mode === 'mtls' && !onIssuer ? allowed(loaded()) : nobody),
    labels: state.labels,
    ownerLabel: () => loaded().policy.ownerLabel,
    labelRules: () => {
      const { shared, tenant, endpoint } = loaded().policy.ownership
      return { shared, tenant: tenant?.label, endpoint }
    },
    idPatterns: (resource) =>
      loaded().policy.routes.routes.flatMap(({ owner }) => (owner && owner.resource === resource ? [owner.idPattern] : [])),
    revocations: { append: (revocation) => rulings.revoke(revocation), known: (...asked) => rulings.revocations().known(...asked) },
    apiKeys: apiKeysPort(rulings.apiKeys, loaded),
    audit: { commit: trail.commit, read: (...asked) => state.audit.read(...asked) },
    metrics,
    status,
    readiness,
    newId,
    clock: Date.now,
    onFault,
  })
}

const nobody: ReadonlySet<string> = new Set()

/** The allow list of the admin listener under a policy, made once for each. */
function allowedBy(): (loaded: Loaded) => ReadonlySet<string> {
  let of: Loaded | undefined
  let ids = nobody
  return (loaded) => {
    if (of !== loaded) ids = new Set(loaded.settings.listen.admin?.tls.allow)
    of = loaded
    return ids
  }
}

/** The names that a listener is asked by; undefined on a unix socket, where no browser can reach it by a name. */
export function hostNames({ address, tls, url }: NonNullable<Settings['listen']['issuer']>): readonly string[] | undefined {
  const at = parseListenAddress(address)
  if (at.kind === 'unix') return undefined
  // A proxy that passes the name of the issuer's URL on reaches it by that.
  const known = url === undefined ? [] : [new URL(url).hostname.toLowerCase()]
  const own = hostsOf(at.host, tls.mode === 'none' || tls.cert === undefined ? undefined : certificateOf(tls.cert))
  return [...own, ...known]
}

/** @throws {StartRefused} where it is being written, or is none */
function certificateOf(file: string): X509Certificate {
  try {
    return new X509Certificate(readFileSync(file))
  } catch {
    throw new StartRefused([`the certificate ${file} cannot be read, or is no PEM`])
  }
}

function pagePort({ pages }: IssuerParts, loaded: () => Loaded): PagePort {
  return {
    admitted: () => admitsPages(loaded().settings),
    roles: () => new Set(Object.keys(loaded().settings.roles)),
    mint: pages.mint,
  }
}

function issuerPort({ mint, verifyAdmin, ring }: IssuerParts, rulings: Rulings, loaded: () => Loaded): IssuerPort {
  const ready = () => {
    const opened = ring()
    if (!opened) throw new Unavailable('the signing keys have not been loaded from state yet')
    return opened
  }
  return {
    verifyAdmin: (token, now) => {
      const admin = verifyAdmin(token, now)
      return admin && !rulings.isRevoked(admin.tokenId) ? admin : undefined
    },
    mintAdmin: mint.admin,
    mintEdge: mint.edge,
    edgeAudiences: () => loaded().settings.identity.flatMap((entry) => (entry.type === 'postern' ? [entry.audience] : [])),
    listKeys: () => ring()?.list() ?? [],
    jwks: () => ring()?.jwks() ?? { keys: [] },
    rotateKeys: async (options) => ready().rotate(options),
    removeKey: async (kid) => ready().remove(kid),
  }
}
