import type { AllowAnswer, Answer, DenyAnswer } from '../core/answer.ts'
import { BearerToken } from '../core/bearer-token.ts'
import type { HeaderGroup } from '../core/decision.ts'
import type { Metadata, MetadataGroup, MetadataValue } from '../core/metadata.ts'
import { WireWriter } from './write-wire.ts'

/** An answer that must not be sent as it is: a fault of ours, to be answered with a denial. */
export class EncodeFault extends Error {
  override readonly name = 'EncodeFault'
}

/** The tag of a field that holds bytes, text or a message (wire type 2); all field numbers here are below 16. */
const field = (number: number): number => (number << 3) | 2

// envoy.service.auth.v3, by message and field number; test/wire holds them to the definitions.
const CheckResponse = {
  status: field(1),
  denied_response: field(2),
  ok_response: field(3),
  dynamic_metadata: field(4),
  error_response: field(5),
}
const OkHttpResponse = { headers: field(2), headers_to_remove: field(5), query_parameters_to_remove: field(8) }
const DeniedHttpResponse = { status: field(1), headers: field(2), body: field(3) }
// envoy.config.core.v3
const HeaderValueOption = { header: field(1) }
const HeaderValue = { key: field(1), value: field(2) }
// google.protobuf
const Struct = { fields: field(1) }
const FieldsEntry = { key: field(1), value: field(2) }
const Value = { number_value: (2 << 3) | 1, string_value: field(3), bool_value: (4 << 3) | 0 }
/** google.rpc.Status.code, envoy.type.v3.HttpStatus.code */
const code = (1 << 3) | 0

/**
 * What follows the header in each HeaderValueOption. `append` (2), an empty BoolValue: false, and present, since Envoy
 * versions that ignore `append_action` read this one. `append_action` (3): OVERWRITE_IF_EXISTS_OR_ADD.
 */
const overwriting = Uint8Array.of(field(2), 0, (3 << 3) | 0, 2)

/** What was encoded once, for many answers to share. */
interface Kept {
  readonly bytes: Uint8Array
  /** Of a group of headers: the removals that were found to name none of them. */
  disjoint: readonly string[] | undefined
}

/**
 * Makes the encoder of CheckResponse messages (envoy.service.auth.v3).
 * @param outagesAsErrors whether a denial with 500 or 503 is told as `error_response`; asked of such denials alone, each time
 * @throws {EncodeFault} (the encoder) on an answer that Envoy would read in another way than it is meant
 */
export function createEncoder(outagesAsErrors: () => boolean = () => false): (answer: Answer) => Buffer {
  const out = new WireWriter()
  // A group is made ready apart, since a long message may be under way in the other.
  const aside = new WireWriter(1024)
  // Gone when what they were made of is.
  const kept = new WeakMap<object, Kept>()

  const keep = <T extends object>(shared: T, write: (out: WireWriter, shared: T) => void): Kept => {
    let entry = kept.get(shared)
    if (entry === undefined) {
      aside.reset()
      write(aside, shared)
      // Not of the pool: it lives long, and would hold on to what lies beside it.
      entry = { bytes: new Uint8Array(aside.copy()), disjoint: undefined }
      kept.set(shared, entry)
    }
    return entry
  }

  const writeMetadata = ({ shared, own }: Metadata): void => {
    const from = out.written
    for (let i = own.length - 1; i >= 0; i--) writeMember(out, own[i]![0], own[i]![1])
    for (let i = shared.length - 1; i >= 0; i--) out.raw(keep(shared[i]!, writeMembers).bytes)
    out.delimited(CheckResponse.dynamic_metadata, from)
  }

  const writeAllow = ({ mutations }: AllowAnswer): void => {
    const { shared, own, remove, removeAlso, removeQuery } = mutations
    const from = out.written
    for (let i = removeQuery.length - 1; i >= 0; i--) writeText(out, OkHttpResponse.query_parameters_to_remove, removeQuery[i]!)
    for (let i = removeAlso.length - 1; i >= 0; i--) writeRemoval(out, removeAlso[i]!)
    out.raw(keep(remove, writeRemovals).bytes)
    for (let i = own.length - 1; i >= 0; i--) {
      const [name, value] = own[i]!
      notRemoved(name, mutations)
      writeHeader(out, OkHttpResponse.headers, name, value)
    }
    for (let i = shared.length - 1; i >= 0; i--) {
      const group = keep(shared[i]!, writeHeaders)
      if (group.disjoint !== remove || removeAlso.length > 0) {
        for (const name of shared[i]!.keys()) notRemoved(name, mutations)
        group.disjoint = remove
      }
      out.raw(group.bytes)
    }
    out.delimited(CheckResponse.ok_response, from)
    writeStatus(out, 0)
  }

  return (answer) => {
    out.reset()
    writeMetadata(answer.metadata)
    if (answer.kind === 'allow') writeAllow(answer)
    else writeDenial(out, answer, answer.status >= 500 && outagesAsErrors() ? CheckResponse.error_response : CheckResponse.denied_response)
    return out.copy()
  }
}

/** Envoy removes after it sets: the value would be lost. */
function notRemoved(name: string, { remove, removeAlso }: AllowAnswer['mutations']): void {
  if (remove.includes(name) || removeAlso.includes(name)) throw new EncodeFault(`${name} is both set and removed`)
}

/** @param tag `denied_response`, or `error_response` (Envoy 1.37), which has the same type (DeniedHttpResponse) */
function writeDenial(out: WireWriter, { code, status, headers, body }: DenyAnswer, tag: number): void {
  // Envoy takes code 0 as an allow, and sends a denial with a status below 400 as a success.
  if (!Number.isInteger(code) || code < 1 || code > 16) throw new EncodeFault(`a denial with code ${code}`)
  if (!Number.isInteger(status) || status < 400 || status > 599) throw new EncodeFault(`a denial with status ${status}`)
  const from = out.written
  if (body !== '') {
    const start = out.written
    out.utf8(body)
    out.delimited(DeniedHttpResponse.body, start)
  }
  for (let i = headers.length - 1; i >= 0; i--) writeHeader(out, DeniedHttpResponse.headers, headers[i]![0], headers[i]![1])
  const start = out.written
  writeCode(out, status)
  out.delimited(DeniedHttpResponse.status, start)
  out.delimited(tag, from)
  writeStatus(out, code)
}

/** Present also where its code is 0, which proto3 does not write. */
function writeStatus(out: WireWriter, value: number): void {
  const from = out.written
  if (value !== 0) writeCode(out, value)
  out.delimited(CheckResponse.status, from)
}

function writeCode(out: WireWriter, value: number): void {
  out.varint(value)
  out.byte(code)
}

function writeText(out: WireWriter, tag: number, text: string): void {
  const from = out.written
  out.utf8(text)
  out.delimited(tag, from)
}

const fieldName = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
const fieldValue = /^[\t\x20-\x7e]*$/
const ascii = /^[\0-\x7f]*$/

function writeHeaders(out: WireWriter, group: HeaderGroup): void {
  for (const [name, value] of [...group].reverse()) writeHeader(out, OkHttpResponse.headers, name, value)
}

function writeHeader(out: WireWriter, tag: number, name: string, value: string | BearerToken): void {
  // `:path` and `host` would rewrite the request that was judged.
  if (!fieldName.test(name) || name === 'host') throw new EncodeFault('a header has a name that may not be set')
  const text = value instanceof BearerToken ? value.authorization : value
  // A value that Envoy would refuse turns an allow into its own 503, or lets a client's header of that name survive.
  if (typeof text !== 'string' || (text === value && !fieldValue.test(text)))
    throw new EncodeFault(`the value of ${name} holds what is not visible ASCII`)
  const option = out.written
  out.raw(overwriting)
  const header = out.written
  out.ascii(text)
  out.delimited(HeaderValue.value, header)
  const key = out.written
  out.ascii(name)
  out.delimited(HeaderValue.key, key)
  out.delimited(HeaderValueOption.header, header)
  out.delimited(tag, option)
}

function writeRemovals(out: WireWriter, names: readonly string[]): void {
  for (const name of [...names].reverse()) writeRemoval(out, name)
}

function writeRemoval(out: WireWriter, name: string): void {
  if (!fieldName.test(name)) throw new EncodeFault('a header to remove has an impossible name')
  const from = out.written
  out.ascii(name)
  out.delimited(OkHttpResponse.headers_to_remove, from)
}

function writeMembers(out: WireWriter, group: MetadataGroup): void {
  for (const [name, value] of Object.entries(group).reverse()) writeMember(out, name, value)
}

function writeMember(out: WireWriter, name: string, value: MetadataValue): void {
  const entry = out.written
  if (typeof value === 'string') {
    if (ascii.test(value)) out.ascii(value)
    else out.utf8(value)
    out.delimited(Value.string_value, entry)
  } else if (typeof value === 'number') {
    out.double(value)
    out.byte(Value.number_value)
  } else {
    out.byte(value ? 1 : 0)
    out.byte(Value.bool_value)
  }
  out.delimited(FieldsEntry.value, entry)
  const key = out.written
  out.ascii(name)
  out.delimited(FieldsEntry.key, key)
  out.delimited(Struct.fields, entry)
}
