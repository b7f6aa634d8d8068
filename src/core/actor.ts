import { isJsonObject, type Json, type JsonObject } from './json.ts'
import type { Actor } from './principal.ts'

/** Actors in one chain: a longer one is no chain that is followed. */
export const maxActors = 5

/** Reads an `act` claim (RFC 8693, section 4.1): each actor has a `sub`, and there are at most {@link maxActors}. */
export const readActor = (value: Json, depth = maxActors): Actor | 'unreadable' => {
  if (depth === 0 || !isJsonObject(value)) return 'unreadable'
  const { sub, iss, act } = value
  if (typeof sub !== 'string' || sub === '' || !sub.isWellFormed() || (iss !== undefined && typeof iss !== 'string')) return 'unreadable'
  const inner = act === undefined ? undefined : readActor(act, depth - 1)
  if (inner === 'unreadable') return inner
  return { subject: sub, ...(iss !== undefined && { issuer: iss as string }), ...(inner && { actor: inner }) }
}

/** The `act` claim of a chain. */
export const actClaim = ({ subject, issuer, actor }: Actor): JsonObject => ({
  sub: subject,
  ...(issuer !== undefined && { iss: issuer }),
  ...(actor && { act: actClaim(actor) }),
})

/** How many actors a chain has. */
export const actorsIn = (actor: Actor | undefined): number => (actor === undefined ? 0 : 1 + actorsIn(actor.actor))
