import { LRUCache } from 'lru-cache'
import { BearerToken } from '../core/bearer-token.ts'
import type { DownstreamTokens, TokenAnswer, TokenRequest } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'
import { tokenKey } from './downstream-key.ts'
import { createKeptTokens, type KeptToken } from './kept-tokens.ts'
import type { StsClient } from './sts-client.ts'

/** Mints in process; undefined where the principal's own credential has ended. `expiresAt` in seconds since the epoch. */
export type MintDownstream = (request: TokenRequest) => { readonly token: string; readonly expiresAt: number } | undefined

/** What makes tokens; replaced as a whole when the policy is. */
export interface DownstreamSettings {
  readonly realm: string
  /** A digest of every setting that has a say in a token: tokens made under other settings are never found again. */
  readonly digest: string
  /** undefined where there is no issuer. */
  readonly mint: MintDownstream | undefined
  /** By name under `sts`. */
  readonly sts: ReadonlyMap<string, Pick<StsClient, 'identity' | 'exchange' | 'breaker'>>
}

export interface DownstreamOptions {
  readonly settings: DownstreamSettings
  /** Tokens kept; 100,000 unless given. */
  readonly max?: number
  /** Exchanges under way at once; 1,000 unless given. */
  readonly maxPending?: number
}

/** Downstream tokens, made and kept near. */
export interface DownstreamCache extends DownstreamTokens {
  readonly configure: (settings: DownstreamSettings) => void
  /** Drops what was made for these principals, and what is being made for them; returns how many tokens went. */
  readonly purge: (concerns: (principal: Principal) => boolean) => number
  readonly stats: () => DownstreamStats
}

/** For status and metrics. */
export interface DownstreamStats {
  readonly size: number
  readonly pending: number
  readonly hits: number
  readonly misses: number
  /** Renewals begun while the token in use was still good. */
  readonly renewals: number
  readonly breakers: ReadonlyMap<string, ReturnType<StsClient['breaker']>>
}

interface Pending {
  readonly principal: Principal
  readonly answer: Promise<TokenAnswer>
  /** Revoked while under way: what comes is neither kept nor handed out. */
  purged: boolean
}

/** A token with less than this left may end on its way. */
const leastLeftMs = 5000
/** A refusal is remembered this long, so that a flood of refused requests does not become one at the token endpoint. */
const refusalMs = 1000
const renewalPauseMs = 1000

/**
 * Downstream tokens, kept near: at once from memory or from the issuer in process, by one exchange at a time
 * for one key from a token endpoint. A token in use is renewed ahead, when a third of its life is left.
 */
export function downstreamTokens(options: DownstreamOptions): DownstreamCache {
  const { maxPending = 1000 } = options
  let settings = options.settings
  const kept = createKeptTokens(options.max ?? 100_000)
  const refusals = new LRUCache<string, { readonly detail: string; readonly until: number }>({ max: 10_000 })
  const pending = new Map<string, Pending>()
  const counts = { hits: 0, misses: 0, renewals: 0 }

  const keep = (key: string, text: string, expiresAt: number, request: TokenRequest): TokenAnswer => {
    const token = BearerToken.of(text)
    if (!token) return { kind: 'refused', detail: 'the token holds what may not stand in a header' }
    kept.keep(key, token, expiresAt, request)
    return { kind: 'token', token, cache: 'miss' }
  }

  const mintNow = (key: string, request: TokenRequest): TokenAnswer => {
    if (!settings.mint) return { kind: 'refused', detail: 'there is no issuer to mint downstream tokens' }
    const minted = settings.mint(request)
    if (!minted) return { kind: 'refused', detail: 'the credential has ended' }
    return keep(key, minted.token, minted.expiresAt, request)
  }

  /** A signature takes longer than the check that found it due, so it is made after the answers of this turn. */
  const mintSoon = (key: string, old: KeptToken, request: TokenRequest): void => {
    const madeUnder = settings
    // The pause before another try is also what keeps it to one.
    old.failedAt = request.now
    setImmediate(() => {
      // Purged, or made under settings that are gone, meanwhile: it is not to come back.
      if (kept.peek(key) !== old || settings !== madeUnder) return
      try {
        mintNow(key, request)
      } catch {
        // The old one is good for a while; the next check after the pause tries again.
      }
    })
  }

  const exchange = (key: string, name: string, request: TokenRequest): TokenAnswer | Promise<TokenAnswer> => {
    const under = pending.get(key)
    if (under) return under.answer
    const client = settings.sts.get(name)
    if (!client) return { kind: 'refused', detail: `there is no sts named ${name}` }
    if (pending.size >= maxPending) return { kind: 'unavailable', detail: `${maxPending} exchanges are under way` }
    const leave = (): void => {
      // After a purge another exchange may have taken this place.
      if (pending.get(key) === entry) pending.delete(key)
    }
    const settle = client.exchange(request).then(
      (answer): TokenAnswer => {
        leave()
        if (entry.purged) return { kind: 'refused', detail: 'revoked during the exchange' }
        if (answer.kind === 'token') return keep(key, answer.token, answer.expiresAt, request)
        if (answer.kind === 'refused') refusals.set(key, { detail: answer.detail, until: request.now + refusalMs })
        const old = kept.peek(key)
        if (old) {
          old.failedAt = request.now
          old.outage = answer.kind === 'unavailable'
        }
        return answer
      },
      (): TokenAnswer => {
        leave()
        return { kind: 'unavailable', detail: `sts ${name}: the exchange failed` }
      },
    )
    const entry: Pending = { principal: request.principal, answer: settle, purged: false }
    pending.set(key, entry)
    return settle
  }

  const obtainNew = (key: string, request: TokenRequest): TokenAnswer | Promise<TokenAnswer> => {
    if (request.via === 'issuer') return mintNow(key, request)
    const refusal = refusals.get(key)
    if (refusal && request.now < refusal.until && request.now >= refusal.until - refusalMs)
      return { kind: 'refused', detail: refusal.detail }
    return exchange(key, request.via.sts, request)
  }

  /** A token that is about to end, where a better one cannot be had right now. */
  const orLast = (answer: TokenAnswer, last: KeptToken | undefined, key: string, now: number): TokenAnswer =>
    answer.kind === 'unavailable' && last && kept.peek(key) === last && last.expiresAt > now
      ? { kind: 'token', token: last.token, cache: 'hit' }
      : answer

  const obtain: DownstreamTokens['obtain'] = (request) => {
    const { now } = request
    const key = tokenKey(settings, request)
    const found = kept.get(key)
    const left = found ? found.expiresAt - now : 0
    if (found && left > 0 && (left >= leastLeftMs || found.final || found.outage)) {
      const due = now >= found.renewAt && !found.final && now - found.failedAt >= renewalPauseMs
      if (due && !pending.has(key)) {
        counts.renewals++
        if (request.via === 'issuer') mintSoon(key, found, request)
        else void obtainNew(key, request)
      }
      counts.hits++
      return { kind: 'token', token: found.token, cache: 'hit' }
    }
    counts.misses++
    const answer = obtainNew(key, request)
    return answer instanceof Promise ? answer.then((late) => orLast(late, found, key, now)) : orLast(answer, found, key, now)
  }

  return {
    obtain,
    configure: (next) => {
      settings = next
    },
    purge: (concerns) => {
      for (const [key, entry] of pending) {
        if (!concerns(entry.principal)) continue
        entry.purged = true
        pending.delete(key)
      }
      return kept.purge(concerns)
    },
    stats: () => ({
      size: kept.size(),
      pending: pending.size,
      ...counts,
      breakers: new Map([...settings.sts].map(([name, client]) => [name, client.breaker()])),
    }),
  }
}
