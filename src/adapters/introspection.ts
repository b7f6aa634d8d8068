import { setTimeout as sleep } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { CertificateTexts } from '../core/certificates.ts'
import { type JsonObject, readJsonObject } from '../core/json.ts'
import type { Soon } from '../core/ports.ts'
import { authenticate, type ClientAuth } from './client-auth.ts'
import { bodyOf, discover, FetchFailed } from './discovery.ts'
import { HttpFailure, openHttpClient } from './http-client.ts'
import { type Breaker, type BreakerOptions, type BreakerState, breaker } from './sts-breaker.ts'

export interface IntrospectionOptions {
  /** Exactly as the issuer writes it. */
  readonly issuer: string
  /** https, or http on loopback; absent: `introspection_endpoint` of the discovery document (RFC 8414, section 2). */
  readonly endpoint?: string
  readonly clientId: string
  readonly auth: ClientAuth
  /** Milliseconds of one call; 1 s unless given. */
  readonly timeoutMs?: number
  /** Milliseconds that an answer is used, and never past its `exp`; 30 s unless given. */
  readonly ttlMs?: number
  /** Milliseconds that a token which is not active is remembered as such; 5 s unless given. */
  readonly negativeTtlMs?: number
  /** Tokens whose answers are kept, and as many of those that are not active; 10,000 unless given. */
  readonly size?: number
  /** Questions at a time; 64 unless given. */
  readonly maxInFlight?: number
  /** What the issuer is trusted by instead of the system's authorities, and the client certificate, of `auth` mtls too. */
  readonly tls?: (() => CertificateTexts) | undefined
  readonly breaker?: BreakerOptions
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
}

export type IntrospectionAnswer =
  /** `until`: milliseconds since the epoch up to which the answer is used. The same object for as long as it is. */
  | { readonly kind: 'active'; readonly claims: JsonObject; readonly until: number }
  | { readonly kind: 'inactive' }
  | { readonly kind: 'unavailable'; readonly detail: string }

/** A condition as Kubernetes writes it, for status page and CLI. */
export interface IntrospectionCondition {
  readonly type: 'IntrospectionReady'
  readonly issuer: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: 'NotAskedYet' | 'Answers' | 'DoesNotAnswer'
  readonly message: string
  /** RFC 3339: when `status` became what it is. */
  readonly lastTransitionTime: string
}

/** Asks one issuer about tokens that only it can read (RFC 7662). */
export interface Introspection {
  /** What memory holds of a token; says nothing to any other issuer's. @param digest of the token */
  readonly recall: (digest: string) => IntrospectionAnswer | undefined
  /** At once where memory holds an answer, else after the one question that all callers with this token share. Never rejects. */
  readonly ask: (token: string, digest: string) => Soon<IntrospectionAnswer>
  readonly condition: () => IntrospectionCondition
  readonly breaker: () => BreakerState
  readonly size: () => { readonly active: number; readonly inactive: number; readonly inFlight: number }
  readonly close: () => void
}

/** Bytes of an answer: claims have to fit into a token elsewhere. */
const largestAnswer = 64 * 1024
/** Bytes of all answers that are kept. */
const largestCache = 64 * 1024 * 1024
/** Milliseconds before the one retry of a call that did not get through: between these two. */
const retryPause = { least: 20, most: 60 }
/** Milliseconds after which the discovery document is read again. */
const discoveredFor = 6 * 3_600_000

const inactive: IntrospectionAnswer = { kind: 'inactive' }

/** The endpoint answers, and does not take this token: whoever makes up such tokens must not open the breaker for all others. */
class NotTaken extends FetchFailed {}

/** Whether an error answer is about our client (RFC 6749, section 5.2), whatever the token. */
const isAboutClient = (body: string): boolean => ['invalid_client', 'unauthorized_client'].includes(String(readJsonObject(body)?.['error']))

/** A clock that was set back must not keep what was answered for as much longer. */
const isFresh = ({ until }: { readonly until: number }, now: number, ttlMs: number): boolean => now < until && until - now <= ttlMs

type Active = Extract<IntrospectionAnswer, { kind: 'active' }>

/** A client of an introspection endpoint, with what it answered in memory. */
export function openIntrospection(options: IntrospectionOptions): Introspection {
  const { issuer, auth, clientId, ttlMs = 30_000, negativeTtlMs = 5000, size = 10_000, maxInFlight = 64, clock = Date.now } = options
  const http = openHttpClient({
    timeoutMs: options.timeoutMs ?? 1000,
    maxBody: largestAnswer,
    tls: options.tls,
  })
  const guard: Breaker = breaker(options.breaker)
  // Two memories, so that a flood of made-up tokens does not push out those of callers. One issuer's only: each has its own.
  const active = new LRUCache<string, Active & { readonly bytes: number }>({
    max: size,
    maxSize: largestCache,
    sizeCalculation: ({ bytes }) => bytes,
  })
  const refused = new LRUCache<string, { readonly until: number }>({ max: size })
  const asking = new Map<string, Promise<IntrospectionAnswer>>()
  let discovered: { readonly endpoint: string; readonly until: number } | undefined
  let discovering: Promise<string> | undefined
  let seen: Pick<IntrospectionCondition, 'status' | 'reason' | 'message'> = {
    status: 'Unknown',
    reason: 'NotAskedYet',
    message: 'not asked yet',
  }
  let since = clock()

  const key = (digest: string): string => `${issuer} ${digest}`

  const recall = (digest: string): IntrospectionAnswer | undefined => {
    const now = clock()
    const name = key(digest)
    const known = active.get(name)
    if (known && isFresh(known, now, ttlMs)) return known
    const no = refused.get(name)
    return no && isFresh(no, now, negativeTtlMs) ? inactive : undefined
  }

  const endpoint = async (): Promise<string> => {
    if (options.endpoint !== undefined) return options.endpoint
    if (discovered && clock() < discovered.until) return discovered.endpoint
    // Once for all questions that wait for it.
    discovering ??= findEndpoint().finally(() => {
      discovering = undefined
    })
    return discovering
  }

  const findEndpoint = async (): Promise<string> => {
    const document = await discover(issuer, (url) => bodyOf(url, 'DiscoveryFailed', () => http.call(url)))
    const { introspection_endpoint: found } = document
    if (typeof found !== 'string') throw new FetchFailed('DiscoveryFailed', 'the discovery document has no introspection_endpoint')
    discovered = { endpoint: found, until: clock() + discoveredFor }
    return found
  }

  const post = async (url: string, token: string): Promise<string> => {
    const form = new URLSearchParams({ token, token_type_hint: 'access_token' })
    const headers = await authenticate({ auth, clientId, server: issuer }, form)
    const answer = await http.call(url, { method: 'POST', headers, body: form.toString() })
    if (answer.status === 200) return answer.body
    const why =
      answer.status === 401 || answer.status === 403 ? `refused our client ${clientId} (${answer.status})` : `answered ${answer.status}`
    throw answer.status === 400 && !isAboutClient(answer.body)
      ? new NotTaken('DiscoveryFailed', `${url} ${why}`)
      : new FetchFailed('DiscoveryFailed', `${url} ${why}`)
  }

  /** One call, and one more where the connection broke: a kept one may have been closed at the other end. */
  const call = async (token: string): Promise<string> => {
    const url = await endpoint()
    try {
      return await post(url, token)
    } catch (cause) {
      if (!(cause instanceof HttpFailure) || cause.fault !== 'network') throw cause
      await sleep(retryPause.least + Math.random() * (retryPause.most - retryPause.least))
      return post(url, token)
    }
  }

  const question = async (token: string, digest: string): Promise<IntrospectionAnswer> => {
    let reached = false
    try {
      const body = await call(token)
      const claims = readJsonObject(body)
      if (typeof claims?.['active'] !== 'boolean') return unavailable('the introspection endpoint answered without active')
      reached = true
      tell('True', 'Answers', 'the introspection endpoint answers')
      return keep(digest, claims, body.length)
    } catch (cause) {
      reached = cause instanceof NotTaken
      return unavailable(
        cause instanceof Error && (cause instanceof HttpFailure || cause instanceof FetchFailed)
          ? cause.message
          : 'the client credential could not be used',
      )
    } finally {
      guard.done(reached)
    }
  }

  const keep = (digest: string, claims: JsonObject, bytes: number): IntrospectionAnswer => {
    const now = clock()
    if (claims['active'] !== true) {
      active.delete(key(digest))
      if (negativeTtlMs > 0) refused.set(key(digest), { until: now + negativeTtlMs })
      return inactive
    }
    const { exp } = claims
    const until = Math.min(now + ttlMs, typeof exp === 'number' ? exp * 1000 : Number.POSITIVE_INFINITY)
    const answer = { kind: 'active' as const, claims, until, bytes: bytes + 128 }
    if (until > now) active.set(key(digest), answer)
    return answer
  }

  const unavailable = (detail: string): IntrospectionAnswer => {
    tell('False', 'DoesNotAnswer', detail)
    return { kind: 'unavailable', detail: `tokens of ${issuer} cannot be checked: ${detail}` }
  }

  const tell = (status: IntrospectionCondition['status'], reason: IntrospectionCondition['reason'], message: string): void => {
    if (status !== seen.status) since = clock()
    seen = { status, reason, message }
  }

  const ask = (token: string, digest: string): Soon<IntrospectionAnswer> => {
    const known = recall(digest) ?? asking.get(digest)
    if (known) return known
    if (asking.size >= maxInFlight)
      return { kind: 'unavailable', detail: `tokens of ${issuer} cannot be checked: ${maxInFlight} questions are under way already` }
    if (!guard.enter()) return { kind: 'unavailable', detail: `tokens of ${issuer} cannot be checked: too many failures, not asked` }
    const answer = question(token, digest).finally(() => asking.delete(digest))
    asking.set(digest, answer)
    return answer
  }

  return {
    recall,
    ask,
    condition: () => ({ type: 'IntrospectionReady', issuer, ...seen, lastTransitionTime: new Date(since).toISOString() }),
    breaker: guard.state,
    size: () => ({ active: active.size, inactive: refused.size, inFlight: asking.size }),
    close: http.close,
  }
}
