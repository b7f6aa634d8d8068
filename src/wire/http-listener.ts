import { createServer, type IncomingMessage, type ServerOptions, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { Connection } from '../core/connection.ts'
import { httpBindFault, type ListenAddress, type Listener, ListenFault } from './listener.ts'
import { openServer } from './open-server.ts'
import { peerSpiffeId } from './peer.ts'

/** A fetch handler, such as that of Hono, whose `env` is the connection. */
export type Fetch = (request: Request, connection: Connection) => Response | Promise<Response>

export interface HttpListenerOptions {
  /** In the policy file: `admin` or `issuer`. */
  readonly name: string
  readonly listener: Listener
  readonly fetch: Fetch
  /** Told of failed handshakes, handlers that threw and certificates that do not load. */
  readonly onFault: (detail: string) => void
  /** For tests: how often certificate files are looked at. */
  readonly certificatesEveryMs?: number
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
}
const maxHeaders = 100
const limited = <S extends { maxHeadersCount: number | null }>(server: S): S => Object.assign(server, { maxHeadersCount: maxHeaders })

/**
 * Serves a fetch handler on node:http or node:https. How much body is read is the application's to limit.
 * @throws {ListenFault} where the listener would be unsafe or cannot be had
 */
export async function startHttpListener(options: HttpListenerOptions): Promise<HttpListener> {
  const { listener, name, fetch, onFault } = options
  const unsafe = httpBindFault(listener, name)
  if (unsafe !== undefined) throw new ListenFault(unsafe)

  const secure = listener.tls.mode !== 'none'
  const handle = getRequestListener(
    (request, { incoming }) =>
      fetch(request, { peer: peerSpiffeId(incoming.socket), secure, remoteAddress: incoming.socket.remoteAddress ?? '' }),
    {
      // The globals of the process stay as they are.
      overrideGlobalObjects: false,
      errorHandler: (cause) => {
        // A request line or Host that makes no URL is the client's fault, and nothing to log.
        if (cause instanceof RequestError) return new Response(null, { status: 400 })
        onFault(`listen.${name}: a handler threw ${cause instanceof Error ? `${cause.name}: ${cause.message}` : 'something'}`)
        return new Response(null, { status: 500 })
      },
    },
  )
  const take = (incoming: IncomingMessage, outgoing: ServerResponse): void => void handle(incoming, outgoing)
  const { server, address, cut, stopWatching } = await openServer({
    listener,
    plain: () => limited(createServer(limits, take)),
    secure: (tls) => limited(createTlsServer({ ...limits, ...tls }, take)),
    onFault: (detail) => onFault(`listen.${name}: ${detail}`),
    certificatesEveryMs: options.certificatesEveryMs,
  })

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
