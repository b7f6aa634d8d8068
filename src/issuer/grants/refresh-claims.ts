import { type OwnToken, type TokenOrder, tokenTypes } from '../../core/issuer.ts'
import { isJsonObject, type Json, type JsonObject } from '../../core/json.ts'
import type { TokenSubject } from '../subject-token.ts'
import { whomOf } from './subject.ts'
import type { Targets } from './targets.ts'

/** What a refresh token remembers beside what every token of ours says: all that is needed to order the next one. */
export interface RefreshClaims {
  /** Names all tokens that came of one exchange. */
  readonly family: string
  /** How often it was rotated. */
  readonly turn: number
  /** Seconds since the epoch: when the family began. */
  readonly begun: number
  readonly targets: Targets
  /** Whose token was exchanged, and which. */
  readonly origin: Origin
  /** Claims that the tokens go on having. */
  readonly claims: JsonObject
}

/** The subject token of the exchange. */
export interface Origin {
  readonly kind: TokenSubject['by']['kind']
  readonly name: string
  readonly subject: string
  readonly rawSubject: string
  readonly tokenId: string | undefined
  /** Seconds since the epoch. */
  readonly issuedAt: number
  readonly client: string | undefined
  readonly exchanged: boolean
}

export const originOf = (subject: TokenSubject): Origin => {
  const { rawSubject, issuedAt, tokenId } = { tokenId: undefined, ...whomOf(subject) }
  const { by, client, exchanged } = subject
  return { ...by, subject: subject.subject, rawSubject, tokenId, issuedAt, client, exchanged }
}

/** As claims of the token. */
export const refreshClaims = ({ family, turn, begun, targets, origin, claims }: RefreshClaims): JsonObject => ({
  family,
  turn,
  begun,
  for: [...targets.audiences],
  use: targets.kind,
  carried: claims,
  origin: {
    kind: origin.kind,
    name: origin.name,
    subject: origin.subject,
    raw: origin.rawSubject,
    issued_at: origin.issuedAt,
    exchanged: origin.exchanged,
    ...(origin.tokenId !== undefined && { jti: origin.tokenId }),
    ...(origin.client !== undefined && { client: origin.client }),
  },
})

/** Reads what {@link refreshClaims} wrote. @returns undefined where it is of another form: one that an older version wrote */
export function readRefreshClaims({ claims }: Pick<OwnToken, 'claims'>): RefreshClaims | undefined {
  const { family, turn, begun, use, origin, carried } = claims
  const [first, ...more] = texts(claims['for'])
  if (typeof family !== 'string' || typeof turn !== 'number' || typeof begun !== 'number' || first === undefined) return undefined
  if ((use !== 'edge' && use !== 'upstream') || !isJsonObject(carried) || !isJsonObject(origin)) return undefined
  const read = readOrigin(origin)
  return read && { family, turn, begun, targets: { audiences: [first, ...more], kind: use }, origin: read, claims: carried }
}

function readOrigin(origin: JsonObject): Origin | undefined {
  const { kind, name, subject, raw, issued_at, jti, client, exchanged } = origin
  if (kind !== 'validator' && kind !== 'federation' && kind !== 'own') return undefined
  if (typeof name !== 'string' || typeof subject !== 'string' || typeof raw !== 'string' || typeof issued_at !== 'number') return undefined
  return {
    kind,
    name,
    subject,
    rawSubject: raw,
    issuedAt: issued_at,
    tokenId: typeof jti === 'string' ? jti : undefined,
    client: typeof client === 'string' ? client : undefined,
    exchanged: exchanged === true,
  }
}

const texts = (value: Json | undefined): readonly string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : []

/** The order of a refresh token: for our own token endpoint, and with what the next access token is to have. */
export const refreshOrder = (
  of: Pick<
    TokenOrder,
    'subject' | 'client' | 'roles' | 'scopes' | 'actor' | 'task' | 'orchestration' | 'confirmation' | 'ttl' | 'end' | 'now'
  >,
  issuer: string,
  claims: RefreshClaims,
): TokenOrder => ({ ...of, kind: 'refresh', audience: issuer, claims: refreshClaims(claims) })

/** The family of a refresh token, and its turn in it; undefined for every other token. */
export const turnOf = (token: OwnToken): Pick<RefreshClaims, 'family' | 'turn'> | undefined =>
  token.typ === tokenTypes.refresh ? readRefreshClaims(token) : undefined

/** The family of a refresh token; undefined for every other token. */
export const familyOf = (token: OwnToken): string | undefined => turnOf(token)?.family
