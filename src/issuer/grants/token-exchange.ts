import { randomUUID } from 'node:crypto'
import type { TokenOrder } from '../../core/issuer.ts'
import type { GrantRequest } from '../grants.ts'
import type { TokenSubject } from '../subject-token.ts'
import { actorOf, mayActFault } from './acting.ts'
import { grantScopes } from './ceilings.ts'
import { accessTokenAnswer, audienceClaim, longestLife } from './client-credentials.ts'
import { exchangedClaim } from './own-subject.ts'
import type { GrantNeeds } from './policy.ts'
import { newBinding, notProved, type ShownKeys, shownKeys, spend } from './proof.ts'
import type { RefreshTokens } from './refresh-token.ts'
import { type Granted, isRefusal, type Refusal, refuse, tokenNotAccepted } from './refusal.ts'
import { subjectFault, subjectFor, upstreamTokens, verified } from './subject.ts'
import { type Targets, targetsOf } from './targets.ts'
import { type ShownTokens, shownTokens, tokenTypeUris } from './token-kinds.ts'
import { fitsToken, tooLong } from './token-size.ts'

/** An exchange that the policy allows, with nothing issued yet. */
interface Allowed {
  readonly tokens: ShownTokens
  readonly subject: TokenSubject
  readonly targets: Targets
  readonly order: TokenOrder
  readonly shown: ShownKeys
  /** What a refresh token is bound to. */
  readonly binding: TokenOrder['confirmation']
}

/**
 * Token exchange (RFC 8693): who may have a token of whom, for what, and with how much of it. What is issued is never more than
 * the subject token: its subject, at most its scopes, no later than its end; and never more than the client's own ceiling.
 */
export const tokenExchange =
  (needs: GrantNeeds, refreshTokens: Pick<RefreshTokens, 'begin'>) =>
  async (request: GrantRequest): Promise<Granted | Refusal> => {
    const allowed = await judge(request, needs)
    if (isRefusal(allowed)) return allowed
    const spent = await spend(allowed.shown, needs.replays)
    if (spent) return spent
    const { tokens, subject, targets, order, binding } = allowed
    const { client } = request
    const refreshes = client.grants.includes('refresh_token')
    const family = { order, subject, targets, client, binding, id: randomUUID() }
    if (tokens.requested === tokenTypeUris.refresh_token) {
      const refresh = await refreshTokens.begin(family, [])
      if (!refresh) return tooLong()
      const body = {
        access_token: refresh.token,
        issued_token_type: tokenTypeUris.refresh_token,
        // RFC 8693, section 2.2.1: it is no token to access anything with.
        token_type: 'N_A',
        expires_in: refresh.expiresAt - refresh.issuedAt,
        ...(order.scopes.length > 0 && { scope: order.scopes.join(' ') }),
      }
      return { kind: 'granted', body }
    }
    const minted = await needs.issue(order, {
      actor: client.id,
      grant: 'token_exchange',
      detail: {
        by: subject.by.name === upstreamTokens ? subject.by.kind : subject.by.name,
        ...(order.actor && { act: order.actor.subject }),
      },
    })
    const body = { ...accessTokenAnswer(minted, order), issued_token_type: tokens.requested }
    // It spares showing the subject token again, and no more: it ends with it.
    const worth = refreshes && Math.floor(order.end ?? 0) > minted.expiresAt
    const refresh = worth ? await refreshTokens.begin(family, [minted]) : undefined
    return { kind: 'granted', body: { ...body, ...(refresh && { refresh_token: refresh.token }) } }
  }

async function judge(request: GrantRequest, { issuer, policy }: GrantNeeds): Promise<Allowed | Refusal> {
  const { client, params, now } = request
  const { exchange } = client
  if (!client.grants.includes('token_exchange') || !exchange)
    return refuse('unauthorized_client', 'grant_not_allowed', 'this client may not use this grant')
  const tokens = shownTokens(params, client.grants.includes('refresh_token'))
  if (isRefusal(tokens)) return tokens
  const { edges, verifiers, swaps, proofs, reserved } = policy()
  const shown = shownKeys(request, proofs)
  if (isRefusal(shown)) return shown

  const subject = await verified(tokens.subject, {
    verifiers: client.authentication.kind === 'federated' ? swaps : verifiers,
    now,
    reason: 'subject_refused',
    allowed: (found) => subjectFault(client, found),
  })
  if (isRefusal(subject)) return subject
  const actor =
    tokens.actor &&
    (await verified(tokens.actor, {
      verifiers,
      now,
      reason: 'actor_refused',
      // Who acts is one, and is there themselves: whoever acts for another is not the other.
      allowed: (found) =>
        found.actor ? 'the actor token is a delegation itself' : found.exchanged ? 'the actor token was exchanged' : undefined,
    }))
  if (actor && isRefusal(actor)) return actor
  const unproved = notProved(subject.confirmation, shown) ?? notProved(actor?.confirmation, shown)
  if (unproved) return unproved
  const ours = 'it is the name of a client or an agent'
  if (subject.by.kind !== 'own' && (await reserved(subject.subject)))
    return refuse(tokenNotAccepted, 'subject_not_allowed', 'no token is issued for this subject', ours)
  for (const name of foreignActors(subject, actor))
    if (await reserved(name)) return refuse(tokenNotAccepted, 'actor_refused', 'no token is issued that names this actor', ours)

  const acting = { subject, actor, client, issuer }
  const mayNot = mayActFault(acting)
  if (mayNot) return mayNot
  const { grants } = subject
  const targets = targetsOf(params, [...(grants ? [grants.audiences] : []), exchange.audiences], edges)
  if (isRefusal(targets)) return targets
  const act = actorOf(acting, targets.kind)
  if (act && isRefusal(act)) return act
  const edge = targets.kind === 'edge'
  // What was handed to an upstream is never a credential here, whatever it is swapped for.
  if (edge && subject.by.kind === 'own' && subject.by.name === upstreamTokens)
    return refuse(
      'invalid_target',
      'audience_not_allowed',
      'no token is issued for this target',
      'an upstream asks for a token for the edge',
    )
  const scopes = grantScopes(params, [subject.scopes, exchange.scopes])
  if (isRefusal(scopes)) return scopes
  const end = Math.min(subject.expiresAt, actor?.expiresAt ?? Number.POSITIVE_INFINITY)
  if (end < now / 1000 + 1) return refuse(tokenNotAccepted, 'subject_ends', 'the subject token, or the actor token, has ended')

  const binding = newBinding(shown, subject.confirmation, actor?.confirmation)
  // It says which resource an upstream's token is about, and goes on doing so.
  const resource = subject.by.kind === 'own' ? subject.claims['resource'] : undefined
  const order: TokenOrder = {
    kind: targets.kind,
    audience: audienceClaim(targets.audiences),
    subject: subjectFor(subject, targets.kind),
    client: client.id,
    roles: edge ? subject.roles : [],
    scopes,
    actor: act,
    task: subject.task,
    orchestration: subject.orchestration,
    confirmation: edge ? binding : undefined,
    claims: { [exchangedClaim]: true, ...(resource !== undefined && { resource }) },
    ttl: Math.min(exchange.maxTtl, longestLife, grants?.ttl ?? longestLife),
    end,
    now,
  }
  return fitsToken(order) ? { tokens, subject, targets, order, shown, binding } : tooLong()
}

/** Names of actors by the word of another issuer: what our token would say of them, it would say under our own name. */
function foreignActors(subject: TokenSubject, actor: TokenSubject | undefined): readonly string[] {
  const names = actor && actor.by.kind !== 'own' ? [actor.subject] : []
  if (subject.by.kind !== 'own') for (let one = subject.actor; one; one = one.actor) names.push(one.subject)
  return names
}
