import { type ClientRequest, Agent as PlainAgent, request as plainRequest, type RequestOptions } from 'node:http'
import { type AgentOptions, Agent as TlsAgent, request as tlsRequest } from 'node:https'
import type { CertificateTexts } from '../core/certificates.ts'
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
  /**
   * The authorities that servers are trusted by instead of the system's, and the client certificate for mTLS. Asked for each
   * call, since they rotate: other ones than before make new connections.
   */
  readonly tls?: (() => CertificateTexts) | undefined
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
  const tls = tlsAgents(keep, options.tls)
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
      let request: ClientRequest
      try {
        request =
          url.protocol === 'https:'
            ? tlsRequest(url, { ...settings, agent: tls.current() })
            : plainRequest(url, { ...settings, agent: plain })
      } catch (cause) {
        // There are no certificates yet, or none that TLS takes.
        return reject(new HttpFailure('network', `${url.host} cannot be called`, { cause }))
      }
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
      tls.close()
    },
  }
}

/** An agent for the certificates in use. One of other certificates ends with its calls: what it keeps open or remembers is not used again. */
function tlsAgents(keep: AgentOptions, certificates: HttpClientOptions['tls']) {
  const made = (texts: CertificateTexts): TlsAgent => {
    const { cert, key, ca } = texts
    return new TlsAgent({
      ...keep,
      minVersion: 'TLSv1.2',
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      ...(ca !== undefined && { ca }),
    })
  }
  const old = new Set<TlsAgent>()
  let of: CertificateTexts | undefined
  let agent = certificates ? undefined : made({})
  const current = (): TlsAgent => {
    const now = certificates?.()
    if (agent && (now === of || now === undefined || (now.cert === of?.cert && now.key === of?.key && now.ca === of?.ca))) return agent
    const next = made(now ?? {})
    if (agent) leave(agent)
    agent = next
    of = now
    return next
  }
  const leave = (before: TlsAgent): void => {
    before.maxFreeSockets = 0
    for (const sockets of Object.values(before.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
    // A timeout bounds each call, and so what is left of it.
    old.add(before)
    for (const one of old) if (one !== before && Object.keys(one.sockets).length === 0) old.delete(one)
  }
  return {
    current,
    close: () => {
      agent?.destroy()
      for (const one of old) one.destroy()
    },
  }
}
