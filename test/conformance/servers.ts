import { once } from 'node:events'
import { createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { bareDenial } from '../../src/wire/bare-denial.ts'
import { type CheckHandler, createCheckHandler } from '../../src/wire/check-handler.ts'
import { startGrpcServer } from '../../src/wire/grpc-server.ts'
import { startLeanServer } from '../../src/wire/lean-server.ts'
import { parseListenAddress } from '../../src/wire/listener.ts'
import { allowAll } from '../wire/support.ts'

export interface Served {
  readonly port: number
  readonly stop: () => Promise<void>
}

export const transports = { lean: startLeanServer, 'grpc-js': startGrpcServer }
export type Transport = keyof typeof transports

/**
 * Nothing but node:http2, which is nghttp2: each request gets 200, without a look at it.
 * @param body of the answers; without one they are HEADERS alone, as those of gRPC errors are
 */
export async function startBareServer(body?: string): Promise<Served> {
  const server = createServer((_request, response) => void (body === undefined ? response.end() : response.end(body)))
  server.on('sessionError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    stop: async () => {
      server.close()
      await once(server, 'close')
    },
  }
}

/** The check listener over TCP, with a policy that allows whatever can be read. */
export async function startCheckServer(transport: Transport, handler: CheckHandler = trivialHandler()): Promise<Served> {
  const server = await transports[transport]({
    listener: { address: parseListenAddress('127.0.0.1:0'), tls: { mode: 'none' } },
    handler,
    reflection: false,
    onFault: () => {},
  })
  server.serving(true)
  if (server.address.kind !== 'tcp') throw new Error('it was to listen on TCP')
  return { port: server.address.port, stop: () => server.close(100) }
}

const trivialHandler = (): CheckHandler =>
  createCheckHandler({
    check: allowAll,
    refuse: (reason) => bareDenial(reason),
    maxInFlight: 1024,
    maxMessage: 256 * 1024,
    maxDeadlineMs: 2000,
  })
