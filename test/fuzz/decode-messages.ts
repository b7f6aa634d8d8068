import fc from 'fast-check'
import type { CheckRequestMessage, ValueMessage } from '../../src/wire/messages.ts'
import { servedProtos } from '../../src/wire/protos.ts'

/** Fields that are never asked for, so that there is something to walk past. */
type Message = CheckRequestMessage & { readonly attributes?: Record<string, unknown> }

const text = fc.string({ unit: 'grapheme', maxLength: 80 }).filter((value) => value.isWellFormed())
const plain = fc.string({ unit: 'grapheme-ascii', maxLength: 20 })
const long = fc.string({ unit: 'grapheme-ascii', minLength: 100, maxLength: 300 })
const maybe = <T>(arb: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arb, { nil: undefined })
const some = <T extends object>(shape: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> =>
  fc.record(shape, { requiredKeys: [] }) as fc.Arbitrary<Partial<T>>

const tokenChars = [..."!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"]
const name = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('authorization', 'host', 'cookie', 'x-request-id', 'x_y', '__proto__', 'constructor', '12') },
  { weight: 3, arbitrary: fc.string({ unit: fc.constantFrom(...tokenChars), minLength: 1, maxLength: 20 }) },
  { weight: 2, arbitrary: fc.constantFrom(':method', ':path', ':authority', ':scheme', ':status') },
  { weight: 1, arbitrary: fc.constantFrom('Authorization', 'Host', 'X-Y', 'HOST') },
)
const headerValue = fc.oneof(plain, text, long)
const headers = fc.dictionary(name, headerValue, { maxKeys: 30, noNullPrototype: true })
const headerList = fc.array(
  fc.oneof(
    fc.record({ key: name, value: headerValue }),
    fc.record({ key: name, raw_value: headerValue.map((value) => Buffer.from(value)) }),
    fc.tuple(name, headerValue).map(([key, value]) => ({ key, value, raw_value: Buffer.from(value) })),
  ),
  { maxLength: 30 },
)

const claim = fc.oneof(fc.constantFrom('sub', 'iss', 'aud', 'exp', 'jti', 'roles', '__proto__', 'a/b', ''), plain, text)
/** google.protobuf.Value */
export const { value, struct } = fc.letrec<{ value: ValueMessage; struct: { fields: Record<string, ValueMessage> } }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(text, plain, long).map((string_value) => ({ string_value })),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number_value) => ({ number_value })),
    fc.integer().map((number_value) => ({ number_value })),
    fc.boolean().map((bool_value) => ({ bool_value })),
    fc.constant({ null_value: 0 as const }),
    tie('struct').map((struct_value) => ({ struct_value })),
    fc.array(tie('value'), { maxLength: 5 }).map((values) => ({ list_value: { values } })),
  ),
  struct: fc.dictionary(claim, tie('value'), { maxKeys: 24, noNullPrototype: true }).map((fields) => ({ fields })),
}))

const address = fc.oneof(
  fc.record({ socket_address: fc.record({ address: plain, port_value: fc.nat(65_535), protocol: fc.constantFrom(0, 1) }) }),
  fc.record({ pipe: fc.record({ path: plain, mode: fc.nat() }) }),
)
const map = (values: fc.Arbitrary<unknown>) => fc.dictionary(text, values, { maxKeys: 6, noNullPrototype: true })
const peer = some({ address, service: plain, labels: map(text), principal: fc.oneof(plain, text, long), certificate: fc.oneof(long, text) })
const payloads = fc.dictionary(
  fc.oneof(fc.constantFrom('users', 'agents', '__proto__'), text),
  fc.oneof(
    struct.map((s) => ({ struct_value: s })),
    value,
  ),
  {
    maxKeys: 3,
    noNullPrototype: true,
  },
)
const metadata = some({
  filter_metadata: fc.tuple(maybe(payloads), map(struct)).map(([jwt, others]) => ({
    ...others,
    ...(jwt ? { 'envoy.filters.http.jwt_authn': { fields: jwt } } : {}),
  })),
  typed_filter_metadata: map(fc.record({ type_url: plain, value: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)) })),
})
const target = text.filter((chars) => !chars.includes('\ufffd'))
const http = some({
  id: plain,
  method: fc.oneof(fc.constantFrom('GET', 'POST'), target),
  path: fc.oneof(target, long),
  host: target,
  scheme: fc.constantFrom('http', 'https'),
  query: plain,
  fragment: plain,
  size: fc.integer({ min: -1, max: 1_000_000 }),
  protocol: plain,
  body: text,
  raw_body: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
})
const request = fc
  .record({
    time: maybe(fc.record({ seconds: fc.integer(), nanos: fc.integer() })),
    http,
    fields: fc.oneof(
      headers.map((map) => ({ headers: map })),
      headerList.map((list) => ({ header_map: { headers: list } })),
      fc.constant({}),
    ),
  })
  .map(({ time, http: rest, fields }) => ({ ...(time ? { time } : {}), http: { ...rest, ...fields } }))

/** Messages in which every field of the definitions may be filled. */
export const message: fc.Arbitrary<Message> = fc.record({
  attributes: some({
    source: peer,
    destination: peer,
    request,
    context_extensions: fc.dictionary(fc.oneof(fc.constant('realm'), text), fc.oneof(plain, text, long), {
      maxKeys: 5,
      noNullPrototype: true,
    }),
    metadata_context: metadata,
    route_metadata_context: metadata,
    tls_session: fc.record({ sni: plain }),
  }),
}) as fc.Arbitrary<Message>

/** Encoded by protobufjs. */
export const encoded: fc.Arbitrary<Buffer> = message.map((fields) => servedProtos().check.requestSerialize(fields))

/** One thing that happens to bytes on a bad day; places are fractions of the length, so that they survive shrinking. */
const damage = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: fc.double({ min: 0, max: 0.999, noNaN: true }), bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('set' as const), at: fc.double({ min: 0, max: 0.999, noNaN: true }), byte: fc.nat(255) }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.double({ min: 0, max: 0.999, noNaN: true }) }),
  fc.record({
    kind: fc.constant('drop' as const),
    at: fc.double({ min: 0, max: 0.999, noNaN: true }),
    length: fc.integer({ min: 1, max: 12 }),
  }),
  fc.record({
    kind: fc.constant('insert' as const),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }),
  }),
  fc.record({
    kind: fc.constant('repeat' as const),
    at: fc.double({ min: 0, max: 0.999, noNaN: true }),
    length: fc.integer({ min: 1, max: 60 }),
  }),
)
export type Damage = typeof damage extends fc.Arbitrary<infer T> ? T : never
export const damages = fc.array(damage, { minLength: 1, maxLength: 4 })

/** The bytes after all of that. */
export function damaged(bytes: Buffer, list: readonly Damage[]): Buffer {
  let out = Buffer.from(bytes)
  for (const one of list) {
    const at = Math.floor(one.at * out.length)
    if (one.kind === 'flip' && out.length > 0) out[at]! ^= 1 << one.bit
    if (one.kind === 'set' && out.length > 0) out[at] = one.byte
    if (one.kind === 'cut') out = out.subarray(0, at)
    if (one.kind === 'drop') out = Buffer.concat([out.subarray(0, at), out.subarray(at + one.length)])
    if (one.kind === 'insert') out = Buffer.concat([out.subarray(0, at), one.bytes, out.subarray(at)])
    if (one.kind === 'repeat') out = Buffer.concat([out.subarray(0, at + one.length), out.subarray(at)])
  }
  return out
}
