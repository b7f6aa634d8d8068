import { LRUCache } from 'lru-cache'
import type { BearerToken } from '../core/bearer-token.ts'
import { clockSkew } from '../core/jwt.ts'
import type { TokenRequest } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'

/** A downstream token in use. Times are milliseconds since the epoch. */
export interface KeptToken {
  readonly token: BearerToken
  readonly principal: Principal
  readonly expiresAt: number
  readonly renewAt: number
  /** It lives as long as the principal's credential lets it: a new one would live no longer. */
  readonly final: boolean
  /** When a renewal failed last. */
  failedAt: number
  /** The last renewal found the token endpoint out of reach: waiting for another would only spend the caller's deadline. */
  outage: boolean
}

/** Downstream tokens by their key, those used least recently forgotten first. */
export interface KeptTokens {
  readonly get: (key: string) => KeptToken | undefined
  /** As `get`, but no use of it. */
  readonly peek: (key: string) => KeptToken | undefined
  /** @param expiresAt seconds since the epoch */
  readonly keep: (key: string, token: BearerToken, expiresAt: number, request: TokenRequest) => void
  /** Drops those of the principals concerned; returns how many went. */
  readonly purge: (concerns: (principal: Principal) => boolean) => number
  readonly size: () => number
}

/** Milliseconds between sweeps of tokens that have ended: without them, as many as fit would stay for good. */
const sweepMs = 10_000

/** @param max tokens kept */
export function createKeptTokens(max: number): KeptTokens {
  const kept = new LRUCache<string, KeptToken>({ max })
  let sweptAt = Number.NEGATIVE_INFINITY

  const sweep = (now: number): void => {
    if (Math.abs(now - sweptAt) < sweepMs) return
    sweptAt = now
    for (const [key, entry] of kept.entries()) if (entry.expiresAt <= now) kept.delete(key)
  }

  return {
    get: (key) => kept.get(key),
    peek: (key) => kept.peek(key),
    keep: (key, token, expiresAtSeconds, { principal, now }) => {
      sweep(now)
      const expiresAt = expiresAtSeconds * 1000
      kept.set(key, {
        token,
        principal,
        expiresAt,
        renewAt: expiresAt - (expiresAt - now) / 3,
        final: expiresAtSeconds >= Math.floor(principal.expiresAt + clockSkew),
        failedAt: Number.NEGATIVE_INFINITY,
        outage: false,
      })
    },
    purge: (concerns) => {
      let gone = 0
      // `forEach` takes a third of the time of `entries`: all of them are looked at, in the thread that checks.
      kept.forEach(({ principal }, key) => {
        if (concerns(principal) && kept.delete(key)) gone++
      })
      return gone
    },
    size: () => kept.size,
  }
}
