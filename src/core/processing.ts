import type { JsonObject } from './json.ts'
import type { Soon } from './ports.ts'

// What Envoy's external processing filter tells and is told (envoy.service.ext_proc.v3), without its protobuf: the interface
// between the wire and what captures, removes and filters.

/** A request that Envoy has authorized and not yet sent on. */
export interface ProcessedRequest {
  /** What Postern's own check told of the same request (`envoy.filters.http.ext_authz`); undefined where Envoy handed nothing on. */
  readonly metadata: JsonObject | undefined
  /** Pseudo-headers, for logs alone: who asks, and for what, is told by the metadata. */
  readonly method: string
  readonly path: string
}

/** An answer in place of the upstream's. */
export interface ImmediateAnswer {
  readonly status: number
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
  /** `response_code_details` of the access log: lower-case letters, digits and `_`. */
  readonly details: string
}

/** What becomes of a request. */
export type RequestStep =
  /** Nothing more of it is wanted: Envoy is told to skip all the rest. */
  | { readonly kind: 'skip' }
  | { readonly kind: 'answer'; readonly answer: ImmediateAnswer }
  /** It goes on without these headers, and its response is wanted. */
  | { readonly kind: 'follow'; readonly remove: readonly string[]; readonly body: boolean; readonly response: ResponseFollower }

/** Follows the response to one request. Exactly one of its ends comes: a step other than `body`, or `lost`. */
export interface ResponseFollower {
  /**
   * @param headers lower-case names, values in their order
   * @param ended no body follows
   */
  readonly headers: (status: number, headers: ReadonlyMap<string, readonly string[]>, ended: boolean) => Soon<ResponseStep>
  /** The whole body, where `headers` asked for it. */
  readonly body: (body: Buffer) => Soon<ResponseStep>
  /** The stream ended before: nobody knows what the upstream did. */
  readonly lost: (why: string) => void
}

/** What becomes of a response. */
export type ResponseStep =
  | { readonly kind: 'pass' }
  /** The body is wanted (buffered by Envoy). */
  | { readonly kind: 'body' }
  | {
      readonly kind: 'replace'
      readonly body: Buffer
      readonly set: readonly (readonly [name: string, value: string])[]
      readonly remove: readonly string[]
    }
  | { readonly kind: 'answer'; readonly answer: ImmediateAnswer }

/** Decides about requests that pass the external processing filter. Neither throws nor hangs: what goes wrong is an answer. */
export interface Processor {
  readonly request: (request: ProcessedRequest) => Soon<RequestStep>
}
