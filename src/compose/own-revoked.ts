import type { Loaded } from '../config/read.ts'
import type { Settings } from '../config/schema.ts'
import type { OwnToken } from '../core/issuer.ts'
import { type RevocablePrincipal, type RevocationLevel, Unavailable } from '../core/ports.ts'
import type { Actor } from '../core/principal.ts'
import type { IsRevoked } from '../issuer/issuance.ts'
import type { Rulings } from './rulings.ts'

const prefixesOf = (identity: Settings['identity']): readonly string[] =>
  identity.flatMap((entry) => (entry.type === 'postern' && entry.subject_namespace) || [])
const unprefixed = (name: string, prefixes: readonly string[]): string =>
  name.slice(prefixes.find((prefix) => name.startsWith(prefix))?.length ?? 0)

/** A subject of a token of ours as our issuer first wrote it, without what the edge puts before it. */
export const ownName = ({ identity }: Pick<Settings, 'identity'>, name: string): string => unprefixed(name, prefixesOf(identity))

/**
 * What a token of ours names, as our issuer first wrote it: a token for an upstream has the namespace before subjects and actors
 * that the edge puts there, and agents are revoked by their ids alone. Names of others stay as they are.
 */
export function ownNames({ identity }: Pick<Settings, 'identity'>): (whom: RevocablePrincipal) => RevocablePrincipal {
  const prefixes = prefixesOf(identity)
  const bare = (name: string): string => unprefixed(name, prefixes)
  const bareActor = ({ subject, actor, ...more }: Actor): Actor => ({
    ...more,
    subject: bare(subject),
    ...(actor && { actor: bareActor(actor) }),
  })
  return (whom) =>
    whom.issued === undefined || prefixes.length === 0
      ? whom
      : { ...whom, rawSubject: bare(whom.rawSubject ?? whom.subject), ...(whom.actor && { actor: bareActor(whom.actor) }) }
}

/**
 * Whether a token of ours is revoked at any level, as the edge would find it: there its subject has the namespace of the
 * validator that admits it. The function throws {Unavailable} where that cannot be known.
 */
export const ownRevoked =
  (rulings: Pick<Rulings, 'revocations'>, loaded: () => Loaded): IsRevoked =>
  ({ id, subject, issuedAt, actor, client, task, audience }: OwnToken) => {
    const { settings } = loaded()
    const namespace = settings.identity.flatMap((entry) =>
      entry.type === 'postern' && audience.includes(entry.audience) ? [entry.subject_namespace ?? ''] : [],
    )[0]
    const issued = { ...(client !== undefined && { client }), ...(task !== undefined && { task }) }
    const principal = { tokenId: id, subject: (namespace ?? '') + subject, rawSubject: subject, issuedAt, issued }
    const answer = rulings.revocations().check(ownNames(settings)({ ...principal, ...(actor && { actor }) }), Date.now())
    if (answer === 'unavailable') throw new Unavailable('state was not heard from within revocation.max_staleness')
    return answer === 'revoked'
  }

/**
 * Whether a client, or an app, is revoked: its secret says nothing of when it was given, so that it proves nothing until the
 * revocation is lifted. The function throws {Unavailable} where that cannot be known.
 */
export const clientRevoked =
  (rulings: Pick<Rulings, 'revocations'>) =>
  (id: string): boolean =>
    stands(rulings, 'client', id)

/**
 * Whether an agent is revoked by its id, and that was not lifted: a token that it were given now would be younger than the
 * revocation. The function throws {Unavailable} where that cannot be known.
 */
export const agentRevoked =
  (rulings: Pick<Rulings, 'revocations'>) =>
  (id: string): boolean =>
    (['agent', 'chain', 'subject'] as const).some((level) => stands(rulings, level, id))

function stands(rulings: Pick<Rulings, 'revocations'>, level: RevocationLevel, target: string): boolean {
  const answer = rulings.revocations().standing(level, target, Date.now())
  if (answer === 'unavailable') throw new Unavailable('state was not heard from within revocation.max_staleness')
  return answer === 'revoked'
}
