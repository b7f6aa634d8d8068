import { Agent as PlainAgent, request as plainRequest, type RequestOptions } from 'node:http'
import { Agent as TlsAgent, request as tlsRequest } from 'node:https'
import { isEndpointUrl } from '../core/endpoint-url.ts'

/** What an outbound call can fail with; an answer of 4xx or 5xx is no failure here. */
export type HttpFault = 'timeout' | 'network' | 'too_large' | 'redirect' | 'forbidden_url' | 'closed'

/** A call that brought no answer; the message holds no credential. */
export class HttpFailure extends Error {
  override readonly name = 'HttpFailure'
  readonly fault: HttpFault
  constructor(fault: HttpFault, message: string, options?: ErrorOptions) {
    super(message, options)
    this.fault = fault
  }
}

export interface HttpClientOptions {
  /** Milliseconds for one whole call: connecting, sending, and the last byte of the answer. */
  readonly timeoutMs: number
  /** Bytes of an answer's body; 1 MiB unless given. */
  readonly maxBody?: number
  /** PEM: the authorities that servers are trusted by instead of the system's. */
  readonly ca?: string
  /** PEM: client certificate and key for mTLS, asked for each call since they rotate. */
  readonly identity?: () => { readonly cert: string; readonly key: string }
}

/** A call; GET unless given. */
export interface HttpCall {
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** A whole answer; names of headers in lower case. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

/** A small client for the JSON of identity providers: no redirects, no cookies, no proxies. */
export interface HttpClient {
  /** @throws {HttpFailure} */
  readonly call: (url: string, call?: HttpCall) => Promise<HttpAnswer>
  readonly close: () => void
}

/** The URL that may be called: one of {@link isEndpointUrl}, without user and password. */
export function allowedUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.username !== '' || url.password !== '') return undefined
  return isEndpointUrl(url) ? url : undefined
}

/** A client with connections of its own, kept open between calls. */
export function openHttpClient(options: HttpClientOptions): HttpClient {
  const maxBody = options.maxBody ?? 1024 * 1024
  const keep = { keepAlive: true, maxSockets: 32, maxFreeSockets: 4 }
  const plain = new PlainAgent(keep)
  const tls = new TlsAgent({ ...keep, minVersion: 'TLSv1.2', ...(options.ca !== undefined && { ca: options.ca }) })
  const pending = new Set<(failure: HttpFailure) => void>()
  let closed = false

  const call = (text: string, { method = 'GET', headers = {}, body }: HttpCall = {}): Promise<HttpAnswer> => {
    const url = allowedUrl(text)
    if (!url)
      return Promise.reject(new HttpFailure('forbidden_url', 'expected an https URL, or http on loopback, without user or password'))
    if (closed) return Promise.reject(new HttpFailure('closed', 'the client is closed'))
    return new Promise((resolve, reject) => {
      const settings: RequestOptions = {
        method,
        headers: { accept: 'application/json', ...headers, ...(body !== undefined && { 'content-length': Buffer.byteLength(body) }) },
      }
      const request =
        url.protocol === 'https:'
          ? // The agent keeps connections apart by certificate: a rotated one makes new ones.
            tlsRequest(url, { ...settings, ...options.identity?.(), agent: tls })
          : plainRequest(url, { ...settings, agent: plain })
      const done = (): void => {
        clearTimeout(timer)
        pending.delete(fail)
      }
      const fail = (failure: HttpFailure): void => {
        done()
        reject(failure)
        request.destroy()
      }
      const timer = setTimeout(() => fail(new HttpFailure('timeout', `no whole answer within ${options.timeoutMs} ms`)), options.timeoutMs)
      pending.add(fail)
      request.on('error', (cause) => fail(new HttpFailure('network', `${url.host} cannot be reached`, { cause })))
      request.on('response', (response) => {
        const status = response.statusCode ?? 0
        if (status >= 300 && status < 400)
          return fail(new HttpFailure('redirect', `${url.host} answered ${status}, and redirects are not followed`))
        const chunks: Buffer[] = []
        let size = 0
        response.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > maxBody) fail(new HttpFailure('too_large', `${url.host} answered more than ${maxBody} bytes`))
          else chunks.push(chunk)
        })
        response.on('error', (cause) => fail(new HttpFailure('network', `${url.host} broke off its answer`, { cause })))
        response.on('close', () => {
          if (!response.complete) fail(new HttpFailure('network', `${url.host} broke off its answer`))
        })
        response.on('end', () => {
          done()
          const fields = Object.entries(response.headers).map(([name, value]) => [name, String(value)] as const)
          resolve({ status, headers: new Map(fields), body: Buffer.concat(chunks).toString('utf8') })
        })
      })
      request.end(body)
    })
  }

  return {
    call,
    close: () => {
      closed = true
      for (const fail of [...pending]) fail(new HttpFailure('closed', 'the client was closed'))
      plain.destroy()
      tls.destroy()
    },
  }
}
