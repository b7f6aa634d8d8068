import { createServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { experimental, type MethodDefinition, Server, ServerCredentials } from '@grpc/grpc-js'
import { createHealth } from './health.ts'
import { bindFault, type Listener, ListenFault } from './listener.ts'
import { openServer } from './open-server.ts'
import type { SocketSource } from './open-sockets.ts'
import { isAllowedPeer } from './peer.ts'
import type { PeerTimes } from './peers.ts'
import { refuseCalls } from './refuse-calls.ts'
import { type CheckServer, checkServer } from './transport.ts'

export interface GrpcListenerOptions {
  /** In the policy file: `check` or `ext_proc`. */
  readonly name: 'check' | 'ext_proc'
  readonly listener: Listener
  /** Full name of the service, as grpc.health.v1 tells it. */
  readonly service: string
  /** Adds what is served beside health. */
  readonly add: (grpc: Server) => void
  /** Bytes of one message. */
  readonly maxReceive: number
  /** Calls at once on one connection. */
  readonly maxStreams: number
  /** Told of failed handshakes and refused peers; never a credential. */
  readonly onFault: (detail: string) => void
  readonly peerTimes?: Partial<PeerTimes> | undefined
  readonly sockets?: SocketSource | undefined
}

/**
 * A listener that Envoy asks by gRPC, served with @grpc/grpc-js, with grpc.health.v1 beside its service. Sockets are accepted
 * here and handed to it: so their file mode, certificates and peers are ours to judge, and are judged once a connection.
 * @throws {ListenFault} where the listener would be unsafe or cannot be had
 */
export async function openGrpcListener(options: GrpcListenerOptions): Promise<CheckServer> {
  const { name, listener, onFault } = options
  const unsafe = bindFault(listener, name)
  if (unsafe !== undefined) throw new ListenFault(unsafe)

  const grpc = new Server({
    'grpc.max_receive_message_length': options.maxReceive,
    'grpc.max_concurrent_streams': options.maxStreams,
    'grpc.keepalive_time_ms': 60_000,
    'grpc.keepalive_timeout_ms': 20_000,
    'grpc.enable_channelz': 0,
  })
  const health = createHealth(['', options.service])
  options.add(grpc)
  health.addTo(grpc)

  const serving = ServerCredentials.createInsecure()
  const refusing = experimental.createServerCredentialsWithInterceptors(ServerCredentials.createInsecure(), [refuseCalls])
  const served = grpc.createConnectionInjector(serving)
  /** With mTLS each connection has an injector of its own, since that is what can be drained. */
  const apart = new Map<Socket, ReturnType<Server['createConnectionInjector']>>()
  const take = (socket: Socket): void => {
    socket.on('error', () => {})
    // Its certificate has expired since its session began.
    if (socket.destroyed) return
    if (listener.tls.mode !== 'mtls') {
      served.injectConnection(socket)
      return
    }
    const own = grpc.createConnectionInjector(isAllowedPeer(socket, listener, onFault, name) ? serving : refusing)
    apart.set(socket, own)
    socket.once('close', () => {
      apart.delete(socket)
      own.destroy()
    })
    own.injectConnection(socket)
  }
  const { address, stop, cut, stopWatching } = await openServer({
    listener,
    plain: () => createServer({ noDelay: true }, take),
    secure: (tls) => createTlsServer({ ...tls, ALPNProtocols: ['h2'], noDelay: true }, take),
    onFault,
    byConnection: true,
    retire: (socket, graceMs) => apart.get(socket)?.drain(graceMs),
    peerTimes: options.peerTimes,
    sockets: options.sockets,
  })

  const close = async (graceMs: number): Promise<void> => {
    health.end()
    stopWatching()
    // The acceptor is closed when its last socket is. What tryShutdown says is not waited for: where Node's own
    // Http2Server.close() has begun to close the sessions, it calls back while calls are still in flight.
    const stopped = stop()
    grpc.tryShutdown(() => {})
    const timer = setTimeout(cut, graceMs)
    await stopped
    clearTimeout(timer)
    grpc.forceShutdown()
  }
  return checkServer(address, health.set, close)
}

const asIs = (message: Buffer): Buffer => message

/** A method whose messages stay bytes: decoding is the handler's, so that what cannot be decoded is its answer and no gRPC error. */
export const bytesMethod = (path: string, streams: boolean): MethodDefinition<Buffer, Buffer> => ({
  path,
  requestStream: streams,
  responseStream: streams,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
})
