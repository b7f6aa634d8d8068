import type { JsonObject } from '../core/json.ts'
import type { Request } from '../core/request.ts'
import type { Headers } from './read-headers.ts'
import { type Payloads, unreadable } from './read-payload.ts'

/** Where a verified payload stands: [start, end) of its Struct; start is -1 where it is none. */
export interface VerifiedPlace {
  readonly key: string
  readonly start: number
  readonly end: number
}

/** A CheckRequest that was walked through. The reader fills it in; it holds on to the message's bytes. */
export class MessageRequest implements Request {
  method = ''
  host = ''
  path = ''
  scheme = ''
  peerPrincipal = ''
  /** source.certificate: [start, end) */
  certificate = 0
  certificateEnd = 0
  extensions: Map<string, string> | undefined
  verified: VerifiedPlace[] | undefined
  readonly headers: Headers
  readonly #message: Buffer
  readonly #payloads: Payloads
  #lastKey: string | undefined
  #lastPayload: JsonObject | undefined

  constructor(message: Buffer, headers: Headers, payloads: Payloads) {
    this.#message = message
    this.headers = headers
    this.#payloads = payloads
  }

  get peerCertificate(): string {
    return this.#message.toString('utf8', this.certificate, this.certificateEnd)
  }

  header(name: string): string | undefined {
    return this.headers.get(name)
  }

  headerCount(name: string): number {
    return this.headers.count(name)
  }

  headerNames(): Iterable<string> {
    return this.headers.names()
  }

  namesLike(prefix: string): Iterable<string> {
    return this.headers.namesLike(prefix)
  }

  extension(name: string): string | undefined {
    return this.extensions?.get(name)
  }

  verifiedPayload(key: string): JsonObject | undefined {
    // The chain asks for a payload, and so does each validator.
    if (key === this.#lastKey) return this.#lastPayload
    const place = this.verified?.find((other) => other.key === key)
    if (!place) return undefined
    this.#lastPayload = place.start < 0 ? unreadable : this.#payloads.read(this.#message, place.start, place.end)
    this.#lastKey = key
    return this.#lastPayload
  }
}
