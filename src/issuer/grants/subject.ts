import type { TokenKind } from '../../core/issuer.ts'
import type { Client } from '../../core/issuer-client.ts'
import { Unavailable } from '../../core/ports.ts'
import type { SubjectVerifier, TokenSubject } from '../subject-token.ts'
import { type Refusal, type RefusalReason, refuse, tokenNotAccepted } from './refusal.ts'
import { type ShownToken, tokenTypeUris } from './token-kinds.ts'

/** The rule of the built-in client of those who have none: whichever accepts their token. */
export const anyRule = ''
/** The name of our own tokens for upstreams: they are of no validator. */
export const upstreamTokens = ''

export interface Verifying {
  readonly verifiers: readonly SubjectVerifier[]
  /** Whether a client may show the token of such a subject; a sentence for the trail where it may not. */
  readonly allowed: (subject: TokenSubject) => string | undefined
  /** What the trail calls it where nobody accepts it. */
  readonly reason: Extract<RefusalReason, 'subject_refused' | 'actor_refused'>
  /** Milliseconds since the epoch. */
  readonly now: number
}

/**
 * Asks the verifiers in turn, as the chain at the edge does: the first that accepts the token, and whose subjects the client may
 * show, wins; a refusal does not stop the rest. The client is told the same of all that went wrong.
 * @throws {Unavailable} where nobody accepts it, and one could not be asked
 */
export async function verified({ token, type }: ShownToken, asking: Verifying): Promise<TokenSubject | Refusal> {
  let why: string | undefined
  let unavailable: string | undefined
  let forbidden: string | undefined
  for (const verify of asking.verifiers) {
    const answer = await verify(token, asking.now)
    if (answer.kind === 'unavailable') unavailable ??= answer.detail
    else if (answer.kind === 'refused') why ??= answer.detail
    else if (answer.kind === 'subject') {
      const { subject } = answer
      const fault = subject.by.kind === 'own' && type === tokenTypeUris.id_token ? 'the token is no ID token' : asking.allowed(subject)
      if (fault === undefined) return subject
      forbidden ??= fault
    }
  }
  if (unavailable !== undefined) throw new Unavailable(unavailable)
  const what = asking.reason === 'actor_refused' ? 'actor_token' : 'subject_token'
  const forbids = asking.reason === 'actor_refused' ? asking.reason : 'subject_not_allowed'
  if (forbidden !== undefined) return refuse(tokenNotAccepted, forbids, `this client may not use this ${what}`, forbidden)
  return refuse(tokenNotAccepted, asking.reason, `${what} is not valid here`, why ?? 'no validator and no rule knows its issuer')
}

/** Whether a client may have tokens of this subject exchanged: a sentence where it may not. */
export function subjectFault(client: Client, subject: TokenSubject): string | undefined {
  const { exchange, authentication } = client
  const { kind, name } = subject.by
  if (!exchange) return 'the client has no rights to exchange'
  if (authentication.kind === 'federated' && kind !== 'federation') return 'without a client, only tokens of federation rules are swapped'
  if (authentication.kind === 'federated' && authentication.rule !== anyRule && name !== authentication.rule)
    return `the token is not of the federation rule ${authentication.rule}`
  if (exchange.subjectsOf ? !exchange.subjectsOf.has(name) : kind === 'federation' && authentication.kind !== 'federated')
    return `subjects_of does not name ${name === upstreamTokens ? 'what gave this subject' : name}`
  if (subject.exchanged && !exchange.exchanged) return 'the token comes of an exchange itself (exchange.exchanged)'
  // A token for an upstream is for nobody else to use.
  if (kind === 'own' && name === upstreamTokens && !audienceOf(subject).includes(client.id)) return 'the token is for another upstream'
  return undefined
}

const audienceOf = ({ claims }: TokenSubject): readonly unknown[] => [claims['aud']].flat()

/**
 * What a token of ours has for `sub`. At the edge our validator puts its namespace before it: a token that it admitted has its
 * own `sub` again, so that it is the same subject there.
 */
export const subjectFor = (subject: TokenSubject, kind: TokenKind): string => {
  const { sub } = subject.claims
  return kind === 'edge' && subject.by.kind === 'own' && typeof sub === 'string' ? sub : subject.subject
}

/** Whom a revocation of the subject may concern. */
export function whomOf({ by, claims, subject, actor, client, task }: TokenSubject) {
  const { jti, iat, sub } = claims
  return {
    ...(typeof jti === 'string' && { tokenId: jti }),
    subject,
    rawSubject: typeof sub === 'string' ? sub : subject,
    issuedAt: typeof iat === 'number' ? iat : 0,
    ...(actor && { actor }),
    // What our issuer wrote into its own tokens revokes those alone.
    ...(by.kind === 'own' && { issued: { ...(client !== undefined && { client }), ...(task !== undefined && { task }) } }),
  }
}
