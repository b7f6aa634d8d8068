import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { Connection } from '../core/connection.ts'
import { refuseRequest, safeHeaders } from './http-safety.ts'
import { httpBindFault, type ListenAddress, type Listener, ListenFault } from './listener.ts'
import { openServer } from './open-server.ts'
import { isAllowedPeer, peerSpiffeId } from './peer.ts'
import type { PeerTimes } from './peers.ts'

/** A fetch handler, such as that of Hono, whose `env` is the connection. */
export type Fetch = (request: Request, connection: Connection) => Response | Promise<Response>

/**
 * A handler of the node's own requests, asked before {@link Fetch}, which is given the same connection object for the same request.
 * @returns whether it takes this one, and answers it
 */
export type Take = (incoming: IncomingMessage, outgoing: ServerResponse, connection: Connection) => boolean

export interface HttpListenerOptions {
  /** In the policy file: `admin` or `issuer`. */
  readonly name: string
  readonly listener: Listener
  readonly fetch: Fetch
  readonly take?: Take | undefined
  /** Whether `tls.allow` says who may connect; else it is for the handler, which knows the peer. */
  readonly allowedAlone?: boolean
  /** Told of failed handshakes, and of handlers that threw. */
  readonly onFault: (detail: string) => void
  /** For tests: what differs from the times of `followPeers`. */
  readonly peerTimes?: Partial<PeerTimes>
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
  /** What {@link Take} was told of a request. */
  const told = new WeakMap<object, Connection>()
  const handle = getRequestListener((request, { incoming }) => fetch(request, told.get(incoming) ?? connectionOf(incoming)), {
    // The globals of the process stay as they are.
    overrideGlobalObjects: false,
    errorHandler: (cause) => {
      // A request line or Host that makes no URL is the client's fault, and nothing to log.
      if (cause instanceof RequestError) return new Response(null, { status: 400 })
      threw(cause)
      return new Response(null, { status: 500 })
    },
  })
  const { tls } = listener
  const allow = options.allowedAlone && tls.mode === 'mtls' ? tls.allow : undefined
  /** Connections that are to end, and how many requests each has in flight. */
  const retiring = new WeakSet<Socket>()
  const busy = new WeakMap<Socket, number>()
  const count = (socket: Socket, by: 1 | -1): void => {
    busy.set(socket, (busy.get(socket) ?? 0) + by)
    if (retiring.has(socket) && !busy.get(socket)) socket.destroySoon()
  }
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
    // Without a list all may connect that an authority vouches for.
    if (allow && allow.size() > 0 && !isAllowedPeer(incoming.socket, listener, onFault, name)) {
      end(outgoing, 403)
      return
    }
    if (tls.mode === 'mtls') {
      const { socket } = incoming
      count(socket, 1)
      outgoing.once('close', () => count(socket, -1))
    }
    for (const name in safe) outgoing.setHeader(name, safe[name]!)
    try {
      if (options.take) {
        const connection = connectionOf(incoming)
        if (options.take(incoming, outgoing, connection)) return
        told.set(incoming, connection)
      }
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
    byConnection: false,
    retire: (socket) => {
      retiring.add(socket)
      if (!busy.get(socket)) socket.destroy()
    },
    peerTimes: options.peerTimes,
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
