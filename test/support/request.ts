import { type OutgoingHttpHeaders, request as plainRequest } from 'node:http'
import { type IncomingHttpHeaders as Http2Headers, connect as http2Connect } from 'node:http2'
import { request as tlsRequest } from 'node:https'

/** What a client trusts and presents; without `tls` the request is plaintext. */
export interface ClientTls {
  readonly ca: string
  /** A client certificate and its key, PEM. */
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
}

export interface ClientRequest {
  readonly port: number
  readonly tls?: ClientTls | undefined
  readonly method?: string
  /** As sent, the query included. */
  readonly path?: string
  /** `host` is 127.0.0.1 and the port unless given. */
  readonly headers?: OutgoingHttpHeaders
  readonly body?: string | Buffer
}

export interface ClientResponse {
  readonly status: number
  /** Lower-case names; duplicates joined with a comma. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** HTTP trailers, such as `grpc-status`. */
  readonly trailers: Readonly<Record<string, string>>
}

const limit = 10_000

/** One HTTP/1.1 request on a connection of its own to 127.0.0.1. What Node refuses to send goes through raw.ts. */
export function request({ port, tls, method = 'GET', path = '/', headers = {}, body }: ClientRequest): Promise<ClientResponse> {
  return new Promise((done, fail) => {
    const options = { host: '127.0.0.1', port, method, path, headers, agent: false as const, timeout: limit }
    const sent = tls ? tlsRequest({ ...options, ...tls }) : plainRequest(options)
    sent.on('error', fail)
    sent.on('timeout', () => sent.destroy(new Error(`no answer to ${method} ${path} within ${limit} ms`)))
    sent.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('error', fail)
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        done({
          status: response.statusCode ?? 0,
          headers: joined(response.headers),
          body: Buffer.concat(chunks).toString(),
          trailers: joined(response.trailers),
        }),
      )
    })
    sent.end(body)
  })
}

/** One HTTP/2 request (h2 over TLS, or prior knowledge in plaintext) on a connection of its own. Pseudo-headers may be given in `headers`. */
export function requestHttp2({ port, tls, method = 'GET', path = '/', headers = {}, body }: ClientRequest): Promise<ClientResponse> {
  return new Promise((done, fail) => {
    const authority = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`
    const session = http2Connect(authority, tls ? { ...tls, servername: tls.servername ?? 'localhost' } : {})
    const end = (error: Error) => {
      session.destroy()
      fail(error)
    }
    session.on('error', end)
    const stream = session.request({ ':method': method, ':path': path, ...headers }, { endStream: body === undefined })
    let received: Http2Headers = {}
    let trailers: Http2Headers = {}
    const chunks: Buffer[] = []
    stream.setTimeout(limit, () => end(new Error(`no answer to ${method} ${path} within ${limit} ms`)))
    stream.on('error', end)
    stream.on('response', (head) => {
      received = head
    })
    stream.on('trailers', (tail) => {
      trailers = tail
    })
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      session.close()
      done({
        status: Number(received[':status'] ?? 0),
        headers: joined(received),
        body: Buffer.concat(chunks).toString(),
        trailers: joined(trailers),
      })
    })
    if (body !== undefined) stream.end(body)
  })
}

function joined(headers: Readonly<Record<string, string | string[] | number | undefined>>): Record<string, string> {
  const out: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) out[name] = Array.isArray(value) ? value.join(', ') : String(value)
  }
  return out
}
