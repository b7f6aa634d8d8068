import { servedProtos } from '../../src/wire/protos.ts'
import type { Ask } from './case.ts'
import type { Received } from './outcome.ts'

/** A message as proto-loader takes it. */
type Json = Record<string, unknown>

/** What a case's texts stand for. */
export interface Filling {
  readonly text: (template: string) => string
  /** URL-encoded PEM. */
  readonly certificate: (said: Exclude<NonNullable<Ask['check']>['certificate'], undefined>) => string
  /** Claims, from a template that gives a token, or as they are. */
  readonly claims: (said: unknown) => Json
}

/** The encoded CheckRequest of a case, and the request that it tells of. */
export function messageOf(ask: Ask, filling: Filling): { bytes: Buffer; sent: Received } {
  const { text } = filling
  const [method = 'GET', ...rest] = text(ask.ask).split(' ')
  const path = rest.join(' ')
  const fields = ask.headers.map((line) => parted(text(line)))
  const raw = ask.check?.raw?.map(([name, value]) => [name, text(value)] as const)
  const sent: Received = { method, path, headers: raw ?? fields, body: text(ask.body) }
  if (ask.check?.bytes !== undefined) return { bytes: Buffer.from(ask.check.bytes.replace(/\s/g, ''), 'hex'), sent }
  const pseudo = { ':method': method, ':path': path, ':authority': text(ask.host), ':scheme': 'https' }
  const headers: Record<string, string> = { ...pseudo }
  // As Envoy does: lower case, one entry a name.
  for (const [said, value] of fields) {
    const name = said.toLowerCase()
    headers[name] = name in headers ? `${headers[name]},${value}` : value
  }
  const list = raw && {
    headers: [...Object.entries(pseudo), ...raw].map(([key, value]) => ({ key, raw_value: Buffer.from(value, 'latin1') })),
  }
  const http: Json = {
    id: '1',
    method,
    path,
    host: text(ask.host),
    scheme: 'https',
    protocol: 'HTTP/1.1',
    ...(list ? { header_map: list } : { headers }),
  }
  const { principal, certificate, verified, extensions } = ask.check ?? {}
  const source: Json = {
    ...(principal !== undefined && { principal: text(principal) }),
    ...(certificate !== undefined && { certificate: filling.certificate(certificate) }),
  }
  const attributes: Json = { source, request: { http } }
  if (extensions) attributes['context_extensions'] = extensions
  if (verified) {
    const members = Object.entries(verified).map(([key, said]) => [key, filling.claims(said)])
    attributes['metadata_context'] = { filter_metadata: { 'envoy.filters.http.jwt_authn': struct(Object.fromEntries(members)) } }
  }
  const message = merged({ attributes }, filled(ask.check?.message ?? {}, text)) as Json
  const encoded = servedProtos().check.requestSerialize(
    message as Parameters<ReturnType<typeof servedProtos>['check']['requestSerialize']>[0],
  )
  return { bytes: Buffer.concat([encoded, Buffer.from((ask.check?.append ?? '').replace(/\s/g, ''), 'hex')]), sent }
}

/** `name: value` */
export function parted(line: string): [name: string, value: string] {
  const colon = line.indexOf(':', 1)
  return colon < 0 ? [line, ''] : [line.slice(0, colon).trim(), line.slice(colon + 1).trim()]
}

/** Objects are merged member by member; null takes a member away. */
function merged(base: unknown, over: unknown): unknown {
  if (!isObject(base) || !isObject(over)) return over
  const result: Json = { ...base }
  for (const [name, value] of Object.entries(over)) {
    if (value === null) delete result[name]
    else result[name] = merged(base[name], value)
  }
  return result
}

/** Fills templates in; `{ bytes: "…" }` is bytes, as latin1. */
function filled(value: unknown, text: Filling['text']): unknown {
  if (typeof value === 'string') return text(value)
  if (Array.isArray(value)) return value.map((one) => filled(one, text))
  if (!isObject(value)) return value
  if (typeof value['bytes'] === 'string') return Buffer.from(text(value['bytes']), 'latin1')
  if ('struct' in value) return struct(value['struct'] as Json)
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, filled(member, text)]))
}

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !Buffer.isBuffer(value)

/** A google.protobuf.Struct of a JSON object. */
const struct = (object: Json): Json => ({
  fields: Object.fromEntries(Object.entries(object).map(([name, value]) => [name, protoValue(value)])),
})

function protoValue(value: unknown): Json {
  if (value === null || value === undefined) return { null_value: 0 }
  if (typeof value === 'string') return { string_value: value }
  if (typeof value === 'number') return { number_value: value }
  if (typeof value === 'boolean') return { bool_value: value }
  if (Array.isArray(value)) return { list_value: { values: value.map(protoValue) } }
  return { struct_value: struct(value as Json) }
}
