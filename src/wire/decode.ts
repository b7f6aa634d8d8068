import { isUtf8 } from 'node:buffer'
import type { JsonObject } from '../core/json.ts'
import type { Request } from '../core/request.ts'
import type { CheckRequestMessage, HttpRequestMessage } from './messages.ts'
import { servedProtos } from './protos.ts'
import { structToJson } from './struct.ts'

/** Why a message is no CheckRequest that can be judged. It holds no value of the message. */
export class DecodeFault {
  readonly detail: string
  constructor(detail: string) {
    this.detail = detail
  }
}

/** Where Envoy's jwt_authn filter leaves verified payloads. */
const jwtNamespace = 'envoy.filters.http.jwt_authn'

// RFC 9110, section 5.1: a token; a leading colon marks the pseudo-headers of HTTP/2.
const fieldName = /^:?[!#$%&'*+\-.^_`|~0-9a-z]+$/

/** Header fields of one request: lower-case name → value, and how often a name came where that was more than once. */
interface Fields {
  readonly values: Map<string, string>
  readonly pseudo: Map<string, string>
  counts: Map<string, number> | undefined
}

/**
 * Makes the decoder of CheckRequest messages (envoy.service.auth.v3). It never throws. A message without
 * attributes becomes a request with an empty path, which every check refuses.
 */
export function createDecoder(): (message: Buffer) => Request | DecodeFault {
  const deserialize = servedProtos().check.requestDeserialize
  return (message) => {
    try {
      return toRequest(deserialize(message))
    } catch (cause) {
      return new DecodeFault(`no CheckRequest: ${cause instanceof Error ? cause.name : 'unreadable'}`)
    }
  }
}

function toRequest(message: CheckRequestMessage): Request | DecodeFault {
  const { source, request, context_extensions: extensions, metadata_context: metadata } = message.attributes ?? {}
  const http: HttpRequestMessage = request?.http ?? {}
  const fields = readFields(http)
  if (fields instanceof DecodeFault) return fields
  const { values, pseudo } = fields
  const method = http.method || pseudo.get(':method') || ''
  const host = http.host || pseudo.get(':authority') || values.get('host') || ''
  const path = http.path || pseudo.get(':path') || ''
  // The replacement character stands for bytes that were no UTF-8: routes are not matched on what was lost.
  if (method.includes('\ufffd') || host.includes('\ufffd') || path.includes('\ufffd'))
    return new DecodeFault('method, host or path is no UTF-8')
  // The chain asks for a payload and so does each validator: it is read from the message once.
  let read: Map<string, JsonObject> | undefined
  return {
    method,
    host,
    path,
    scheme: http.scheme || pseudo.get(':scheme') || '',
    header: (name) => values.get(name),
    headerCount: (name) => fields.counts?.get(name) ?? (values.has(name) ? 1 : 0),
    headerNames: () => values.keys(),
    peerPrincipal: source?.principal ?? '',
    peerCertificate: source?.certificate ?? '',
    extension: (name) => (extensions && Object.hasOwn(extensions, name) ? extensions[name] : undefined),
    verifiedPayload: (key) => {
      const known = read?.get(key)
      if (known) return known
      const spaces = metadata?.filter_metadata
      if (!spaces || !Object.hasOwn(spaces, jwtNamespace)) return undefined
      const payloads = spaces[jwtNamespace]?.fields
      if (!payloads || !Object.hasOwn(payloads, key)) return undefined
      const payload = payloads[key]?.struct_value
      // What is there and cannot be read was presented all the same: no claims, so that every validator rejects it.
      const claims = (payload && structToJson(payload)) ?? {}
      read ??= new Map()
      read.set(key, claims)
      return claims
    },
  }
}

/** Envoy fills either `headers` or, with encode_raw_headers, `header_map`; gRPC's client (A92) `header_map` only. */
function readFields(http: HttpRequestMessage): Fields | DecodeFault {
  const fields: Fields = { values: new Map(), pseudo: new Map(), counts: undefined }
  const { headers } = http
  const list = http.header_map?.headers ?? []
  if (headers) {
    if (list.length > 0) return new DecodeFault('both headers and header_map are filled')
    for (const name of Object.keys(headers)) {
      const fault = add(fields, name, headers[name] ?? '')
      if (fault) return fault
    }
    return fields
  }
  for (const { key = '', value = '', raw_value: raw } of list) {
    let text = value
    if (raw !== undefined && raw.length > 0) {
      if (!isUtf8(raw)) return new DecodeFault('a header value is no UTF-8')
      text = raw.toString('utf8')
      if (value !== '' && value !== text) return new DecodeFault('value and raw_value of a header differ')
    }
    const fault = add(fields, key, text)
    if (fault) return fault
  }
  return fields
}

function add(fields: Fields, name: string, value: string): DecodeFault | undefined {
  let key = name
  if (!fieldName.test(key)) {
    key = asciiLowerCase(name)
    if (!fieldName.test(key)) return new DecodeFault('a header name is no token')
  }
  if (key.charCodeAt(0) === 0x3a) {
    if (fields.pseudo.has(key)) return new DecodeFault(`${key} came more than once`)
    fields.pseudo.set(key, value)
    return undefined
  }
  const before = fields.values.get(key)
  if (before === undefined) {
    fields.values.set(key, value)
    return undefined
  }
  fields.values.set(key, `${before},${value}`)
  fields.counts ??= new Map()
  fields.counts.set(key, (fields.counts.get(key) ?? 1) + 1)
  return undefined
}

// Not the whole of Unicode: toLowerCase() makes a `k` of the Kelvin sign.
const asciiLowerCase = (name: string): string => name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
