import { randomUUID } from 'node:crypto'
import { actClaim } from '../core/actor.ts'
import type { Confirmation } from '../core/confirmation.ts'
import { adminScopes, type EdgeToken, type Minted, type PageToken, type TokenOrder, tokenTypes } from '../core/issuer.ts'
import type { JsonObject } from '../core/json.ts'
import { clockSkew } from '../core/jwt.ts'
import { maxPageLife, pageAudience, pageType } from '../core/management-plane.ts'
import type { TokenRequest } from '../core/ports.ts'
import type { Actor } from '../core/principal.ts'
import { narrow } from '../core/scopes.ts'

/** What minting asks of the key ring. */
export interface Signer {
  readonly sign: (payload: JsonObject, typ: string) => string
}

export interface MintOptions {
  /** The `iss` of every token: the issuer's URL, exactly. */
  readonly issuer: string
  readonly signer: Signer
  /** `admin.audience`. */
  readonly adminAudience: string
}

/** Mints tokens, each kind with an audience and a `typ` of its own. Throws what the signer throws. */
export interface Mint {
  /**
   * A downstream token: the principal's subject, at most its scopes, and a life no longer than its credential's.
   * @returns undefined where the principal's own credential has ended
   */
  readonly downstream: (request: Omit<TokenRequest, 'via'>) => Minted | undefined
  readonly edge: (token: EdgeToken) => Minted
  /** A token of the token service, as its policy has ordered it. */
  readonly ordered: (order: TokenOrder) => Minted
  /** @param now milliseconds since the epoch */
  readonly admin: (subject: string, now: number) => Minted
}

export const adminType = 'postern-admin+jwt'

/** Seconds. */
const maxDownstreamLife = 300
const adminLife = 300

/** Mints by a signer; each token gets `iss`, `iat`, `exp` and a `jti` of its own. */
export function createMint({ issuer, signer, adminAudience }: MintOptions): Mint {
  const mint = minting(issuer, signer)
  return {
    downstream: ({ principal, workload, audience, scope, ttl, resource, now }) => {
      const end = principal.expiresAt + clockSkew
      if (Math.floor(end) <= now / 1000) return undefined
      const granted = narrow(principal.scopes, scope)
      const actor = actorOf(workload, principal.actor)
      return mint(tokenTypes.upstream, now, Math.min(ttl, maxDownstreamLife), end, {
        sub: principal.subject,
        aud: audience,
        ...(granted.length > 0 && { scope: granted.join(' ') }),
        ...(actor && { act: actor }),
        ...(resource !== undefined && { resource }),
      })
    },
    edge: ({ audience, subject, roles, scopes, ttl, now }) =>
      mint(tokenTypes.edge, now, ttl, Number.POSITIVE_INFINITY, {
        sub: subject,
        aud: audience,
        ...(roles.length > 0 && { roles: [...roles] }),
        ...(scopes.length > 0 && { scope: scopes.join(' ') }),
      }),
    ordered: (order) => {
      const { confirmation, actor, audience } = order
      return mint(tokenTypes[order.kind], order.now, order.ttl, order.end ?? Number.POSITIVE_INFINITY, {
        ...order.claims,
        sub: order.subject,
        aud: typeof audience === 'string' ? audience : [...audience],
        ...(order.client !== undefined && { client_id: order.client }),
        ...(order.roles && order.roles.length > 0 && { roles: [...order.roles] }),
        ...(order.scopes.length > 0 && { scope: order.scopes.join(' ') }),
        ...(actor && { act: actClaim(actor) }),
        ...(order.task !== undefined && { task_id: order.task }),
        ...(order.orchestration !== undefined && { orch_id: order.orchestration }),
        ...(confirmation && { cnf: cnfClaim(confirmation) }),
      })
    },
    admin: (subject, now) =>
      mint(adminType, now, adminLife, Number.POSITIVE_INFINITY, { sub: subject, aud: adminAudience, scope: adminScopes.join(' ') }),
  }
}

/**
 * Mints page tokens (RFC 7519), by a signer of their own: with their own `typ` and audience none is ever taken for another
 * token of ours. None lives longer than 60 s.
 */
export function createPageMint({ issuer, signer }: Pick<MintOptions, 'issuer' | 'signer'>): (token: PageToken) => Minted {
  const mint = minting(issuer, signer)
  return ({ subject, roles, scopes, ttl, now }) =>
    mint(pageType, now, Math.min(ttl, maxPageLife), Number.POSITIVE_INFINITY, {
      sub: subject,
      aud: pageAudience,
      ...(roles.length > 0 && { roles: [...roles] }),
      ...(scopes.length > 0 && { scope: scopes.join(' ') }),
    })
}

/** @param life seconds from `now` @param end seconds since the epoch: no token lives longer */
type Minting = (typ: string, now: number, life: number, end: number, claims: JsonObject) => Minted

const minting =
  (issuer: string, signer: Signer): Minting =>
  (typ, now, life, end, claims) => {
    const issuedAt = Math.floor(now / 1000)
    const expiresAt = Math.floor(Math.min(issuedAt + life, end))
    const id = randomUUID()
    const token = signer.sign({ ...claims, iss: issuer, iat: issuedAt, exp: expiresAt, jti: id }, typ)
    return { token, id, issuedAt, expiresAt }
  }

/** `act` (RFC 8693, section 4.1): the workload that acts now outermost, those that acted before it inside. */
function actorOf(workload: string | undefined, before: Actor | undefined): JsonObject | undefined {
  const inner = before && actClaim(before)
  return workload === undefined ? inner : { sub: workload, ...(inner && { act: inner }) }
}

const cnfClaim = ({ x5tS256, jkt }: Confirmation): JsonObject => ({
  ...(x5tS256 !== undefined && { 'x5t#S256': x5tS256 }),
  ...(jkt !== undefined && { jkt }),
})
