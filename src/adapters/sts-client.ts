import { setTimeout as sleep } from 'node:timers/promises'
import type { CertificateTexts } from '../core/certificates.ts'
import { readJsonObject } from '../core/json.ts'
import { authenticate, type ClientAuth } from './client-auth.ts'
import { type HttpAnswer, HttpFailure, openHttpClient } from './http-client.ts'
import { type Asked, checkAnswer, errorCode, type StsAnswer } from './sts-answer.ts'
import { type BreakerOptions, type BreakerState, breaker } from './sts-breaker.ts'

export interface StsClientOptions {
  /** Name under `sts`, for messages. */
  readonly name: string
  readonly tokenEndpoint: string
  readonly clientId: string
  readonly auth: ClientAuth
  /** Milliseconds of one call; 1 s unless given. */
  readonly timeoutMs?: number
  readonly allowOpaque: boolean
  /** `subjects_of`: the validator whose principals may be exchanged here. */
  readonly subjectsOf: string
  /** What the endpoint is trusted by instead of the system's authorities, and the client certificate, of `auth` mtls too. */
  readonly tls?: (() => CertificateTexts) | undefined
  readonly breaker?: BreakerOptions
}

/** A token endpoint, with its breaker. */
export interface StsClient {
  /** Names endpoint and client in cache keys. */
  readonly identity: string
  /** Never rejects. */
  readonly exchange: (asked: Asked) => Promise<StsAnswer>
  readonly breaker: () => BreakerState
  readonly close: () => void
}

const grant = 'urn:ietf:params:oauth:grant-type:token-exchange'
const accessToken = 'urn:ietf:params:oauth:token-type:access_token'
/** Milliseconds before the one retry: between these two. */
const retryPause = { least: 25, most: 100 }

/** A client of a token endpoint that exchanges tokens by RFC 8693. */
export function openStsClient(options: StsClientOptions): StsClient {
  const { auth } = options
  const http = openHttpClient({
    timeoutMs: options.timeoutMs ?? 1000,
    tls: options.tls,
  })
  const guard = breaker(options.breaker)

  const post = async (asked: Asked): Promise<HttpAnswer> => {
    const form = new URLSearchParams({
      grant_type: grant,
      subject_token: asked.principal.subjectToken!,
      subject_token_type: accessToken,
      requested_token_type: accessToken,
      audience: asked.audience,
      ...(asked.scope.length > 0 && { scope: asked.scope.join(' ') }),
    })
    const headers = await authenticate({ auth, clientId: options.clientId, server: options.tokenEndpoint }, form)
    return http.call(options.tokenEndpoint, { method: 'POST', headers, body: form.toString() })
  }

  /** One call, and one more where the first did not get through. */
  const call = async (asked: Asked): Promise<HttpAnswer | HttpFailure> => {
    const first = await attempt(() => post(asked))
    if (!worthRetrying(first)) return first
    await sleep(retryPause.least + Math.random() * (retryPause.most - retryPause.least))
    return attempt(() => post(asked))
  }

  const judge = (outcome: HttpAnswer | HttpFailure, asked: Asked): StsAnswer => {
    const unavailable = (what: string): StsAnswer => ({ kind: 'unavailable', detail: `sts ${options.name}: ${what}` })
    const refused = (what: string): StsAnswer => ({ kind: 'refused', detail: `sts ${options.name}: ${what}` })
    if (outcome instanceof HttpFailure) return unavailable(outcome.message)
    if (outcome.status === 400 || outcome.status === 401 || outcome.status === 403) {
      return refused(`answered ${outcome.status}: ${errorCode(outcome.body)}`)
    }
    if (outcome.status !== 200) return unavailable(`answered ${outcome.status}`)
    const body = readJsonObject(outcome.body)
    if (!body) return unavailable('answered no JSON object')
    const answer = checkAnswer(body, asked, options.allowOpaque)
    return answer.kind === 'refused' ? refused(answer.detail) : answer
  }

  const exchange = async (asked: Asked): Promise<StsAnswer> => {
    const { principal } = asked
    if (principal.validator !== options.subjectsOf) {
      return {
        kind: 'refused',
        detail: `sts ${options.name} exchanges tokens of validator ${options.subjectsOf}, not of ${principal.validator}`,
      }
    }
    if (principal.subjectToken === undefined) return { kind: 'refused', detail: `sts ${options.name}: the subject token was not forwarded` }
    if (!guard.enter()) return { kind: 'unavailable', detail: `sts ${options.name}: too many failures, not asked` }
    let reached = false
    try {
      const answer = judge(await call(asked), asked)
      reached = answer.kind !== 'unavailable'
      return answer
    } catch {
      return { kind: 'unavailable', detail: `sts ${options.name}: the client credential could not be used` }
    } finally {
      guard.done(reached)
    }
  }

  return {
    identity: JSON.stringify([options.tokenEndpoint, options.clientId]),
    exchange,
    breaker: guard.state,
    close: http.close,
  }
}

async function attempt(post: () => Promise<HttpAnswer>): Promise<HttpAnswer | HttpFailure> {
  try {
    return await post()
  } catch (cause) {
    if (cause instanceof HttpFailure) return cause
    throw cause
  }
}

/** Network errors, time-outs, 5xx and 429; an exchange has no effect that a second one would double. */
const worthRetrying = (outcome: HttpAnswer | HttpFailure): boolean =>
  outcome instanceof HttpFailure
    ? outcome.fault === 'network' || outcome.fault === 'timeout'
    : outcome.status >= 500 || outcome.status === 429
