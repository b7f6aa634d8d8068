import { type OwnToken, tokenTypes } from '../../core/issuer.ts'
import { clockSkew } from '../../core/jwt.ts'
import type { IsRevoked } from '../issuance.ts'

export interface PresentedNeeds {
  /** Verifies our own tokens; see own-token.ts. */
  readonly verify: (token: string, now: number) => OwnToken | undefined
  readonly isRevoked: IsRevoked
  /** Told of each token whose times alone are wrong, by no more than clocks may be apart, or that comes of the future. */
  readonly onClockSkew: () => void
}

/** Which of our tokens are meant. */
export interface Wanted {
  readonly kind: 'edge' | 'app'
  readonly audience: string
}

/**
 * Reads a token that somebody presents to the broker: one of ours, of the kind and audience that are wanted, neither expired
 * nor revoked. One that is bound to a key (`cnf`) is refused: nothing here could prove it.
 * @param now milliseconds since the epoch
 * @throws {Unavailable} where it cannot be known whether it was revoked
 */
export type ReadPresented = (token: string, wanted: Wanted, now: number) => OwnToken | undefined

export const readingPresented =
  ({ verify, isRevoked, onClockSkew }: PresentedNeeds): ReadPresented =>
  (text, { kind, audience }, now) => {
    const token = verify(text, now)
    if (!token) {
      if (verify(text, now - clockSkew * 1000)) onClockSkew()
      return undefined
    }
    if (token.typ !== tokenTypes[kind] || !token.audience.includes(audience) || token.confirmation) return undefined
    if (token.issuedAt > now / 1000 + clockSkew) {
      onClockSkew()
      return undefined
    }
    return isRevoked(token) ? undefined : token
  }
