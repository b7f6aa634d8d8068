import type { CertificateTexts } from '../core/certificates.ts'
import { type SignatureAlgorithm, signatureAlgorithms, suits } from '../core/jws.ts'
import type { Soon } from '../core/ports.ts'
import type { KeyAnswer, VerificationKeys } from '../core/verification-keys.ts'
import { bodyOf, discover, FetchFailed, type FetchFault } from './discovery.ts'
import { openHttpClient } from './http-client.ts'
import { type PublicJwk, readJwks } from './jwks-parse.ts'

export interface JwksOptions {
  /** Exactly as the issuer writes it; https, or http on loopback. */
  readonly issuer: string
  /** What its tokens may be signed with; {@link Jwks.want} adds to them. */
  readonly algorithms: readonly SignatureAlgorithm[]
  /** Milliseconds between fetches; 6 h unless given. */
  readonly refreshMs?: number
  /** Milliseconds that the last good keys are used while no fetch succeeds; 24 h unless given. */
  readonly staleForMs?: number
  /** Milliseconds of one call; 2 s unless given. Discovery and the key set are a call each. */
  readonly timeoutMs?: number
  /** Milliseconds between two fetches for unknown key ids; 30 s unless given. */
  readonly cooldownMs?: number
  /** What the issuer's server is trusted by instead of the system's authorities. */
  readonly tls?: (() => CertificateTexts) | undefined
  /** Of the key set, for an issuer without discovery. */
  readonly uri?: string
  /** Bearer token for the discovery document and `uri`, read anew for each fetch; never sent to a `jwks_uri` of another origin. */
  readonly token?: () => string
  /** `use` of keys that sign tokens, beside `sig`. */
  readonly keyUse?: string
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
  /** Told after each fetch. */
  readonly observe?: (condition: JwksCondition) => void
}

/** A condition as Kubernetes writes it, for status page and CLI. */
export interface JwksCondition {
  readonly type: 'JWKSReady'
  readonly issuer: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: JwksReason
  readonly message: string
  /** RFC 3339: when `status` became what it is. */
  readonly lastTransitionTime: string
  readonly kids: readonly string[]
  /** Seconds since the keys in use were fetched; undefined where there are none. */
  readonly ageSeconds: number | undefined
}

export type JwksReason =
  | 'NotFetchedYet'
  | 'Fetched'
  /** The last fetch failed; keys of an earlier one are in use. */
  | 'UsingLastGood'
  | FetchFault
  | 'NoUsableKeys'
  /** Nothing was fetched for longer than the last good keys may be used. */
  | 'TooOld'

/** The public keys of one issuer, kept near. */
export interface Jwks extends VerificationKeys {
  /** At once where the key is in memory, or no fetch is due; else after the one fetch that all callers share. */
  readonly find: (kid: string | undefined, alg: SignatureAlgorithm) => Soon<KeyAnswer>
  readonly condition: () => JwksCondition
  /** Another user of the same issuer has a list of its own: a look-up is answered for either. */
  readonly want: (algorithms: readonly SignatureAlgorithm[]) => void
  /** Fetches now. Never rejects: what went wrong is in the condition. */
  readonly refresh: () => Promise<void>
  readonly close: () => void
}

/** A key set has a type of its own (RFC 7517, section 8.5.2), and the API server of Kubernetes gives it as no other. */
const accept = 'application/json, application/jwk-set+json'
const firstRetryMs = 500
const longestRetryMs = 30_000
// What setTimeout can hold; beyond it fires at once.
const longestTimerMs = 2 ** 31 - 1

/**
 * Begins to fetch an issuer's keys by OpenID Connect Discovery 1.0, section 4, and keeps them fresh. Returns at
 * once: an unreachable issuer never stops the start, and is tried again with growing pauses.
 */
export function openJwks(options: JwksOptions): Jwks {
  const { issuer, refreshMs = 6 * 3_600_000, staleForMs = 24 * 3_600_000, cooldownMs = 30_000, clock = Date.now } = options
  const http = openHttpClient({ timeoutMs: options.timeoutMs ?? 2000, tls: options.tls })
  const wanted = new Set(options.algorithms)
  let keys: readonly PublicJwk[] | undefined
  /** Of these, those for an algorithm that somebody wants. */
  let usableKeys: readonly PublicJwk[] = []
  // Answers already given, by algorithm and kid; only found ones, so that made-up kids fill no memory.
  let given = new Map<string, KeyAnswer>()
  let fetchedAt = 0
  let failure: FetchFailed | undefined
  let failures = 0
  let inFlight: Promise<void> | undefined
  let askedForUnknownAt = Number.NEGATIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  let closed = false
  let status: JwksCondition['status'] = 'Unknown'
  let since = clock()

  /** @param trusted whether the policy itself names the URL, or it lies beside the issuer: only there the token goes */
  const get = (url: string, reason: FetchFault, trusted: boolean): Promise<string> =>
    bodyOf(url, reason, async () =>
      http.call(url, { headers: { accept, ...(options.token && trusted && { authorization: `Bearer ${options.token()}` }) } }),
    )

  const keySetUri = async (): Promise<string> => {
    if (options.uri !== undefined) return options.uri
    const { jwks_uri: uri } = await discover(issuer, (url) => get(url, 'DiscoveryFailed', true))
    if (typeof uri !== 'string') throw new FetchFailed('DiscoveryFailed', 'the discovery document has no jwks_uri')
    return uri
  }

  const fetchKeys = async (): Promise<PublicJwk[]> => {
    const uri = await keySetUri()
    const found = readJwks(
      await get(uri, 'KeySetFailed', uri === options.uri || sameOrigin(uri, issuer)),
      signatureAlgorithms,
      options.keyUse,
    )
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
          sift()
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
        // Looked at in any case, so that it knows since when it is as it is.
        const told = condition()
        if (!closed) options.observe?.(told)
      })
    return inFlight
  }

  const inMemory = (kid: string | undefined, alg: SignatureAlgorithm): KeyAnswer | undefined => {
    if (!keys || clock() - fetchedAt > staleForMs) return undefined
    const known = given.get(`${alg} ${kid ?? ''}`)
    if (known) return known
    const fitting = keys.filter((key) => fits(key, alg))
    const named = kid === undefined ? fitting : fitting.filter((key) => key.kid === kid)
    // Without a kid only a single key is an answer; two keys of one kid and kind would be a guess as well.
    if (named.length !== 1) return undefined
    const found: KeyAnswer = { kind: 'key', key: named[0]!.key }
    given.set(`${alg} ${kid ?? ''}`, found)
    return found
  }

  const sift = (): void => {
    usableKeys = keys?.filter((key) => [...wanted].some((alg) => fits(key, alg))) ?? []
  }

  const notFound = (): KeyAnswer => {
    if (usableKeys.length > 0 && clock() - fetchedAt <= staleForMs && !failure) return { kind: 'unknown' }
    return { kind: 'unavailable', detail: `keys of ${issuer} cannot be had: ${condition().message}` }
  }

  const find = (kid: string | undefined, alg: SignatureAlgorithm): Soon<KeyAnswer> => {
    const found = inMemory(kid, alg)
    if (found) return found
    // No fetch can tell which of several keys a token without kid means.
    if (kid === undefined && usableKeys.length > 0 && clock() - fetchedAt <= staleForMs) return { kind: 'unknown' }
    const now = clock()
    if (!inFlight) {
      // A clock that was set back must not make the pause as much longer.
      if (closed || Math.abs(now - askedForUnknownAt) < cooldownMs) return notFound()
      askedForUnknownAt = now
    }
    return refresh().then(() => inMemory(kid, alg) ?? notFound())
  }

  const condition = (): JwksCondition => {
    const now = clock()
    const usable = keys !== undefined && now - fetchedAt <= staleForMs
    const [current, reason, message] = judge(usable)
    if (current !== status) {
      status = current
      // Keys grow too old between two looks.
      since = reason === 'TooOld' ? fetchedAt + staleForMs : now
    }
    const kids = usableKeys.flatMap((key) => (key.kid === undefined ? [] : [key.kid]))
    const ageSeconds = keys ? Math.max(0, Math.round((now - fetchedAt) / 1000)) : undefined
    return { type: 'JWKSReady', issuer, status, reason, message, lastTransitionTime: new Date(since).toISOString(), kids, ageSeconds }
  }

  const judge = (usable: boolean): [JwksCondition['status'], JwksReason, string] => {
    const count = usableKeys.length
    if (usable && count === 0) return ['False', 'NoUsableKeys', `the key set holds no key for ${[...wanted].join(', ')}`]
    if (usable && failure) return ['True', 'UsingLastGood', failure.message]
    if (usable) return ['True', 'Fetched', `${count} keys`]
    if (keys) return ['False', 'TooOld', failure?.message ?? 'the keys are too old to be used']
    return failure ? ['False', failure.reason, failure.message] : ['Unknown', 'NotFetchedYet', 'not fetched yet']
  }

  void refresh()
  return {
    find,
    condition,
    want: (algorithms) => {
      for (const alg of algorithms) wanted.add(alg)
      sift()
    },
    refresh,
    close: () => {
      closed = true
      clearTimeout(timer)
      http.close()
    },
  }
}

const fits = ({ alg, key }: PublicJwk, wanted: SignatureAlgorithm): boolean => (alg === undefined || alg === wanted) && suits(key, wanted)

const sameOrigin = (one: string, other: string): boolean =>
  URL.canParse(one) && URL.canParse(other) && new URL(one).origin === new URL(other).origin
