import { type IncomingMessage, Agent as PlainAgent, request as plainRequest, type RequestOptions } from 'node:http'
import { Agent as TlsAgent, request as tlsRequest } from 'node:https'
import { type JsonObject, readJsonObject } from '../core/json.ts'
import type { KubernetesAccess } from './kubernetes-access.ts'
import { KubernetesFailure } from './kubernetes-failure.ts'
import { createLines, type Lines } from './kubernetes-lines.ts'

/** A call of the API. */
export interface KubernetesCall {
  readonly method?: 'GET' | 'POST' | 'PUT'
  /** With its query. */
  readonly path: string
  readonly body?: JsonObject
  /** `application/json` unless given. */
  readonly accept?: string
  /** Milliseconds for the whole call; 20 s unless given. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal | undefined
}

/** A watch of the API: an answer that goes on, a JSON object a line. */
export interface KubernetesWatchCall {
  readonly path: string
  readonly accept?: string
  /** Milliseconds without a byte after which the watch is given up. */
  readonly silentMs: number
  readonly signal: AbortSignal
}

/** A small client for the API of Kubernetes: JSON over HTTP/1.1, no redirects, no proxies. */
export interface KubernetesClient {
  /** Host and port: for messages. */
  readonly host: string
  /** @returns the object that was answered with 2xx. @throws {KubernetesFailure} */
  readonly call: (call: KubernetesCall) => Promise<JsonObject>
  /**
   * What a watch says, as it comes: nothing when it has begun, then the whole lines of each piece. Ends when the server ends it; what was cut off at the end is
   * not told.
   * @throws {KubernetesFailure} where it does not begin, breaks off, is silent too long, or a line is too long
   */
  readonly watch: (call: KubernetesWatchCall) => AsyncGenerator<readonly JsonObject[], void>
  readonly close: () => void
}

export interface KubernetesClientOptions {
  readonly access: KubernetesAccess
  /** `User-Agent`, by which the API server's own audit knows us. */
  readonly userAgent: string
  /** Bytes of a whole answer; 64 MiB unless given. */
  readonly mostBytes?: number
  /** Bytes of a line of a watch; 8 MiB unless given: etcd takes objects of 1.5 MiB. */
  readonly mostLine?: number
}

const usualTimeoutMs = 20_000
const mostErrorBytes = 64 * 1024

/** Opens a client. Credentials are read for each call, so that those that rotate are in use within 30 s. */
export function openKubernetesClient(options: KubernetesClientOptions): KubernetesClient {
  const { access, userAgent, mostBytes = 64 * 1024 * 1024, mostLine = 8 * 1024 * 1024 } = options
  const base = new URL(access.url)
  const secure = base.protocol === 'https:'
  // A lost peer is noticed by keepalive too, where nothing is sent.
  const keep = { keepAlive: true, keepAliveInitialDelay: 10_000, maxSockets: 64, maxFreeSockets: 4 }
  const agent = secure ? new TlsAgent({ ...keep, minVersion: 'TLSv1.2' }) : new PlainAgent(keep)

  /** Sends a request. @returns the answer, whatever its status. @throws {KubernetesFailure} */
  const send = (call: Pick<KubernetesCall, 'method' | 'path' | 'body' | 'accept'>, signal: AbortSignal): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const body = call.body && JSON.stringify(call.body)
      const token = access.token?.()
      const settings: RequestOptions = {
        method: call.method ?? 'GET',
        headers: {
          accept: call.accept ?? 'application/json',
          'user-agent': userAgent,
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
          ...(body !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        },
        signal,
      }
      // The agent keeps connections apart by these: rotated ones make new connections.
      const tls = secure && {
        ...(access.ca && { ca: access.ca() }),
        ...(access.serverName !== undefined && { servername: access.serverName }),
        ...access.certificate?.(),
      }
      const url = `${access.url}${call.path}`
      const asked = secure ? tlsRequest(url, { ...settings, ...tls, agent }) : plainRequest(url, { ...settings, agent })
      asked.on('error', (cause) => reject(unreachable(base.host, cause, signal)))
      asked.on('response', resolve)
      asked.end(body)
    })

  const call = async (asked: KubernetesCall): Promise<JsonObject> => {
    const timeout = AbortSignal.timeout(asked.timeoutMs ?? usualTimeoutMs)
    const signal = asked.signal ? AbortSignal.any([timeout, asked.signal]) : timeout
    const answer = await send(asked, signal)
    const status = answer.statusCode ?? 0
    const text = await wholeOf(answer, status < 300 ? mostBytes : mostErrorBytes, base.host, signal)
    const value = readJsonObject(text)
    if (status < 200 || status > 299) throw refused(answer, value, base.host)
    if (!value) throw new KubernetesFailure('malformed', `${base.host} answered ${status} with something that is no JSON object`)
    return value
  }

  async function* watch({ path, accept, silentMs, signal }: KubernetesWatchCall): AsyncGenerator<readonly JsonObject[], void> {
    const silence = new AbortController()
    let timer = setTimeout(() => silence.abort(), silentMs)
    const both = AbortSignal.any([signal, silence.signal])
    let answer: IncomingMessage | undefined
    try {
      answer = await send({ path, ...(accept !== undefined && { accept }) }, both)
      if (answer.statusCode !== 200)
        throw refused(answer, readJsonObject(await wholeOf(answer, mostErrorBytes, base.host, both)), base.host)
      // It has begun, though nothing may happen for long.
      yield []
      const lines = createLines(mostLine)
      for await (const chunk of answer) {
        clearTimeout(timer)
        const events = objectsOf(lines, chunk as Buffer, base.host)
        if (events.length > 0) yield events
        // While the caller is at work nothing is read, and that is no silence.
        timer = setTimeout(() => silence.abort(), silentMs)
      }
    } catch (cause) {
      if (signal.aborted) return
      if (silence.signal.aborted)
        throw new KubernetesFailure('timeout', `${base.host} has said nothing for ${Math.round(silentMs / 1000)} s`, { cause })
      throw cause instanceof KubernetesFailure
        ? cause
        : new KubernetesFailure('network', `${base.host} broke off the watch (${codeOf(cause)})`, { cause })
    } finally {
      clearTimeout(timer)
      answer?.destroy()
    }
  }

  return { host: base.host, call, watch, close: () => agent.destroy() }
}

function objectsOf(lines: Lines, chunk: Buffer, host: string): JsonObject[] {
  const whole = lines.take(chunk)
  if (whole === undefined) throw new KubernetesFailure('too_large', `${host} sent a line of more than ${lines.most} bytes`)
  return whole.map((line) => {
    const value = readJsonObject(line)
    if (!value) throw new KubernetesFailure('malformed', `${host} sent a line that is no JSON object`)
    return value
  })
}

/** The whole body of an answer. */
async function wholeOf(answer: IncomingMessage, most: number, host: string, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of answer) {
      size += (chunk as Buffer).length
      if (size > most) throw new KubernetesFailure('too_large', `${host} answered more than ${most} bytes`)
      chunks.push(chunk as Buffer)
    }
  } catch (cause) {
    throw cause instanceof KubernetesFailure ? cause : unreachable(host, cause, signal)
  }
  return Buffer.concat(chunks).toString()
}

const codeOf = (cause: unknown): string =>
  cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : 'broken connection'

function unreachable(host: string, cause: unknown, signal: AbortSignal): KubernetesFailure {
  const late = signal.aborted && signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError'
  return late
    ? new KubernetesFailure('timeout', `${host} did not answer in time`, { cause })
    : new KubernetesFailure('network', `${host} cannot be reached (${codeOf(cause)})`, { cause })
}

/** An answer that is no 2xx; where it holds a `Status` object, by what that says. */
function refused({ statusCode = 0, headers }: IncomingMessage, value: JsonObject | undefined, host: string): KubernetesFailure {
  const after = Number(headers['retry-after'])
  const message = typeof value?.['message'] === 'string' ? `: ${value['message']}` : ''
  return new KubernetesFailure('status', `${host} answered ${statusCode}${message}`, {
    status: statusCode,
    ...(typeof value?.['reason'] === 'string' && { reason: value['reason'] }),
    ...(after > 0 && { retryAfterMs: after * 1000 }),
  })
}
