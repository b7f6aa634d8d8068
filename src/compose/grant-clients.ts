import { freshFile } from '../adapters/fresh-file.ts'
import type { Settings } from '../config/schema.ts'
import type { ClientSettings } from '../config/schema-issuer.ts'
import type { Client } from '../core/issuer-client.ts'
import { type ClientEntry, clientsOf } from '../issuer/grants/clients.ts'
import { anyRule } from '../issuer/grants/subject.ts'
import { federatedClient } from '../issuer/oauth/client-metadata.ts'

/** The clients of a policy by their ids; where it has federation rules, also the built-in one of those who have no client. */
export function composeClients(settings: Settings): ReadonlyMap<string, Client> {
  const { clients, federation } = settings.issuer
  const known = clientsOf(clients.map(entryOf))
  if (federation.length === 0) return known
  const edge = settings.identity.flatMap((entry) => (entry.type === 'postern' ? [entry.audience] : [])).slice(0, 1)
  const audiences = [...new Set(federation.flatMap((rule) => rule.audiences ?? edge))]
  return new Map([...known, [federatedClient, federated(audiences)]])
}

const seconds = (ms: number): number => Math.floor(ms / 1000)

function entryOf(entry: ClientSettings): ClientEntry {
  const { id, auth, grants, roles = [], scopes = [], audiences = [], ttl, introspect, exchange } = entry
  return {
    id,
    authentication: authenticationOf(auth),
    grants,
    roles,
    scopes,
    audiences,
    ttl: seconds(ttl),
    introspects: introspect,
    exchange: exchange && {
      audiences: exchange.audiences,
      maxTtl: seconds(exchange.max_ttl),
      subjectsOf: exchange.subjects_of && new Set(exchange.subjects_of),
      scopes: exchange.scopes,
      exchanged: exchange.exchanged,
    },
  }
}

function authenticationOf({ secret, private_key_jwt: assertion, mtls }: ClientSettings['auth']): ClientEntry['authentication'] {
  if (secret) return { kind: 'secret', secret: () => secret.read() }
  if (assertion) {
    // A file that is away when the policy is read has no keys until it is there.
    let fresh: (() => string) | undefined
    const read = (): string => {
      try {
        fresh ??= freshFile(assertion.jwks)
      } catch {
        return ''
      }
      return fresh()
    }
    return { kind: 'private_key_jwt', jwks: read }
  }
  for (const by of ['san_uri', 'san_dns', 'subject_dn'] as const) {
    const value = mtls?.[by]
    if (value !== undefined) return { kind: 'mtls', by, value }
  }
  throw new Error('a client without authentication')
}

/** What a rule allows at most is said by the rule, for each token. */
const federated = (audiences: readonly string[]): Client => ({
  id: federatedClient,
  authentication: { kind: 'federated', rule: anyRule },
  grants: ['token_exchange'],
  roles: [],
  scopes: [],
  audiences: [],
  ttl: 0,
  introspects: false,
  exchange: { audiences, maxTtl: 86_400, subjectsOf: undefined, scopes: undefined, exchanged: false },
})
