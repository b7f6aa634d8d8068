import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { type ChannelCredentials, type ChannelOptions, Client, credentials, type ServiceError } from '@grpc/grpc-js'
import type { Answer } from '../../src/core/answer.ts'
import type { Soon } from '../../src/core/ports.ts'
import { bareDenial } from '../../src/wire/bare-denial.ts'
import { createCheckHandler } from '../../src/wire/check-handler.ts'
import { startGrpcServer } from '../../src/wire/grpc-server.ts'
import { startLeanServer } from '../../src/wire/lean-server.ts'
import { formatListenAddress, type ListenTls, parseListenAddress } from '../../src/wire/listener.ts'
import type { SocketSource } from '../../src/wire/open-sockets.ts'
import type { CheckServer, CheckServerOptions } from '../../src/wire/transport.ts'
import { allow, encodeRequest, plainRequest } from './support.ts'

export const checkPath = '/envoy.service.auth.v3.Authorization/Check'
export const plain = encodeRequest(plainRequest)
export const asIs = (message: Buffer): Buffer => message

/** Both must answer alike: grpc-js is the oracle. */
export const transports = [
  { name: 'lean', start: startLeanServer },
  { name: 'grpc-js', start: (options: CheckServerOptions) => startGrpcServer({ ...options, reflection: false }) },
] as const

export type Failure = Pick<ServiceError, 'code' | 'details'>

/** @returns the reply, or how the call failed */
export const unary = (client: Client, path: string, message: Buffer, timeoutMs?: number): Promise<Buffer | Failure> =>
  new Promise((resolve) => {
    const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs }
    client.makeUnaryRequest(path, asIs, asIs, message, options, (error, reply) => resolve(error ?? reply ?? Buffer.alloc(0)))
  })

/** The gRPC status of a reply. */
export const code = (reply: Buffer | Failure): number => ('details' in reply ? reply.code : 0)

/** Accepts connections in the place of a server, as the primary of several processes does. */
export interface Door {
  readonly sockets: SocketSource
  readonly taking: () => boolean
  readonly close: () => Promise<void>
}

export async function openDoor(): Promise<Door> {
  let take: ((socket: Socket) => void) | undefined
  const door = createServer((socket) => (take ? take(socket) : socket.destroy())).listen(0, '127.0.0.1')
  await once(door, 'listening')
  const { port } = door.address() as { port: number }
  return {
    sockets: {
      address: { kind: 'tcp', host: '127.0.0.1', port },
      subscribe: (next) => {
        take = next
        return () => {
          take = undefined
        }
      },
    },
    taking: () => take !== undefined,
    close: () => new Promise((resolve) => door.close(() => resolve())),
  }
}

/** Servers of one transport, and clients of them. */
export interface Rig {
  /** What a check answers; back to allow after each test. */
  check: (ms: number) => Soon<Answer>
  readonly faults: string[]
  readonly start: (address: string, tls?: ListenTls, more?: Partial<CheckServerOptions>) => Promise<CheckServer>
  readonly dial: (server: CheckServer, creds?: ChannelCredentials, options?: ChannelOptions) => Client
  /** Closes whatever was started and dialled. */
  readonly clear: () => Promise<void>
}

export function makeRig(startServer: (options: CheckServerOptions) => Promise<CheckServer>): Rig {
  const servers: CheckServer[] = []
  const clients: Client[] = []
  const faults: string[] = []
  const handler = createCheckHandler({
    // What a message may have waited unseen is the subject of other tests: here a check gets its whole share of the deadline.
    turns: { waitedMs: () => 0 },
    check: (_request, ms) => rig.check(ms),
    refuse: (reason) => bareDenial(reason),
    maxInFlight: 1024,
    maxMessage: 64 * 1024,
    maxDeadlineMs: 2000,
  })
  const rig: Rig = {
    check: () => allow,
    faults,
    start: async (address, tls = { mode: 'none' }, more = {}) => {
      const listener = { address: parseListenAddress(address), tls }
      const server = await startServer({ listener, handler, onFault: (detail) => faults.push(detail), ...more })
      servers.push(server)
      server.serving(true)
      return server
    },
    dial: (server, creds = credentials.createInsecure(), options = {}) => {
      const client = new Client(formatListenAddress(server.address), creds, {
        'grpc.use_local_subchannel_pool': 1,
        'grpc.ssl_target_name_override': 'localhost',
        ...options,
      })
      clients.push(client)
      return client
    },
    clear: async () => {
      rig.check = () => allow
      for (const client of clients.splice(0)) client.close()
      await Promise.all(servers.splice(0).map((server) => server.close(200)))
      faults.length = 0
    },
  }
  return rig
}
