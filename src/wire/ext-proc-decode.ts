import type { JsonObject } from '../core/json.ts'
import type { HttpHeadersMessage, ProcessingRequestMessage } from './ext-proc-messages.ts'
import type { HeaderValueMessage } from './messages.ts'
import { structToJson } from './struct.ts'

/** Where Envoy keeps what ext_authz told of the request: what our own check said. */
const ownNamespace = 'envoy.filters.http.ext_authz'

const kinds = ['request_headers', 'request_body', 'request_trailers', 'response_headers', 'response_body', 'response_trailers'] as const

export type MessageKind = (typeof kinds)[number]

/** What a message is about; undefined where it is about nothing, or about two things. */
export function kindOf(message: ProcessingRequestMessage): MessageKind | undefined {
  let found: MessageKind | undefined
  for (const kind of kinds) {
    if (message[kind] === undefined) continue
    if (found !== undefined) return undefined
    found = kind
  }
  return found
}

/** Headers as Envoy sends them: `value` or `raw_value`, one entry a line. */
export interface ReadHeaders {
  /** Without pseudo-headers; names in lower case, values in their order, one character a byte. */
  readonly fields: ReadonlyMap<string, readonly string[]>
  /** By name, colon included. */
  readonly pseudo: ReadonlyMap<string, string>
}

/** @returns undefined where a name is missing, a pseudo-header comes twice, or a value is said in two ways that differ */
export function readHeaders(message: HttpHeadersMessage): ReadHeaders | undefined {
  const fields = new Map<string, string[]>()
  const pseudo = new Map<string, string>()
  for (const header of message.headers?.headers ?? []) {
    const name = (header.key ?? '').toLowerCase()
    const value = textOf(header)
    if (name === '' || value === undefined) return undefined
    if (name.startsWith(':')) {
      if (pseudo.has(name)) return undefined
      pseudo.set(name, value)
      continue
    }
    const values = fields.get(name)
    if (values) values.push(value)
    else fields.set(name, [value])
  }
  return { fields, pseudo }
}

function textOf({ value = '', raw_value }: HeaderValueMessage): string | undefined {
  if (raw_value === undefined || raw_value.length === 0) return Buffer.from(value).toString('latin1')
  return value === '' || raw_value.equals(Buffer.from(value)) ? raw_value.toString('latin1') : undefined
}

/**
 * What our own check told of the request.
 * @returns absent where Envoy handed nothing on; `unreadable` where it is no JSON
 */
export function ownMetadata({ metadata_context }: ProcessingRequestMessage): JsonObject | 'absent' | 'unreadable' {
  const all = metadata_context?.filter_metadata ?? {}
  const struct = Object.hasOwn(all, ownNamespace) ? all[ownNamespace] : undefined
  return struct === undefined ? 'absent' : (structToJson(struct) ?? 'unreadable')
}

/**
 * Whether a response that comes before its request is an answer of a filter before this one, such as our own denial: Envoy
 * sends those here too. Where the check has let the request go on, it is no such answer, and Envoy is not set as it should be.
 */
export function isLocalReply(message: ProcessingRequestMessage): boolean {
  const metadata = ownMetadata(message)
  if (metadata === 'absent') return true
  return metadata !== 'unreadable' && metadata['decision'] === 'deny' && metadata['enforced'] === true
}

/** The three digits of `:status`; undefined where they are none. */
export function statusOf(pseudo: ReadonlyMap<string, string>): number | undefined {
  const text = pseudo.get(':status') ?? ''
  return /^[1-9][0-9]{2}$/.test(text) ? Number(text) : undefined
}
