import { type ClientHttp2Session, connect, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http2'
import type { CheckServer } from '../../src/wire/transport.ts'
import { checkPath } from './transport-rig.ts'

/** What a client that speaks bare HTTP/2 saw of one call. */
export interface Outcome {
  readonly http: number | undefined
  /** `grpc-status`, from the trailers or from the one block of headers. */
  readonly status: number | undefined
  readonly message: string | undefined
  /** Whether the status came in the first block of headers, and with the end of the stream. */
  readonly trailersOnly: boolean
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** The code of the RST_STREAM that ended it; 0 where there was none. */
  readonly reset: number
}

export interface Ask {
  readonly headers?: OutgoingHttpHeaders
  /** Each is a DATA frame of its own. */
  readonly chunks?: readonly Buffer[]
  /** false: the stream is left open. */
  readonly end?: boolean
}

export const grpcHeaders: OutgoingHttpHeaders = {
  ':method': 'POST',
  ':path': checkPath,
  'content-type': 'application/grpc',
  te: 'trailers',
}

/** A message with its prefix. */
export function framed(message: Buffer, flag = 0): Buffer {
  const prefix = Buffer.alloc(5, flag)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

/** Connects to a server of `tls.mode: none`. */
export function connectTo(server: CheckServer): ClientHttp2Session {
  const { address } = server
  const session =
    address.kind === 'unix' ? connect('http://h', { path: address.path } as never) : connect(`http://127.0.0.1:${address.port}`)
  session.on('error', () => {})
  return session
}

/** Makes one call. Never rejects. */
export function ask(session: ClientHttp2Session, { headers = {}, chunks = [], end = true }: Ask): Promise<Outcome> {
  return new Promise((resolve) => {
    const stream = session.request({ ...grpcHeaders, ...headers }, { endStream: end && chunks.length === 0 })
    const parts: Buffer[] = []
    let first: IncomingHttpHeaders = {}
    let trailers: IncomingHttpHeaders | undefined
    stream.on('response', (received) => {
      first = received
    })
    stream.on('trailers', (received) => {
      trailers = received
    })
    stream.on('data', (part: Buffer) => parts.push(part))
    stream.on('error', () => {})
    stream.on('end', () => stream.end())
    stream.on('close', () => {
      const last = trailers ?? first
      const status = last['grpc-status']
      const message = last['grpc-message']
      resolve({
        http: first[':status'] === undefined ? undefined : Number(first[':status']),
        status: status === undefined ? undefined : Number(status),
        message: message === undefined ? undefined : decodeURIComponent(String(message)),
        trailersOnly: trailers === undefined && status !== undefined && parts.length === 0,
        headers: first,
        body: Buffer.concat(parts),
        reset: stream.rstCode,
      })
    })
    const send = async (): Promise<void> => {
      for (const [index, chunk] of chunks.entries()) {
        if (stream.destroyed) return
        const last = index === chunks.length - 1
        if (last && end) stream.end(chunk)
        else {
          stream.write(chunk)
          // So that frames arrive one by one.
          if (!last) await new Promise((done) => setTimeout(done, 2))
        }
      }
    }
    void send()
  })
}
