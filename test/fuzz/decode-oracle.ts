import { isUtf8 } from 'node:buffer'
import type { JsonObject } from '../../src/core/json.ts'
import type { CheckRequestMessage, HttpRequestMessage } from '../../src/wire/messages.ts'
import { servedProtos } from '../../src/wire/protos.ts'
import { structToJson } from '../../src/wire/struct.ts'

/** All that can be asked of a request, as data. */
export interface Answers {
  readonly method: string
  readonly host: string
  readonly path: string
  readonly scheme: string
  /** Sorted: neither reader promises an order where a message holds none. */
  readonly names: readonly string[]
  /** What begins with each of {@link prefixes}, or holds `_`. */
  readonly alike: readonly (readonly string[])[]
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly counts: Readonly<Record<string, number>>
  readonly peerPrincipal: string
  readonly peerCertificate: string
  readonly extensions: Readonly<Record<string, string | undefined>>
  readonly payloads: Readonly<Record<string, JsonObject | undefined>>
}

export const prefixes = ['x-', 'x-postern-', 'a', '-']

/** What to ask for: names that the message holds, and some that it does not. */
export interface Questions {
  readonly headers: readonly string[]
  readonly extensions: readonly string[]
  readonly payloads: readonly string[]
}

const jwtNamespace = 'envoy.filters.http.jwt_authn'
const fieldName = /^:?[!#$%&'*+\-.^_`|~0-9a-z]+$/

/**
 * The same questions, answered from what protobufjs makes of the whole message: slow, and simple enough to be believed.
 * @returns undefined where the message is refused
 */
export function oracle(bytes: Buffer): { readonly answers: Answers; readonly questions: Questions } | undefined {
  const message = deserialize(bytes)
  if (!message) return undefined
  const { source, request, context_extensions: extensions = {}, metadata_context: metadata } = message.attributes ?? {}
  const http = request?.http ?? {}
  const fields = readFields(http)
  if (!fields) return undefined
  const { values, pseudo, counts } = fields
  const method = http.method || pseudo.get(':method') || ''
  const host = http.host || pseudo.get(':authority') || values.get('host') || ''
  const path = http.path || pseudo.get(':path') || ''
  if (`${method}${host}${path}`.includes('\ufffd')) return undefined
  const spaces = new Map(Object.entries(metadata?.filter_metadata ?? {}))
  const verified = new Map(Object.entries(spaces.get(jwtNamespace)?.fields ?? {}))
  const questions: Questions = {
    headers: [...values.keys(), ...pseudo.keys(), 'authorization', 'host', 'constructor', '__proto__', 'x'],
    extensions: [...Object.keys(extensions), 'realm', 'constructor', '__proto__'],
    payloads: [...verified.keys(), 'users', 'constructor', '__proto__'],
  }
  const answers: Answers = {
    method,
    host,
    path,
    scheme: http.scheme || pseudo.get(':scheme') || '',
    names: [...values.keys()].sort(),
    alike: prefixes.map((prefix) => [...values.keys()].filter((name) => name.startsWith(prefix) || name.includes('_')).sort()),
    headers: table(questions.headers, (name) => values.get(name)),
    counts: table(questions.headers, (name) => counts.get(name) ?? 0),
    peerPrincipal: source?.principal ?? '',
    peerCertificate: source?.certificate ?? '',
    extensions: table(questions.extensions, (name) => (Object.hasOwn(extensions, name) ? extensions[name] : undefined)),
    payloads: table(questions.payloads, (key) => {
      const value = verified.get(key)
      if (value === undefined) return undefined
      return (value.struct_value && structToJson(value.struct_value)) ?? {}
    }),
  }
  return { answers, questions }
}

/** Answers by name; a name like `__proto__` is a member like others. */
export const table = <T>(names: readonly string[], answer: (name: string) => T): Record<string, T> =>
  Object.fromEntries(names.map((name) => [name, answer(name)]))

function deserialize(bytes: Buffer): CheckRequestMessage | undefined {
  try {
    return servedProtos().check.requestDeserialize(bytes)
  } catch {
    return undefined
  }
}

interface Fields {
  readonly values: Map<string, string>
  readonly pseudo: Map<string, string>
  readonly counts: Map<string, number>
}

function readFields(http: HttpRequestMessage): Fields | undefined {
  const fields: Fields = { values: new Map(), pseudo: new Map(), counts: new Map() }
  const list = http.header_map?.headers ?? []
  const entries: [string, string][] = Object.entries(http.headers ?? {})
  if (entries.length > 0 && list.length > 0) return undefined
  for (const { key = '', value = '', raw_value: raw } of list) {
    const text = raw?.length ? raw.toString('utf8') : value
    if (raw?.length && (!isUtf8(raw) || (value !== '' && value !== text))) return undefined
    entries.push([key, text])
  }
  for (const [name, value] of entries) {
    const key = name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
    if (!fieldName.test(key)) return undefined
    const into = key.startsWith(':') ? fields.pseudo : fields.values
    if (into === fields.pseudo && into.has(key)) return undefined
    into.set(key, into.has(key) ? `${into.get(key)},${value}` : value)
    if (into === fields.values) fields.counts.set(key, (fields.counts.get(key) ?? 0) + 1)
  }
  return fields
}
