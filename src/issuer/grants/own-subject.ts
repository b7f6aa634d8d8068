import { type OwnToken, tokenTypes } from '../../core/issuer.ts'
import { parseJwt } from '../../core/jwt.ts'
import type { SubjectAnswer, SubjectVerifier, TokenSubject } from '../subject-token.ts'
import type { EdgeAudience, GrantPolicy, Revoked } from './policy.ts'
import { upstreamTokens, whomOf } from './subject.ts'

/** The claim that marks a token that came of an exchange. */
export const exchangedClaim = 'exchanged'

export interface OwnSubjectsOptions {
  readonly issuer: string
  readonly verify: (token: string, now: number) => OwnToken | undefined
  readonly revoked: Revoked
  readonly edges: ReadonlyMap<string, EdgeAudience>
  readonly stands: GrantPolicy['stands']
}

const refused = (detail: string): SubjectAnswer => ({ kind: 'refused', detail })

/**
 * Verifies tokens of our own as subject tokens: those for the edge, as the edge takes them, and those for upstreams, which only
 * the upstream may use that they are for. Admin, page, app and refresh tokens say nothing of a subject.
 */
export const ownSubjects =
  ({ issuer, verify, revoked, edges, stands }: OwnSubjectsOptions): SubjectVerifier =>
  async (text, now) => {
    if (parseJwt(text)?.payload['iss'] !== issuer) return { kind: 'unknown' }
    const token = verify(text, now)
    if (!token) return refused('the token is none of ours that is valid now')
    const edge = token.audience.flatMap((audience) => edges.get(audience) ?? [])[0]
    if (token.typ === tokenTypes.edge) {
      if (!edge) return refused('aud is that of no postern validator')
    } else if (token.typ !== tokenTypes.upstream) return refused(`typ is ${token.typ}: such a token is no subject token`)
    const subject = subjectOf(token, token.typ === tokenTypes.edge ? edge : undefined)
    if (revoked(whomOf(subject), now)) return refused('the token, or whoever it names, has been revoked')
    if (!(await stands(token))) return refused('the client or agent that it was issued to is not there any more')
    return { kind: 'subject', subject }
  }

function subjectOf(token: OwnToken, edge: EdgeAudience | undefined): TokenSubject {
  const { mayAssert } = edge ?? {}
  return {
    by: { kind: 'own', name: edge?.validator ?? upstreamTokens },
    subject: (edge?.namespace ?? '') + token.subject,
    // Upstream tokens have no roles; if one had, it would mean nothing.
    roles: edge ? token.roles.filter((role) => mayAssert?.has(role) ?? true) : [],
    scopes: token.scopes,
    claims: token.claims,
    actor: token.actor,
    confirmation: token.confirmation,
    expiresAt: token.expiresAt,
    client: token.client,
    task: token.task,
    orchestration: token.orchestration,
    exchanged: edge === undefined || token.claims[exchangedClaim] === true,
  }
}
