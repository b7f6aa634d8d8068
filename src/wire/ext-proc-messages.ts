import type { HeaderValueMessage, StructMessage } from './messages.ts'

/**
 * The parts of envoy.service.ext_proc.v3 that are read and written, as proto-loader spells them: fields that were not sent
 * are absent, and maps are plain objects.
 */

/** Exactly one of its first six members, which say what Envoy waits for an answer to. */
export interface ProcessingRequestMessage {
  readonly request_headers?: HttpHeadersMessage
  readonly request_body?: HttpBodyMessage
  readonly request_trailers?: object
  readonly response_headers?: HttpHeadersMessage
  readonly response_body?: HttpBodyMessage
  readonly response_trailers?: object
  readonly metadata_context?: { readonly filter_metadata?: Readonly<Record<string, StructMessage>> }
  /** Envoy sends copies, and heeds no answer. */
  readonly observability_mode?: boolean
}

export interface HttpHeadersMessage {
  readonly headers?: { readonly headers?: readonly HeaderValueMessage[] }
  /** No body follows. */
  readonly end_of_stream?: boolean
}

export interface HttpBodyMessage {
  readonly body?: Buffer
  readonly end_of_stream?: boolean
}

export interface HeaderMutationMessage {
  readonly set_headers: readonly {
    readonly header: { readonly key: string; readonly raw_value: Buffer }
    readonly append: { readonly value: boolean }
    readonly append_action: number
  }[]
  readonly remove_headers: readonly string[]
}

export interface CommonResponseMessage {
  readonly header_mutation?: HeaderMutationMessage
  readonly body_mutation?: { readonly body: Buffer } | { readonly clear_body: true }
}

export interface ImmediateResponseMessage {
  readonly status: { readonly code: number }
  readonly headers: HeaderMutationMessage
  readonly body: Buffer
  /** `response_code_details` of the access log; Envoy puts its own prefix before. */
  readonly details: string
}

/** envoy.extensions.filters.http.ext_proc.v3.ProcessingMode */
export interface ProcessingModeMessage {
  readonly request_header_mode: number
  readonly response_header_mode: number
  readonly request_body_mode: number
  readonly response_body_mode: number
  readonly request_trailer_mode: number
  readonly response_trailer_mode: number
}

export interface ProcessingResponseMessage {
  readonly request_headers?: { readonly response: CommonResponseMessage }
  readonly response_headers?: { readonly response: CommonResponseMessage }
  readonly response_body?: { readonly response: CommonResponseMessage }
  readonly immediate_response?: ImmediateResponseMessage
  readonly mode_override?: ProcessingModeMessage
}
