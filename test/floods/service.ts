import { readFileSync } from 'node:fs'
import { Client, credentials, type ServiceError } from '@grpc/grpc-js'
import { testCertificates } from '../support/certificates.ts'
import { freePorts } from '../support/free-port.ts'
import { checkPath } from '../support/http2-headers.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { decodeResponse, encodeRequest } from '../wire/support.ts'

export type Transport = 'lean' | 'grpc-js'

/** The real service in a process of its own, with a policy of one public route. */
export interface Service {
  readonly port: number
  readonly pid: number
  /** Of the CA, where it speaks TLS. */
  readonly ca: Buffer | undefined
  readonly postern: RunningPostern
  readonly stop: () => Promise<void>
}

/** Starts `postern serve` on loopback. @param tls whether the check listener has certificates */
export async function startService(transport: Transport, tls = false): Promise<Service> {
  const folder = temporaryFolder()
  try {
    const certificates = tls ? testCertificates(folder.path) : undefined
    const pair = certificates?.server('server')
    const [port = 0, admin = 0] = await freePorts(2)
    const settings = pair ? `{ mode: tls, cert: "${pair.cert}", key: "${pair.key}" }` : '{ mode: none }'
    const postern = await startPostern(policy(transport, port, admin, settings), { folder })
    const stop = async (): Promise<void> => {
      await postern.stop()
      folder.remove()
    }
    return { port, pid: postern.program.pid, ca: certificates && readFileSync(certificates.ca), postern, stop }
  } catch (cause) {
    folder.remove()
    throw cause
  }
}

const policy = (transport: Transport, port: number, admin: number, tls: string): string => `
version: 1
listen:
  check: { address: "127.0.0.1:${port}", transport: ${transport}, tls: ${tls} }
  admin: { address: "127.0.0.1:${admin}" }
state: "memory:"
identity: [{ name: callers, type: mtls, trust_domain: cluster.local, roles: { "spiffe://cluster.local/ns/a/sa/b": [caller] } }]
roles: { caller: {} }
routes: [{ id: open, methods: [GET], path: "/open/**", public: true }]
`

/** A CheckRequest that the policy allows. */
export const allowedCheck: Buffer = encodeRequest({
  attributes: {
    request: {
      http: { method: 'GET', host: 'h', path: '/open/x', headers: { ':authority': 'h', ':path': '/open/x', 'user-agent': 'test' } },
    },
  },
})

/** A client as it should be, on a connection of its own. */
export interface Caller {
  /** Asks once. @returns milliseconds until the allow @throws where the answer is another, or none comes in time */
  readonly ask: () => Promise<number>
  readonly close: () => void
}

/** Two seconds, and two more for machines that do other things beside. */
const answerLimitMs = 4_000

const asIs = (message: Buffer): Buffer => message

export function createCaller({ port, ca }: Pick<Service, 'port' | 'ca'>): Caller {
  const client = new Client(`127.0.0.1:${port}`, ca ? credentials.createSsl(ca) : credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.ssl_target_name_override': 'localhost',
  })
  return {
    ask: () =>
      new Promise((done, fail) => {
        const began = performance.now()
        const take = (error: ServiceError | null, reply?: Buffer): void => {
          if (error || !reply) fail(error ?? new Error('no answer'))
          else if (decodeResponse(reply).status?.code) fail(new Error('a denial'))
          else done(performance.now() - began)
        }
        client.makeUnaryRequest(checkPath, asIs, asIs, allowedCheck, { deadline: Date.now() + answerLimitMs }, take)
      }),
    close: () => client.close(),
  }
}
