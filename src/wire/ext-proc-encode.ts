import type { ImmediateAnswer, ResponseStep } from '../core/processing.ts'
import type {
  HeaderMutationMessage,
  ImmediateResponseMessage,
  ProcessingModeMessage,
  ProcessingResponseMessage,
} from './ext-proc-messages.ts'

type Fields = readonly (readonly [name: string, value: string])[]

// ProcessingMode.HeaderSendMode and BodySendMode. Envoy heeds no override of the request's own headers.
const send = 1
const skip = 2
const none = 0
const buffered = 2

const mode = (response: typeof send | typeof skip, body: typeof none | typeof buffered): ProcessingModeMessage => ({
  request_header_mode: 0,
  response_header_mode: response,
  request_body_mode: none,
  response_body_mode: body,
  request_trailer_mode: skip,
  response_trailer_mode: skip,
})

/** What Envoy is asked to send from here on; `allowed_override_modes` of envoy/capture.yaml lists these three. */
export const modes = { nothing: mode(skip, none), headers: mode(send, none), body: mode(send, buffered) } as const

// OVERWRITE_IF_EXISTS_OR_ADD, said in both ways, as in a CheckResponse.
const overwrite = { append: { value: false }, append_action: 2 } as const

const mutation = (set: Fields, remove: readonly string[]): HeaderMutationMessage => ({
  set_headers: set.map(([key, value]) => ({ header: { key, raw_value: Buffer.from(value, 'latin1') }, ...overwrite })),
  remove_headers: remove,
})

/** The request goes on, without some of its headers. */
export const requestGoesOn = (remove: readonly string[], wanted: ProcessingModeMessage): ProcessingResponseMessage => ({
  request_headers: { response: remove.length > 0 ? { header_mutation: mutation([], remove) } : {} },
  mode_override: wanted,
})

/** The response's headers are answered: they go on as they are, now or after the body. */
export const headersGoOn = (wanted: ProcessingModeMessage): ProcessingResponseMessage => ({
  response_headers: { response: {} },
  mode_override: wanted,
})

/** The response's body goes on as it is, or another in its place. */
export function bodyGoesOn(step: Extract<ResponseStep, { kind: 'pass' | 'replace' }>): ProcessingResponseMessage {
  if (step.kind === 'pass') return { response_body: { response: {} } }
  const { body, set, remove } = step
  // Envoy refuses a body whose length is not that of content-length, and leaves the header as it was.
  const length = ['content-length', String(body.length)] as const
  return {
    response_body: {
      response: {
        header_mutation: mutation([...set.filter(([name]) => name !== 'content-length'), length], remove),
        body_mutation: body.length > 0 ? { body } : { clear_body: true },
      },
    },
  }
}

/** An answer in place of whatever Envoy waits for. */
export const answered = ({ status, headers, body, details }: ImmediateAnswer): ProcessingResponseMessage => ({
  immediate_response: immediate(status, headers, body, details),
})

const immediate = (code: number, headers: Fields, body: string, details: string): ImmediateResponseMessage => ({
  status: { code },
  headers: mutation(headers, []),
  body: Buffer.from(body),
  details,
})
