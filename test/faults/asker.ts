import { type ChannelCredentials, Client, credentials } from '@grpc/grpc-js'
import { servedProtos } from '../../src/wire/protos.ts'

/** A caller of the check port with one connection of its own, which it keeps. */
export interface Asker {
  /** What a GET with this token is answered: `ok`, or the reason. */
  readonly ask: (path: string, token?: string) => Promise<string>
  readonly close: () => void
}

/** The answer, as much as is looked at here. */
interface Answer {
  readonly status?: { readonly code?: number }
  readonly denied_response?: { readonly body?: string }
}

/** @param address `unix:/path` or `host:port` */
export function openAsker(address: string, channel: ChannelCredentials = credentials.createInsecure()): Asker {
  const { path: method, requestSerialize, responseDeserialize } = servedProtos().check
  // Otherwise two clients of one address would share a connection.
  const client = new Client(address, channel, { 'grpc.use_local_subchannel_pool': 1, 'grpc.ssl_target_name_override': 'localhost' })
  return {
    ask: (path, token) =>
      new Promise((resolve, reject) => {
        const headers = { ':authority': 'edge', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) }
        const request = { attributes: { request: { http: { method: 'GET', host: 'edge', path, headers } } } }
        client.makeUnaryRequest(
          method,
          () => requestSerialize(request),
          (bytes) => responseDeserialize(bytes) as Answer,
          {},
          { deadline: Date.now() + 2000 },
          (fault, answer) => {
            if (fault) reject(fault)
            else resolve(answer?.denied_response ? reasonOf(answer.denied_response.body) : 'ok')
          },
        )
      }),
    close: () => client.close(),
  }
}

const reasonOf = (body = ''): string => (JSON.parse(body) as { reason: string }).reason
