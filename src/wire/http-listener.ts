import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { Connection } from '../core/connection.ts'
import { refuseRequest, safeHeaders } from './http-safety.ts'
import { httpBindFault, type ListenAddress, type Listener, ListenFault } from './listener.ts'
import { openServer } from './open-server.ts'
import { peerSpiffeId } from './peer.ts'

/** A fetch handler, such as that of Hono, whose `env` is the connection. */
export type Fetch = (request: Request, connection: Connection) => Response | Promise<Response>

/** A handler of the node's own requests, asked before {@link Fetch}. @returns whether it takes this one, and answers it */
export type Take = (incoming: IncomingMessage, outgoing: ServerResponse, connection: Connection) => boolean

export interface HttpListenerOptions {
  /** In the policy file: `admin` or `issuer`. */
  readonly name: string
  readonly listener: Listener
  readonly fetch: Fetch
  readonly take?: Take | undefined
  /** Told of failed handshakes, handlers that threw and certificates that do not load. */
  readonly onFault: (detail: string) => void
  /** For tests: how often certificate files are looked at. */
  readonly certificatesEveryMs?: number
  /** For tests: other limits of time. */
  readonly times?: Pick<ServerOptions, 'headersTimeout' | 'requestTimeout' | 'connectionsCheckingInterval'>
}

/** An HTTP listener that is up. */
export interface HttpListener {
  readonly address: ListenAddress
  /** Ends idle connections, lets requests in flight end, and cuts what is left after `graceMs` milliseconds. */
  readonly close: (graceMs: number) => Promise<void>
}

/** Slow or endless headers and bodies hold a connection no longer than this. Milliseconds and bytes. */
const limits: ServerOptions = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 5_000,
  keepAliveTimeout: 30_000,
  maxHeaderSize: 16 * 1024,
  noDelay: true,
  // Refused here, so that this answer too has the headers that protect.
  requireHostHeader: false,
}
const maxHeaders = 100
// One more is read, and refused: Node would go on without those beyond.
const limited = <S extends Server>(server: S): S => Object.assign(server, { maxHeadersCount: maxHeaders + 1 })

/**
 * Serves a fetch handler on node:http or node:https. How much body is read is the application's to limit.
 * @throws {ListenFault} where the listener would be unsafe or cannot be had
 */
export async function startHttpListener(options: HttpListenerOptions): Promise<HttpListener> {
  const { listener, name, fetch, onFault } = options
  const unsafe = httpBindFault(listener, name)
  if (unsafe !== undefined) throw new ListenFault(unsafe)

  const secure = listener.tls.mode !== 'none'
  const connectionOf = ({ socket }: { readonly socket: Socket }): Connection => ({
    peer: peerSpiffeId(socket),
    secure,
    remoteAddress: socket.remoteAddress ?? '',
  })
  const threw = (cause: unknown): void =>
    onFault(`listen.${name}: a handler threw ${cause instanceof Error ? `${cause.name}: ${cause.message}` : 'something'}`)
  const handle = getRequestListener((request, { incoming }) => fetch(request, connectionOf(incoming)), {
    // The globals of the process stay as they are.
    overrideGlobalObjects: false,
    errorHandler: (cause) => {
      // A request line or Host that makes no URL is the client's fault, and nothing to log.
      if (cause instanceof RequestError) return new Response(null, { status: 400 })
      threw(cause)
      return new Response(null, { status: 500 })
    },
  })
  const safe = safeHeaders(secure)
  const end = (outgoing: ServerResponse, status: number): void => {
    for (const name in safe) outgoing.setHeader(name, safe[name]!)
    outgoing.writeHead(status, { connection: 'close' }).end()
  }
  const serve = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const tooMany = incoming.rawHeaders.length > 2 * maxHeaders
    if (tooMany || incoming.headers.host === undefined) {
      end(outgoing, tooMany ? 431 : 400)
      return
    }
    for (const name in safe) outgoing.setHeader(name, safe[name]!)
    try {
      if (options.take?.(incoming, outgoing, connectionOf(incoming))) return
    } catch (cause) {
      threw(cause)
      outgoing.writeHead(500, { connection: 'close' }).end()
      return
    }
    void handle(incoming, outgoing)
  }
  const { server, address, cut, stopWatching } = await openServer({
    listener,
    plain: () => limited(createServer({ ...limits, ...options.times }, serve)),
    secure: (tls) => limited(createTlsServer({ ...limits, ...options.times, ...tls }, serve)),
    onFault: (detail) => onFault(`listen.${name}: ${detail}`),
    certificatesEveryMs: options.certificatesEveryMs,
  })
  server.on('clientError', (cause: Error, socket: Socket) => refuseRequest(cause, socket, secure))
  server.on('checkExpectation', (_: IncomingMessage, outgoing: ServerResponse) => end(outgoing, 417))

  const close = async (graceMs: number): Promise<void> => {
    stopWatching()
    const timer = setTimeout(cut, graceMs)
    await new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeIdleConnections()
    })
    clearTimeout(timer)
  }
  let closing: Promise<void> | undefined
  return {
    address,
    close: (graceMs) => {
      closing ??= close(graceMs)
      return closing
    },
  }
}
