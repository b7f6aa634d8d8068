import { readJsonObject } from '../core/json.ts'
import { type SignatureAlgorithm, suits } from '../core/jws.ts'
import type { Soon } from '../core/ports.ts'
import type { KeyAnswer, VerificationKeys } from '../core/verification-keys.ts'
import { HttpFailure, openHttpClient } from './http-client.ts'
import { type PublicJwk, readJwks } from './jwks-parse.ts'

export interface JwksOptions {
  /** Exactly as the issuer writes it; https, or http on loopback. */
  readonly issuer: string
  readonly algorithms: readonly SignatureAlgorithm[]
  /** Milliseconds between fetches; 6 h unless given. */
  readonly refreshMs?: number
  /** Milliseconds that the last good keys are used while no fetch succeeds; 24 h unless given. */
  readonly staleForMs?: number
  /** Milliseconds of one call; 2 s unless given. Discovery and the key set are a call each. */
  readonly timeoutMs?: number
  /** Milliseconds between two fetches for unknown key ids; 30 s unless given. */
  readonly cooldownMs?: number
  /** PEM of the authorities that the issuer's server is trusted by instead of the system's. */
  readonly ca?: string
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
  /** Told after each fetch. */
  readonly observe?: (condition: JwksCondition) => void
}

/** `Ready` conditions as Kubernetes writes them, for status page and CLI. */
export interface JwksCondition {
  readonly type: 'JWKSReady'
  readonly issuer: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: JwksReason
  readonly message: string
  readonly kids: readonly string[]
  /** Seconds since the keys in use were fetched; undefined where there are none. */
  readonly ageSeconds: number | undefined
}

export type JwksReason =
  | 'NotFetchedYet'
  | 'Fetched'
  /** The last fetch failed; keys of an earlier one are in use. */
  | 'UsingLastGood'
  | 'DiscoveryFailed'
  | 'IssuerMismatch'
  | 'KeySetFailed'
  | 'NoUsableKeys'
  /** Nothing was fetched for longer than the last good keys may be used. */
  | 'TooOld'

/** The public keys of one issuer, kept near. */
export interface Jwks extends VerificationKeys {
  /** At once where the key is in memory, or no fetch is due; else after the one fetch that all callers share. */
  readonly find: (kid: string | undefined, alg: SignatureAlgorithm) => Soon<KeyAnswer>
  readonly condition: () => JwksCondition
  /** Fetches now. Never rejects: what went wrong is in the condition. */
  readonly refresh: () => Promise<void>
  readonly close: () => void
}

class FetchFailed extends Error {
  readonly reason: JwksReason
  constructor(reason: JwksReason, message: string) {
    super(message)
    this.reason = reason
  }
}

const firstRetryMs = 500
const longestRetryMs = 30_000
// What setTimeout can hold; beyond it fires at once.
const longestTimerMs = 2 ** 31 - 1

/**
 * Begins to fetch an issuer's keys by OpenID Connect Discovery 1.0, section 4, and keeps them fresh. Returns at
 * once: an unreachable issuer never stops the start, and is tried again with growing pauses.
 */
export function openJwks(options: JwksOptions): Jwks {
  const { issuer, algorithms, refreshMs = 6 * 3_600_000, staleForMs = 24 * 3_600_000, cooldownMs = 30_000, clock = Date.now } = options
  const http = openHttpClient({ timeoutMs: options.timeoutMs ?? 2000, ...(options.ca !== undefined && { ca: options.ca }) })
  let keys: readonly PublicJwk[] | undefined
  // Answers already given, by algorithm and kid; only found ones, so that made-up kids fill no memory.
  let given = new Map<string, KeyAnswer>()
  let fetchedAt = 0
  let failure: FetchFailed | undefined
  let failures = 0
  let inFlight: Promise<void> | undefined
  let askedForUnknownAt = Number.NEGATIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const get = async (url: string, reason: JwksReason): Promise<string> => {
    try {
      const answer = await http.call(url)
      if (answer.status === 200) return answer.body
      throw new FetchFailed(reason, `${url} answered ${answer.status}`)
    } catch (cause) {
      throw cause instanceof HttpFailure ? new FetchFailed(reason, `${url}: ${cause.message}`) : cause
    }
  }

  const fetchKeys = async (): Promise<PublicJwk[]> => {
    const discovery = readJsonObject(await get(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, 'DiscoveryFailed'))
    if (!discovery) throw new FetchFailed('DiscoveryFailed', 'the discovery document is no JSON object')
    if (discovery['issuer'] !== issuer) throw new FetchFailed('IssuerMismatch', `the discovery document does not name the issuer ${issuer}`)
    const { jwks_uri: uri } = discovery
    if (typeof uri !== 'string') throw new FetchFailed('DiscoveryFailed', 'the discovery document has no jwks_uri')
    const found = readJwks(await get(uri, 'KeySetFailed'), algorithms)
    if (!found) throw new FetchFailed('KeySetFailed', `${uri} is no JWK Set`)
    return found
  }

  const schedule = (): void => {
    if (closed) return
    clearTimeout(timer)
    const pause = failure ? Math.min(firstRetryMs * 2 ** (failures - 1), longestRetryMs, refreshMs) : refreshMs
    // Spread, so that replicas do not all ask in one moment.
    timer = setTimeout(refresh, Math.min(pause * (0.9 + Math.random() * 0.2), longestTimerMs)).unref()
  }

  const refresh = (): Promise<void> => {
    inFlight ??= fetchKeys()
      .then(
        (found) => {
          keys = found
          given = new Map()
          fetchedAt = clock()
          failure = undefined
          failures = 0
        },
        (cause: unknown) => {
          failure = cause instanceof FetchFailed ? cause : new FetchFailed('KeySetFailed', 'the keys could not be read')
          failures++
        },
      )
      .finally(() => {
        inFlight = undefined
        schedule()
        if (!closed) options.observe?.(condition())
      })
    return inFlight
  }

  const inMemory = (kid: string | undefined, alg: SignatureAlgorithm): KeyAnswer | undefined => {
    if (!keys || clock() - fetchedAt > staleForMs) return undefined
    const known = given.get(`${alg} ${kid ?? ''}`)
    if (known) return known
    const fitting = keys.filter((key) => (key.alg === undefined || key.alg === alg) && suits(key.key, alg))
    const named = kid === undefined ? fitting : fitting.filter((key) => key.kid === kid)
    // Without a kid only a single key is an answer; two keys of one kid and kind would be a guess as well.
    if (named.length !== 1) return undefined
    const found: KeyAnswer = { kind: 'key', key: named[0]!.key }
    given.set(`${alg} ${kid ?? ''}`, found)
    return found
  }

  const notFound = (): KeyAnswer => {
    if (keys && keys.length > 0 && clock() - fetchedAt <= staleForMs && !failure) return { kind: 'unknown' }
    return { kind: 'unavailable', detail: `keys of ${issuer} cannot be had: ${condition().message}` }
  }

  const find = (kid: string | undefined, alg: SignatureAlgorithm): Soon<KeyAnswer> => {
    const found = inMemory(kid, alg)
    if (found) return found
    // No fetch can tell which of several keys a token without kid means.
    if (kid === undefined && keys && keys.length > 0 && clock() - fetchedAt <= staleForMs) return { kind: 'unknown' }
    const now = clock()
    if (!inFlight) {
      if (closed || now - askedForUnknownAt < cooldownMs) return notFound()
      askedForUnknownAt = now
    }
    return refresh().then(() => inMemory(kid, alg) ?? notFound())
  }

  const condition = (): JwksCondition => {
    const now = clock()
    const usable = keys !== undefined && now - fetchedAt <= staleForMs
    const [status, reason, message] = judge(usable)
    const kids = keys?.flatMap((key) => (key.kid === undefined ? [] : [key.kid])) ?? []
    const ageSeconds = keys ? Math.max(0, Math.round((now - fetchedAt) / 1000)) : undefined
    return { type: 'JWKSReady', issuer, status, reason, message, kids, ageSeconds }
  }

  const judge = (usable: boolean): [JwksCondition['status'], JwksReason, string] => {
    if (usable && keys!.length === 0) return ['False', 'NoUsableKeys', `the key set holds no key for ${algorithms.join(', ')}`]
    if (usable && failure) return ['True', 'UsingLastGood', failure.message]
    if (usable) return ['True', 'Fetched', `${keys!.length} keys`]
    if (keys) return ['False', 'TooOld', failure?.message ?? 'the keys are too old to be used']
    return failure ? ['False', failure.reason, failure.message] : ['Unknown', 'NotFetchedYet', 'not fetched yet']
  }

  void refresh()
  return {
    find,
    condition,
    refresh,
    close: () => {
      closed = true
      clearTimeout(timer)
      http.close()
    },
  }
}
