import type { OwnToken } from '../../core/issuer.ts'
import type { ReplayStore, Revocation, RevocationCheck, Soon } from '../../core/ports.ts'
import type { Issuance } from '../issuance.ts'
import type { SubjectVerifier, TokenSubject } from '../subject-token.ts'
import type { ProofRules } from './proof.ts'
import type { RefusalTrail } from './refusal.ts'

/** An audience that is a credential at the edge: that of a `postern` validator. */
export interface EdgeAudience {
  /** The validator's name. */
  readonly validator: string
  /** What it puts before each subject; may be empty. */
  readonly namespace: string
  /** The only roles that it may give; undefined: any. */
  readonly mayAssert: ReadonlySet<string> | undefined
}

/** What the policy in force says to the grants. */
export interface GrantPolicy {
  readonly edges: ReadonlyMap<string, EdgeAudience>
  /** Asked in turn about a subject or actor token. */
  readonly verifiers: readonly SubjectVerifier[]
  /** Those of them that are asked for who has no client: nobody else's keys or answers are of their business. */
  readonly swaps: readonly SubjectVerifier[]
  readonly proofs: ProofRules
  /** Whether a subject is one that only tokens of our own may name: a client's id, an agent's. */
  readonly reserved: (subject: string) => Soon<boolean>
  /** Whether what gave a subject is still part of the policy. */
  readonly trusts: (by: TokenSubject['by']) => boolean
  /** Whether the client or the agent that a token of ours was issued to is still there. */
  readonly stands: (token: OwnToken) => Soon<boolean>
}

/** Whom a revocation may concern. */
export type Whom = Parameters<RevocationCheck['check']>[0]

/** @param now milliseconds since the epoch. @throws {Unavailable} where it cannot be known */
export type Revoked = (whom: Whom, now: number) => boolean

export interface GrantNeeds {
  /** The `iss` of our tokens, and the audience of refresh tokens. */
  readonly issuer: string
  /** The policy in force now. */
  readonly policy: () => GrantPolicy
  readonly issue: Issuance
  readonly revoked: Revoked
  /** Durable, and in force on this replica, when it resolves. @throws {Unavailable} */
  readonly revoke: (revocation: Revocation) => Promise<void>
  readonly replays: ReplayStore
  readonly trail: RefusalTrail
}
