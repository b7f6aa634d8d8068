import { actorsIn, maxActors } from '../../core/actor.ts'
import type { TokenKind } from '../../core/issuer.ts'
import type { Client } from '../../core/issuer-client.ts'
import { isJsonObject, type Json } from '../../core/json.ts'
import type { Actor } from '../../core/principal.ts'
import type { TokenSubject } from '../subject-token.ts'
import { type Refusal, refuse, tokenNotAccepted } from './refusal.ts'
import { subjectFor } from './subject.ts'

export interface Acting {
  readonly subject: TokenSubject
  /** Whom the actor token names; undefined: the client acts itself. */
  readonly actor: TokenSubject | undefined
  readonly client: Client
  /** The `iss` of our own tokens. */
  readonly issuer: string
}

/**
 * The `act` of an exchanged token (RFC 8693, section 4.1): who acts now outermost, who acted before inside. It is always a
 * delegation: the subject stays who it is, and somebody is named who acts. Only who shows nothing but their own token acts for
 * nobody. At the edge one of ours is named as our tokens name it, so that a revocation of the agent finds it there.
 * @param kind what is to be issued
 */
export function actorOf(acting: Acting, kind: TokenKind): Actor | undefined | Refusal {
  const { subject, actor, client } = acting
  const before = subject.actor
  if (actor === undefined && (client.authentication.kind === 'federated' || isOwn(subject, client))) return before
  const chain: Actor = { subject: actor ? subjectFor(actor, kind) : client.id, ...(before && { actor: before }) }
  return actorsIn(chain) > maxActors
    ? refuse('invalid_request', 'too_many_actors', `the token would name more than ${maxActors} actors`)
    : chain
}

/** Whether the token is that of the client itself. Whoever has no client is the workload that proves itself by its token. */
const isOwn = (subject: TokenSubject, { id }: Client): boolean =>
  subject.by.kind === 'own' && subject.client === id && subject.claims['sub'] === id

/**
 * `may_act` (RFC 8693, section 4.4): where the subject token says who may act, it must name who does, by everything that it
 * says: the actor token's claims, or where there is no actor token the client.
 */
export function mayActFault(acting: Acting): Refusal | undefined {
  const named = acting.subject.claims['may_act']
  if (named === undefined) return undefined
  return isJsonObject(named) && Object.keys(named).length > 0 && names(named, acting)
    ? undefined
    : refuse(tokenNotAccepted, 'may_act', 'the subject token lets somebody else act (may_act)')
}

function names(named: { readonly [name: string]: Json }, { subject, actor, client, issuer }: Acting): boolean {
  // Somebody has to be named: an issuer alone names nobody.
  if (named['sub'] === undefined && named['client_id'] === undefined) return false
  // The client is somebody of ours, also where it shows its own token for it.
  if (actor === undefined || isOwn(actor, client)) {
    const said: { readonly [name: string]: Json } = { sub: client.id, client_id: client.id, iss: issuer }
    return Object.entries(named).every(([name, value]) => Object.hasOwn(said, name) && said[name] === value)
  }
  const said = actor.claims
  // The same name at another issuer is somebody else (RFC 7519, section 4.1.2).
  if (named['iss'] === undefined && said['iss'] !== subject.claims['iss']) return false
  return Object.entries(named).every(([name, value]) => typeof value !== 'object' && Object.hasOwn(said, name) && said[name] === value)
}
