import type { Answer } from '../../src/core/answer.ts'
import type { Request } from '../../src/core/request.ts'
import type { CheckRequestMessage, CheckResponseMessage } from '../../src/wire/messages.ts'
import { servedProtos } from '../../src/wire/protos.ts'

export type Loose<T> = T extends (infer U)[] ? Loose<U>[] : T extends object ? { [K in keyof T]?: Loose<T[K]> } : T

/** Envoy's side of the codec. */
export const encodeRequest = (message: CheckRequestMessage): Buffer => servedProtos().check.requestSerialize(message)
export const decodeResponse = (message: Buffer): Loose<CheckResponseMessage> => servedProtos().check.responseDeserialize(message)

export const allow: Answer = {
  kind: 'allow',
  reason: 'ok',
  mutations: {
    shared: [new Map([['x-postern-subject', 'alice']])],
    own: [['x-postern-decision', 'd-1']],
    remove: ['x-postern-owner'],
    removeAlso: ['x_postern_owner'],
    removeQuery: ['access_token'],
  },
  metadata: { shared: [{ decision: 'allow', enforced: true, reason: 'ok' }], own: [['check_us', 12]] },
}

/** Allows whatever has a path, as a check would after its stages. */
export const allowAll = (request: Request): Answer => {
  if (request.path !== '') return allow
  const metadata = { shared: [], own: [['reason', 'bad_request']] } as const
  return { kind: 'deny', reason: 'bad_request', status: 400, code: 3, headers: [], body: '', metadata }
}

export const plainRequest: CheckRequestMessage = {
  attributes: { request: { http: { method: 'GET', host: 'h', path: '/x', headers: { ':authority': 'h', 'user-agent': 'test' } } } },
}
