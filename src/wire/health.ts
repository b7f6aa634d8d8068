import type { Server, ServerWritableStream, UntypedServiceImplementation } from '@grpc/grpc-js'
import { HealthImplementation, type ServingStatus } from 'grpc-health-check'

/** grpc.health.v1 of one server. */
export interface Health {
  readonly addTo: (grpc: Server) => void
  readonly set: (up: boolean) => void
  /** NOT_SERVING, and the end of all Watch calls: they would hold up the drain. */
  readonly end: () => void
}

type WatchCall = ServerWritableStream<unknown, unknown>

/** @param services names that are asked for; '' is the whole server */
export function createHealth(services: readonly string[]): Health {
  const implementation = new HealthImplementation(Object.fromEntries(services.map((name) => [name, 'NOT_SERVING' as const])))
  const watching = new Set<WatchCall>()
  const set = (status: ServingStatus): void => {
    for (const name of services) implementation.setStatus(name, status)
  }
  return {
    addTo: (grpc) => {
      implementation.addToServer({
        addService: (service, methods) => {
          const { watch } = methods as unknown as { readonly watch: (call: WatchCall) => void }
          const tracked = (call: WatchCall): void => {
            watching.add(call)
            call.once('close', () => watching.delete(call))
            call.once('cancelled', () => watching.delete(call))
            watch(call)
          }
          grpc.addService(service, { ...(methods as UntypedServiceImplementation), watch: tracked as never })
        },
      } as Parameters<typeof implementation.addToServer>[0])
    },
    set: (up) => set(up ? 'SERVING' : 'NOT_SERVING'),
    end: () => {
      set('NOT_SERVING')
      for (const call of watching) call.end()
      watching.clear()
    },
  }
}
