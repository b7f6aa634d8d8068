import { createServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { experimental, Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js'
import { ReflectionService } from '@grpc/reflection'
import type { CheckHandler } from './check-handler.ts'
import { createHealth } from './health.ts'
import { bindFault, ListenFault } from './listener.ts'
import { openServer } from './open-server.ts'
import { isAllowedPeer } from './peer.ts'
import { servedProtos } from './protos.ts'
import { refuseCalls } from './refuse-calls.ts'
import {
  authorizationService,
  type CheckServer,
  type CheckServerOptions,
  checkServer,
  defaultMaxReceive,
  defaultMaxStreams,
} from './transport.ts'

export interface GrpcServerOptions extends CheckServerOptions {
  /** Whether gRPC reflection is served. */
  readonly reflection: boolean
}

/**
 * Serves Authorization/Check, grpc.health.v1 and reflection with @grpc/grpc-js. Sockets are accepted here and
 * handed to it: so their file mode, certificates and peers are ours to judge, and are judged once a connection.
 * @throws {ListenFault} where the listener would be unsafe or cannot be had
 */
export async function startGrpcServer(options: GrpcServerOptions): Promise<CheckServer> {
  const { listener, onFault } = options
  const unsafe = bindFault(listener)
  if (unsafe !== undefined) throw new ListenFault(unsafe)

  const grpc = new Server({
    'grpc.max_receive_message_length': options.maxReceive ?? defaultMaxReceive,
    'grpc.max_concurrent_streams': options.maxStreams ?? defaultMaxStreams,
    'grpc.keepalive_time_ms': 60_000,
    'grpc.keepalive_timeout_ms': 20_000,
    'grpc.enable_channelz': 0,
  })
  const health = createHealth(['', authorizationService])
  addCheck(grpc, options.handler)
  health.addTo(grpc)
  if (options.reflection) {
    new ReflectionService(servedProtos().definition, { services: [authorizationService, 'grpc.health.v1.Health'] }).addToServer(grpc)
  }

  const served = grpc.createConnectionInjector(ServerCredentials.createInsecure())
  const refused = grpc.createConnectionInjector(
    experimental.createServerCredentialsWithInterceptors(ServerCredentials.createInsecure(), [refuseCalls]),
  )
  const take = (socket: Socket): void => {
    socket.on('error', () => {})
    if (isAllowedPeer(socket, listener, onFault)) served.injectConnection(socket)
    else refused.injectConnection(socket)
  }
  const { address, stop, cut, stopWatching } = await openServer({
    listener,
    plain: () => createServer({ noDelay: true }, take),
    secure: (tls) => createTlsServer({ ...tls, ALPNProtocols: ['h2'], noDelay: true }, take),
    onFault,
    certificatesEveryMs: options.certificatesEveryMs,
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

/** Messages stay bytes: decoding is the handler's, so that what cannot be decoded is its denial and no gRPC error. */
function addCheck(grpc: Server, handler: CheckHandler): void {
  const asIs = (message: Buffer): Buffer => message
  const { path } = servedProtos().check
  const check = (call: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>): void => {
    const deadline = Number(call.getDeadline())
    const failed = (): void => reply({ code: status.INTERNAL, details: 'the call failed' })
    try {
      const answer = handler(call.request, deadline === Number.POSITIVE_INFINITY ? undefined : deadline - Date.now())
      if (answer instanceof Promise) answer.then((message) => reply(null, message), failed)
      else reply(null, answer)
    } catch {
      failed()
    }
  }
  const method = {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  }
  grpc.addService({ Check: method }, { Check: check })
}
