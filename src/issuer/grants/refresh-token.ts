import { type Minted, type OwnToken, type TokenOrder, tokenTypes } from '../../core/issuer.ts'
import type { Client } from '../../core/issuer-client.ts'
import type { GrantRequest } from '../grants.ts'
import type { TokenSubject } from '../subject-token.ts'
import { grantScopes } from './ceilings.ts'
import { accessTokenAnswer, audienceClaim, longestLife } from './client-credentials.ts'
import type { Families } from './families.ts'
import { many, one } from './params.ts'
import type { GrantNeeds } from './policy.ts'
import { newBinding, notProved, type ShownKeys, shownKeys, spend } from './proof.ts'
import { type Origin, originOf, type RefreshClaims, readRefreshClaims, refreshOrder } from './refresh-claims.ts'
import { type Granted, isRefusal, type Refusal, refuse } from './refusal.ts'
import { subjectFault } from './subject.ts'
import { type Targets, targetsOf } from './targets.ts'
import { fitsToken } from './token-size.ts'

/** The first refresh token of an exchange. */
export interface NewFamily {
  readonly id: string
  /** Of the access token. */
  readonly order: TokenOrder
  readonly subject: TokenSubject
  readonly targets: Targets
  readonly client: Client
  /** What the client proved, and proves again with each use. */
  readonly binding: TokenOrder['confirmation']
}

export interface RefreshTokens {
  /**
   * @param given access tokens that were issued with it
   * @returns undefined where the token would be too long to be read
   * @throws {Unavailable}
   */
  readonly begin: (family: NewFamily, given: readonly Minted[]) => Promise<Minted | undefined>
  readonly grant: (request: GrantRequest) => Promise<Granted | Refusal>
}

export interface RefreshNeeds extends GrantNeeds {
  readonly verify: (token: string, now: number) => OwnToken | undefined
  readonly families: Families
}

const grant = 'refresh_token'
const notValid = (detail: string): Refusal => refuse('invalid_grant', 'refresh_refused', 'refresh_token is not valid', detail)

interface Allowed {
  readonly token: OwnToken
  readonly said: RefreshClaims
  readonly order: TokenOrder
  readonly shown: ShownKeys
}

/**
 * Refresh tokens (RFC 6749, section 6): they spare a client showing the subject token again, and no more. Each is good once and
 * ends with the subject token; whoever uses one a second time ends the family, since one of two is a thief (RFC 9700, section
 * 4.14.2).
 */
export function refreshTokens(needs: RefreshNeeds): RefreshTokens {
  const { issuer, issue, families, trail } = needs
  const issueRefresh = (order: TokenOrder, client: string): Promise<Minted> => issue(order, { actor: client, grant })

  const reused = async (family: string, { client, now }: GrantRequest): Promise<Refusal> => {
    const tokens = await families.end(family, now)
    const detail = { level: 'token', tokens: [...tokens] }
    await trail.record({ type: 'token_revoked', outcome: 'success', actor: client.id, reason: 'refresh_reused', target: family, detail })
    return refuse(
      'invalid_grant',
      'refresh_reused',
      'refresh_token is not valid',
      'it was used before: all that came of its exchange is revoked',
    )
  }

  return {
    begin: async ({ id, order, subject, targets, client, binding }, given) => {
      const begun = Math.floor(order.now / 1000)
      const end = Math.min(order.end ?? Number.POSITIVE_INFINITY, begun + longestLife)
      const claims = { family: id, turn: 0, begun, targets, origin: originOf(subject), claims: order.claims ?? {} }
      const refresh = refreshOrder({ ...order, confirmation: binding, ttl: longestLife, end }, issuer, claims)
      if (!fitsToken(refresh)) return undefined
      await families.begin({ id, client: client.id, subject: subject.subject, until: Math.ceil(end) }, given)
      return issueRefresh(refresh, client.id)
    },

    grant: async (request) => {
      const allowed = await judge(request, needs)
      if (isRefusal(allowed)) return allowed
      const { token, said, order, shown } = allowed
      const { client, now } = request
      const spent = await spend(shown, needs.replays)
      if (spent) return spent
      const turn = await families.take(said.family, said.turn)
      if (turn === 'spent') return reused(said.family, request)
      if (turn === 'ended') return notValid('its family has ended')
      const minted = await issue(order, { actor: client.id, grant, detail: { by: said.origin.name || said.origin.kind } })
      if (!(await turn.give(minted, now))) return notValid('its family was ended meanwhile')
      const body = accessTokenAnswer(minted, order)
      if (token.expiresAt <= minted.expiresAt) return { kind: 'granted', body }
      // The next one has all that this one has, whatever was asked of this turn (RFC 6749, section 6).
      const next = { ...token, ttl: longestLife, end: token.expiresAt, now }
      const refresh = await issueRefresh(refreshOrder(next, issuer, { ...said, turn: said.turn + 1 }), client.id)
      return { kind: 'granted', body: { ...body, refresh_token: refresh.token } }
    },
  }
}

async function judge(request: GrantRequest, { issuer, policy, revoked, verify }: RefreshNeeds): Promise<Allowed | Refusal> {
  const { client, params, now } = request
  const { exchange } = client
  if (!client.grants.includes('refresh_token') || !exchange)
    return refuse('unauthorized_client', 'grant_not_allowed', 'this client may not use this grant')
  const shownToken = one(params, 'refresh_token')
  if (shownToken === undefined || many(params, 'refresh_token').length > 1 || many(params, 'scope').length > 1)
    return refuse('invalid_request', 'malformed_request', 'expected one refresh_token, and one scope at most')
  const token = verify(shownToken, now)
  if (token?.typ !== tokenTypes.refresh || !token.audience.includes(issuer))
    return notValid('it is no refresh token of ours that is valid now')
  const said = readRefreshClaims(token)
  if (!said) return notValid('it is of another form')
  if (token.client !== client.id) return notValid('it was issued to another client')

  const { edges, proofs, stands, trusts } = policy()
  if (!trusts(said.origin)) return notValid('the validator or rule that gave its subject is not in the policy any more')
  if (whoms(token, said).some((whom) => revoked(whom, now)))
    return refuse('invalid_grant', 'revoked', 'refresh_token is not valid', 'it, or whoever it names, has been revoked')
  if (said.origin.kind === 'own' && !(await stands({ ...token, subject: said.origin.rawSubject, client: said.origin.client })))
    return notValid('the client or agent whose token was exchanged is not there any more')
  const fault = subjectFault(client, asSubject(said.origin, client))
  if (fault !== undefined) return refuse('invalid_grant', 'subject_not_allowed', 'refresh_token is not valid', fault)

  const shown = shownKeys(request, proofs)
  if (isRefusal(shown)) return shown
  const unproved = notProved(token.confirmation, shown)
  if (unproved) return unproved
  const targets = targetsOf(params, [said.targets.audiences, exchange.audiences], edges)
  if (isRefusal(targets)) return targets
  if (targets.kind !== said.targets.kind) return refuse('invalid_target', 'audience_not_allowed', 'no token is issued for this target')
  const scopes = grantScopes(params, [token.scopes, exchange.scopes])
  if (isRefusal(scopes)) return scopes
  if (token.expiresAt < now / 1000 + 1) return notValid('it ends now')
  const edge = targets.kind === 'edge'
  const order: TokenOrder = {
    kind: targets.kind,
    audience: audienceClaim(targets.audiences),
    subject: token.subject,
    client: client.id,
    roles: edge ? token.roles : [],
    scopes,
    actor: token.actor,
    task: token.task,
    orchestration: token.orchestration,
    confirmation: edge ? newBinding(shown, token.confirmation) : undefined,
    claims: said.claims,
    ttl: Math.min(exchange.maxTtl, longestLife),
    end: token.expiresAt,
    now,
  }
  return { token, said, order, shown }
}

/** Whom a revocation may concern: this token and its family since it began, and the token that was exchanged. */
function whoms(token: OwnToken, { origin, begun }: RefreshClaims) {
  const { subject, rawSubject, tokenId, issuedAt, client } = origin
  const acts = token.actor && { actor: token.actor }
  const task = token.task !== undefined && { task: token.task }
  return [
    {
      tokenId: token.id,
      subject,
      rawSubject: token.subject,
      issuedAt: begun,
      ...acts,
      issued: { ...(token.client !== undefined && { client: token.client }), ...task },
    },
    {
      ...(tokenId !== undefined && { tokenId }),
      subject,
      rawSubject,
      issuedAt,
      ...(origin.kind === 'own' && { issued: { ...(client !== undefined && { client }), ...task } }),
    },
  ]
}

/** The subject token as the rights of the client see it: it was the client's to show when it was exchanged. */
const asSubject = (origin: Origin, client: Client): Parameters<typeof subjectFault>[1] => ({
  by: { kind: origin.kind, name: origin.name },
  subject: origin.subject,
  roles: [],
  scopes: [],
  claims: { aud: client.id },
  actor: undefined,
  confirmation: undefined,
  expiresAt: 0,
  client: origin.client,
  task: undefined,
  orchestration: undefined,
  exchanged: origin.exchanged,
})
