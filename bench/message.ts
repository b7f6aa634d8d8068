/** Makes messages for the load out of a CheckRequest that was captured from an Envoy. */
import { readFileSync } from 'node:fs'
import type { CheckRequestMessage, StructMessage, ValueMessage } from '../src/wire/messages.ts'
import { servedProtos } from '../src/wire/protos.ts'

/** 1.9 kB: a POST of a browser's user to a sandbox, whose verified JWT stands in the metadata and not in Authorization. */
const captured = new URL('../test/wire/fixtures/check-request.bin', import.meta.url)
const filter = 'envoy.filters.http.jwt_authn'
const metadataKey = 'jwt'
/** The id in the captured path and in its referer. */
const capturedId = 'sb-00000bb8'

/** The digits of the captured id: a placeholder of 8 for the load generator, which makes `sb-00000042` of it. */
export const idPlaceholder = '00000bb8'

export interface MessageOptions {
  /** Seconds since the epoch; now unless said. */
  readonly now?: number
  /** Seconds from then until the token ends; 3 hours unless said. */
  readonly lifetime?: number
  /** In place of the captured id `sb-00000bb8`, in path and referer. */
  readonly id?: string
  readonly subject?: string
  /** In place of the captured realm roles, of which `developer` is the one that counts. */
  readonly roles?: readonly string[]
  /** Any other claims, over the captured ones. */
  readonly claims?: Readonly<Record<string, ValueMessage>>
  /** A JWT for `authorization`, with no verified payload in the metadata: what Envoy sends where it verifies nothing. */
  readonly bearer?: string
  /** Other or more headers, in lower case. */
  readonly headers?: Readonly<Record<string, string>>
}

/** One raw CheckRequest as captured, valid from now on. */
export function message(options: MessageOptions = {}): Buffer {
  const { check } = servedProtos()
  const request = check.requestDeserialize(readFileSync(captured)) as CheckRequestMessage
  return check.requestSerialize(rewrite(request, options))
}

/** Several messages in one file: each behind its length, 4 bytes big-endian. */
export function delimited(messages: readonly Buffer[]): Buffer {
  return Buffer.concat(
    messages.flatMap((body) => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(body.length)
      return [length, body]
    }),
  )
}

function rewrite(request: CheckRequestMessage, options: MessageOptions): CheckRequestMessage {
  const { id, bearer, headers = {} } = options
  const { attributes = {} } = request
  const http = attributes.request?.http ?? {}
  const withId = (text: string) => (id === undefined ? text : text.replaceAll(capturedId, id))
  const sent = Object.fromEntries(Object.entries(http.headers ?? {}).map(([name, value]) => [name, withId(value)]))
  const metadata = attributes.metadata_context?.filter_metadata ?? {}
  const { [filter]: verified, ...others } = metadata
  return {
    attributes: {
      ...attributes,
      request: {
        ...attributes.request,
        http: {
          ...http,
          ...(http.path === undefined ? {} : { path: withId(http.path) }),
          headers: { ...sent, ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }), ...headers },
        },
      },
      metadata_context: {
        ...attributes.metadata_context,
        filter_metadata: bearer === undefined ? { ...others, [filter]: renewed(verified, options) } : others,
      },
    },
  }
}

/** The verified payload with times of now. */
function renewed(verified: StructMessage | undefined, options: MessageOptions): StructMessage {
  const payload = verified?.fields?.[metadataKey]?.struct_value?.fields
  if (payload === undefined) throw new Error(`${captured.pathname} holds no ${filter}/${metadataKey}`)
  const { now = Math.floor(Date.now() / 1000), lifetime = 3 * 3600, subject, roles, claims = {} } = options
  const issued = { number_value: now - 5 }
  const fields: Record<string, ValueMessage> = {
    ...payload,
    iat: issued,
    auth_time: issued,
    exp: { number_value: now + lifetime },
    ...(subject === undefined ? {} : { sub: { string_value: subject } }),
    ...(roles === undefined ? {} : { realm_access: { struct_value: { fields: { roles: textList(roles) } } } }),
    ...claims,
  }
  return { fields: { [metadataKey]: { struct_value: { fields } } } }
}

const textList = (values: readonly string[]): ValueMessage => ({ list_value: { values: values.map((text) => ({ string_value: text })) } })
