/**
 * The parts of envoy.service.auth.v3 that are read and written, as proto-loader spells them: fields that were
 * not sent are absent, and maps are plain objects, so that only own members count.
 */

export interface CheckRequestMessage {
  readonly attributes?: AttributeContextMessage
}

export interface AttributeContextMessage {
  readonly source?: { readonly principal?: string; readonly certificate?: string }
  readonly request?: { readonly http?: HttpRequestMessage }
  readonly context_extensions?: Readonly<Record<string, string>>
  readonly metadata_context?: { readonly filter_metadata?: Readonly<Record<string, StructMessage>> }
}

export interface HttpRequestMessage {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly header_map?: { readonly headers?: readonly HeaderValueMessage[] }
  readonly path?: string
  readonly host?: string
  readonly scheme?: string
}

export interface HeaderValueMessage {
  readonly key?: string
  readonly value?: string
  readonly raw_value?: Buffer
}

/** google.protobuf.Struct */
export interface StructMessage {
  readonly fields?: Readonly<Record<string, ValueMessage>>
}

/** google.protobuf.Value: exactly one member. */
export interface ValueMessage {
  readonly null_value?: 0
  readonly number_value?: number
  readonly string_value?: string
  readonly bool_value?: boolean
  readonly struct_value?: StructMessage
  readonly list_value?: { readonly values?: readonly ValueMessage[] }
}

export interface HeaderValueOptionMessage {
  readonly header: { readonly key: string; readonly value: string }
  /** google.protobuf.BoolValue: absent and false are different things. */
  readonly append: { readonly value: boolean }
  readonly append_action: number
}

export interface CheckResponseMessage {
  readonly status: { readonly code: number }
  readonly ok_response?: {
    readonly headers: readonly HeaderValueOptionMessage[]
    readonly headers_to_remove: readonly string[]
    readonly query_parameters_to_remove: readonly string[]
  }
  readonly denied_response?: {
    readonly status: { readonly code: number }
    readonly headers: readonly HeaderValueOptionMessage[]
    readonly body: string
  }
  readonly dynamic_metadata: StructMessage
}
