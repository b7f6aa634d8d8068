import { Client, credentials, type ServiceError } from '@grpc/grpc-js'
import type { CheckRequestMessage, CheckResponseMessage } from '../../src/wire/messages.ts'
import { servedProtos } from '../../src/wire/protos.ts'
import type { Loose } from '../wire/support.ts'
import type { Outcome, Received } from './outcome.ts'

type Response = Loose<CheckResponseMessage>

/** Asks an ext_authz server directly. */
export interface CheckClient {
  /** @param message an encoded CheckRequest, or what should be one */
  readonly ask: (message: Buffer, sent: Received) => Promise<Outcome>
  readonly close: () => void
}

/** As gRPC's own client writes it: nothing between. */
const asIs = (bytes: Buffer): Buffer => bytes

/** @param target host:port */
export function checkClient(target: string): CheckClient {
  const { check } = servedProtos()
  const client = new Client(target, credentials.createInsecure(), { 'grpc.max_send_message_length': -1 })
  return {
    close: () => client.close(),
    ask: (message, sent) =>
      new Promise((done) => {
        const answered = (error: ServiceError | null, response?: Response): void =>
          done(error || !response ? { kind: 'error', status: 0, detail: `gRPC ${error?.code} ${error?.details}` } : judged(response, sent))
        const decode = (bytes: Buffer): Response => check.responseDeserialize(bytes)
        client.makeUnaryRequest<Buffer, Response>(check.path, asIs, decode, message, { deadline: Date.now() + 2_000 }, answered)
      }),
  }
}

/** What Envoy 1.40 would do with an answer. */
function judged(response: Response, sent: Received): Outcome {
  const reason = response.dynamic_metadata?.fields?.['reason']?.string_value
  const code = response.status?.code ?? 0
  if (code !== 0) {
    const status = response.denied_response?.status?.code || 403
    // A denial whose status is a success is told to the client as one.
    const kind = status < 400 ? 'error' : 'deny'
    return {
      kind,
      status,
      detail: `code ${code}, ${status} ${response.denied_response?.body ?? ''}`,
      ...(reason !== undefined && { reason }),
    }
  }
  const received = applied(response.ok_response, sent)
  return { kind: 'allow', status: 200, received, detail: 'allowed' }
}

function applied(ok: Response['ok_response'], sent: Received): Received {
  let headers = [...sent.headers]
  for (const option of ok?.headers ?? []) {
    const name = (option?.header?.key ?? '').toLowerCase()
    if (option?.append?.value !== true) headers = headers.filter(([one]) => one !== name)
    headers.push([name, option?.header?.value ?? ''])
  }
  const removed = new Set((ok?.headers_to_remove ?? []).map((name) => (name ?? '').toLowerCase()))
  const parameters = new Set(ok?.query_parameters_to_remove ?? [])
  const [path = '', query] = sent.path.split(/\?(.*)/s)
  const kept = query?.split('&').filter((part) => !parameters.has(part.split('=')[0] ?? ''))
  return { ...sent, path: kept?.length ? `${path}?${kept.join('&')}` : path, headers: headers.filter(([name]) => !removed.has(name)) }
}

export type { CheckRequestMessage }
