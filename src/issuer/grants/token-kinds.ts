import type { GrantRequest } from '../grants.ts'
import { many, one } from './params.ts'
import { type Refusal, refuse } from './refusal.ts'

/** Token type identifiers (RFC 8693, section 3) that have a meaning here. */
export const tokenTypeUris = {
  access_token: 'urn:ietf:params:oauth:token-type:access_token',
  refresh_token: 'urn:ietf:params:oauth:token-type:refresh_token',
  id_token: 'urn:ietf:params:oauth:token-type:id_token',
  jwt: 'urn:ietf:params:oauth:token-type:jwt',
} as const

/** What may be shown. A refresh token is none of the tokens that say who somebody is. */
const shownTypes: ReadonlySet<string> = new Set([tokenTypeUris.access_token, tokenTypeUris.id_token, tokenTypeUris.jwt])
/** What may be asked for. */
const issuedTypes: ReadonlySet<string> = new Set([tokenTypeUris.access_token, tokenTypeUris.jwt, tokenTypeUris.refresh_token])

/** A token as it is shown. */
export interface ShownToken {
  readonly token: string
  readonly type: string
}

/** The tokens of an exchange (RFC 8693, section 2.1). */
export interface ShownTokens {
  readonly subject: ShownToken
  readonly actor: ShownToken | undefined
  /** `requested_token_type`; an access token where none is asked for. */
  readonly requested: string
}

const malformed = (description: string): Refusal => refuse('invalid_request', 'malformed_request', description)

const once = ['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type', 'scope']

/** @param refreshes whether the client has the refresh grant */
export function shownTokens(params: GrantRequest['params'], refreshes: boolean): ShownTokens | Refusal {
  const twice = once.find((name) => many(params, name).length > 1)
  if (twice !== undefined) return malformed(`${twice} is there more than once`)
  const token = one(params, 'subject_token')
  if (token === undefined) return malformed('subject_token is missing')
  const type = one(params, 'subject_token_type')
  if (type === undefined) return malformed('subject_token_type is missing')
  if (!shownTypes.has(type)) return malformed('subject_token_type is not supported: expected that of an access token, an ID token or a JWT')
  const actor = one(params, 'actor_token')
  const actorType = one(params, 'actor_token_type')
  if (actor !== undefined && actorType === undefined) return malformed('actor_token_type is missing')
  if (actor === undefined && actorType !== undefined) return malformed('actor_token_type is there without actor_token')
  if (actorType !== undefined && !shownTypes.has(actorType))
    return malformed('actor_token_type is not supported: expected that of an access token, an ID token or a JWT')
  const requested = one(params, 'requested_token_type') ?? tokenTypeUris.access_token
  if (!issuedTypes.has(requested) || (requested === tokenTypeUris.refresh_token && !refreshes))
    return malformed('requested_token_type is not issued to this client')
  return {
    subject: { token, type },
    actor: actor === undefined || actorType === undefined ? undefined : { token: actor, type: actorType },
    requested,
  }
}
