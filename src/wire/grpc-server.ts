import { type Server, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js'
import { ReflectionService } from '@grpc/reflection'
import type { CheckHandler } from './check-handler.ts'
import { bytesMethod, openGrpcListener } from './grpc-listener.ts'
import { servedProtos } from './protos.ts'
import { authorizationService, type CheckServer, type CheckServerOptions, defaultMaxReceive, defaultMaxStreams } from './transport.ts'

export interface GrpcServerOptions extends CheckServerOptions {
  /** Whether gRPC reflection is served. */
  readonly reflection: boolean
}

/**
 * Serves Authorization/Check, grpc.health.v1 and reflection with @grpc/grpc-js.
 * @throws {ListenFault} where the listener would be unsafe or cannot be had
 */
export async function startGrpcServer(options: GrpcServerOptions): Promise<CheckServer> {
  const { listener, handler, onFault, peerTimes, sockets } = options
  return openGrpcListener({
    name: 'check',
    listener,
    service: authorizationService,
    add: (grpc) => {
      addCheck(grpc, handler)
      if (!options.reflection) return
      new ReflectionService(servedProtos().definition, { services: [authorizationService, 'grpc.health.v1.Health'] }).addToServer(grpc)
    },
    maxReceive: options.maxReceive ?? defaultMaxReceive,
    maxStreams: options.maxStreams ?? defaultMaxStreams,
    onFault,
    peerTimes,
    sockets,
  })
}

function addCheck(grpc: Server, handler: CheckHandler): void {
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
  grpc.addService({ Check: bytesMethod(servedProtos().check.path, false) }, { Check: check })
}
