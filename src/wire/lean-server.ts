import { constants, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { createServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { type Method, refuseStream } from './lean-call.ts'
import { Connections, CountedCall, type ServedConnection, type ServerLimits } from './lean-connections.ts'
import { drainSession } from './lean-drain.ts'
import { leanHealth } from './lean-health.ts'
import { createTimeoutReader, judgeEncoding, judgeHeaders } from './lean-request.ts'
import { openSession, sessionOptions } from './lean-session.ts'
import { code, refusal } from './lean-status.ts'
import { watchCalls } from './lean-watch.ts'
import { bindFault, ListenFault } from './listener.ts'
import { openServer } from './open-server.ts'
import { isAllowedPeer } from './peer.ts'
import {
  authorizationService,
  type CheckServer,
  type CheckServerOptions,
  checkServer,
  defaultMaxReceive,
  defaultMaxStreams,
  refusedPeer,
} from './transport.ts'

const checkPath = `/${authorizationService}/Check`
const notAllowed = refusal(code.permissionDenied, refusedPeer)

export interface LeanServerOptions extends CheckServerOptions {
  /** For tests: how often open calls and connections are looked over; 1 s unless given. */
  readonly lookEveryMs?: number
  /** For tests: what differs from `serverLimits`. */
  readonly limits?: Partial<ServerLimits>
}

/** As much of an unknown `:path` as is told back. */
const longestPath = 200

/** Messages under way on one connection, in multiples of the largest. */
const unfinishedMessages = 4

/** The reasons for the numbers are in docs/decisions/0012-lean-transport.md. */
const serverLimits = { maxConnections: 1024, maxCalls: 8192, reservedCalls: 8, maxUnfinishedTotal: 64 * 1024 * 1024 }

/**
 * Serves Authorization/Check and grpc.health.v1 on node:http2, and nothing else. A call is answered as soon as its
 * message is whole.
 * @throws {ListenFault} where the listener would be unsafe or cannot be had
 */
export async function startLeanServer(options: LeanServerOptions): Promise<CheckServer> {
  const { listener, handler, onFault } = options
  const unsafe = bindFault(listener)
  if (unsafe !== undefined) throw new ListenFault(unsafe)

  const health = leanHealth(['', authorizationService])
  const check: Method = (call, message) => {
    const answer = handler(message, call.leftMs())
    if (answer instanceof Promise) call.answerLater(answer)
    else call.answer(answer)
  }
  const methods = new Map(health.methods).set(checkPath, check)
  const calls = watchCalls(options.lookEveryMs)
  const readTimeout = createTimeoutReader()
  const maxReceive = options.maxReceive ?? defaultMaxReceive
  const http2 = sessionOptions(options.maxStreams ?? defaultMaxStreams)
  const connections = new Connections(
    { ...serverLimits, maxReceive, maxUnfinished: maxReceive * unfinishedMessages, ...options.limits },
    onFault,
  )
  const bySocket = new Map<Socket, ServerHttp2Session>()
  let closing = false

  const serve = (connection: ServedConnection) => (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on('error', ignore)
    const noGrpc = judgeHeaders(headers)
    if (noGrpc) return refuseStream(stream, noGrpc)
    const path = headers[':path'] ?? ''
    const method = methods.get(path)
    if (!method)
      return refuseStream(stream, refusal(code.unimplemented, `The server does not implement the method ${path.slice(0, longestPath)}`))
    const noEncoding = judgeEncoding(headers)
    if (noEncoding) return refuseStream(stream, noEncoding)
    const timeoutMs = readTimeout(headers)
    if (typeof timeoutMs === 'object') return refuseStream(stream, timeoutMs)
    if (!connection.admit()) return stream.close(constants.NGHTTP2_REFUSED_STREAM)
    calls.add(new CountedCall(stream, method, timeoutMs, connection))
  }
  const refuse = (stream: ServerHttp2Stream): void => {
    stream.on('error', ignore)
    refuseStream(stream, notAllowed)
  }
  const take = (socket: Socket): void => {
    socket.on('error', ignore)
    // A handshake that ended after close() began.
    if (closing) {
      socket.destroy()
      return
    }
    const allowed = isAllowedPeer(socket, listener, onFault)
    const connection = connections.of(socket)
    const session = openSession(socket, http2, allowed ? serve(connection) : refuse, options.lookEveryMs)
    if (!session) return
    bySocket.set(socket, session)
    session.once('close', () => bySocket.delete(socket))
  }
  const { address, stop, cut, stopWatching } = await openServer({
    listener,
    plain: () => connections.follow(createServer({ noDelay: true }, take)),
    secure: (tls) => connections.follow(createTlsServer({ ...tls, ALPNProtocols: ['h2'], noDelay: true }, take)),
    onFault,
    byConnection: true,
    retire: (socket) => {
      const session = bySocket.get(socket)
      if (session) drainSession(session, socket)
      else socket.destroy()
    },
    peerTimes: options.peerTimes,
    sockets: options.sockets,
  }).catch((cause: unknown) => {
    calls.end()
    throw cause
  })

  const close = async (graceMs: number): Promise<void> => {
    closing = true
    health.end()
    stopWatching()
    const stopped = stop()
    for (const [socket, session] of bySocket) drainSession(session, socket)
    const timer = setTimeout(cut, graceMs)
    await stopped
    clearTimeout(timer)
    calls.end()
  }
  return checkServer(address, health.set, close)
}

const ignore = (): void => {}
