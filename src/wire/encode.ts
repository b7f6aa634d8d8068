import type { AllowAnswer, Answer, DenyAnswer } from '../core/answer.ts'
import type { CheckResponseMessage, HeaderValueOptionMessage } from './messages.ts'
import { servedProtos } from './protos.ts'
import { jsonToStruct } from './struct.ts'

/** HeaderValueOption.HeaderAppendAction */
const overwriteIfExistsOrAdd = 2
/** On the wire even though false: Envoy versions that ignore `append_action` read this one. */
const appendFalse = { value: false } as const

const fieldName = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
// A value that Envoy would refuse turns an allow into its own 503, or lets a client's header of that name survive.
const fieldValue = /^[\t\x20-\x7e]*$/

/** An answer that must not be sent as it is: a fault of ours, to be answered with a denial. */
export class EncodeFault extends Error {
  override readonly name = 'EncodeFault'
}

/**
 * Makes the encoder of CheckResponse messages (envoy.service.auth.v3).
 * @throws {EncodeFault} (the encoder) on an answer that Envoy would read in another way than it is meant
 */
export function createEncoder(): (answer: Answer) => Buffer {
  const serialize = servedProtos().check.responseSerialize
  return (answer) => serialize(answer.kind === 'allow' ? allowed(answer) : denied(answer))
}

function allowed({ mutations, metadata }: AllowAnswer): CheckResponseMessage {
  const headers: HeaderValueOptionMessage[] = []
  for (const [name, value] of mutations.set) headers.push(overwrite(name, value))
  for (const name of mutations.remove) {
    if (!fieldName.test(name)) throw new EncodeFault('a header to remove has an impossible name')
    // Envoy removes after it sets: the value would be lost.
    if (mutations.set.has(name)) throw new EncodeFault(`${name} is both set and removed`)
  }
  return {
    status: { code: 0 },
    ok_response: { headers, headers_to_remove: mutations.remove, query_parameters_to_remove: mutations.removeQuery },
    dynamic_metadata: jsonToStruct(metadata),
  }
}

function denied({ code, status, headers, body, metadata }: DenyAnswer): CheckResponseMessage {
  // Envoy takes code 0 as an allow, and sends a denial with a status below 400 as a success.
  if (!Number.isInteger(code) || code < 1 || code > 16) throw new EncodeFault(`a denial with code ${code}`)
  if (!Number.isInteger(status) || status < 400 || status > 599) throw new EncodeFault(`a denial with status ${status}`)
  return {
    status: { code },
    denied_response: { status: { code: status }, headers: headers.map(([name, value]) => overwrite(name, value)), body },
    dynamic_metadata: jsonToStruct(metadata),
  }
}

function overwrite(key: string, value: string): HeaderValueOptionMessage {
  // `:path` and `host` would rewrite the request that was judged.
  if (!fieldName.test(key) || key === 'host') throw new EncodeFault('a header has a name that may not be set')
  if (!fieldValue.test(value)) throw new EncodeFault(`the value of ${key} holds what is not visible ASCII`)
  return { header: { key, value }, append: appendFalse, append_action: overwriteIfExistsOrAdd }
}
