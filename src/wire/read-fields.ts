/**
 * The messages inside a CheckRequest, by field number, as far as a reader has to know them to see that each field
 * is what its definition says. A test compares every line with proto/served.json.
 */

/** How a field is written: the wire type of its tag, and of what the varint is. */
export type Kind = 'int32' | 'int64' | 'fixed64' | 'bytes'

/** A message type. What it does not list may be there all the same, and is skipped. */
export class Shape {
  /** Full name in the proto files; of a map's entry: the name of the map field. */
  readonly name: string
  /** By field number: the wire type, or 0xff. */
  readonly wireTypes = new Uint8Array(16).fill(0xff)
  /** By tag, where it is one byte: 1 for a text or bytes that come once at most. */
  readonly texts = new Uint8Array(256)
  /** By field number: what a length-delimited field holds, where that is a message. */
  readonly parts: (Shape | undefined)[] = new Array<Shape | undefined>(16).fill(undefined)
  /** Bit n: field n may come more than once. */
  repeated = 0
  /** Bit n: field n is a varint of 32 bits. */
  narrow = 0
  /** Bit n: field n must come. */
  needed = 0
  /** How many messages deeper its parts are: an entry of a map is no level of its own. */
  readonly levels: 0 | 1
  constructor(name: string, levels: 0 | 1 = 1) {
    this.name = name
    this.levels = levels
  }

  /** A field that comes once at most. */
  one(field: number, of: Kind | Shape): this {
    this.wireTypes[field] = wireTypeOf(of)
    this.parts[field] = of instanceof Shape ? of : undefined
    if (of === 'bytes') this.texts[(field << 3) | 2] = 1
    if (of === 'int32') this.narrow |= 1 << field
    return this
  }

  /** A repeated message, or the entries of a map. */
  many(field: number, of: Shape): this {
    this.repeated |= 1 << field
    return this.one(field, of)
  }

  /** A map from string. */
  map(field: number, of: Kind | Shape): this {
    const entry = new Shape(`${this.name}[${field}]`, 0).one(1, 'bytes').one(2, of)
    // An entry without a message for its value means an empty one to some parsers, and nothing to others.
    if (of instanceof Shape) entry.needed = 1 << 2
    return this.many(field, entry)
  }
}

const wireTypeOf = (of: Kind | Shape): number => (of === 'int32' || of === 'int64' ? 0 : of === 'fixed64' ? 1 : 2)

// google.protobuf
export const value = new Shape('google.protobuf.Value')
export const listValue = new Shape('google.protobuf.ListValue').many(1, value)
export const struct = new Shape('google.protobuf.Struct').map(1, value)
value.one(1, 'int32').one(2, 'fixed64').one(3, 'bytes').one(4, 'int32').one(5, struct).one(6, listValue)
const any = new Shape('google.protobuf.Any').one(1, 'bytes').one(2, 'bytes')
const timestamp = new Shape('google.protobuf.Timestamp').one(1, 'int64').one(2, 'int32')

// envoy.config.core.v3
const socketAddress = new Shape('envoy.config.core.v3.SocketAddress')
  .one(1, 'int32') // protocol
  .one(2, 'bytes') // address
  .one(3, 'int32') // port_value
  .one(4, 'bytes') // named_port
  .one(5, 'bytes') // resolver_name
  .one(6, 'int32') // ipv4_compat
const pipe = new Shape('envoy.config.core.v3.Pipe').one(1, 'bytes').one(2, 'int32')
const internalAddress = new Shape('envoy.config.core.v3.EnvoyInternalAddress').one(1, 'bytes').one(2, 'bytes')
const address = new Shape('envoy.config.core.v3.Address').one(1, socketAddress).one(2, pipe).one(3, internalAddress)
export const headerValue = new Shape('envoy.config.core.v3.HeaderValue').one(1, 'bytes').one(2, 'bytes').one(3, 'bytes')
export const headerMap = new Shape('envoy.config.core.v3.HeaderMap').many(1, headerValue)
export const metadata = new Shape('envoy.config.core.v3.Metadata')
  .map(1, struct) // filter_metadata
  .map(2, any) // typed_filter_metadata

// envoy.service.auth.v3
export const peer = new Shape('envoy.service.auth.v3.AttributeContext.Peer')
  .one(1, address) // address
  .one(2, 'bytes') // service
  .map(3, 'bytes') // labels
  .one(4, 'bytes') // principal
  .one(5, 'bytes') // certificate
export const httpRequest = new Shape('envoy.service.auth.v3.AttributeContext.HttpRequest')
  .one(1, 'bytes') // id
  .one(2, 'bytes') // method
  .map(3, 'bytes') // headers
  .one(4, 'bytes') // path
  .one(5, 'bytes') // host
  .one(6, 'bytes') // scheme
  .one(7, 'bytes') // query
  .one(8, 'bytes') // fragment
  .one(9, 'int64') // size
  .one(10, 'bytes') // protocol
  .one(11, 'bytes') // body
  .one(12, 'bytes') // raw_body
  .one(13, headerMap) // header_map
export const request = new Shape('envoy.service.auth.v3.AttributeContext.Request')
  .one(1, timestamp) // time
  .one(2, httpRequest) // http
export const attributeContext = new Shape('envoy.service.auth.v3.AttributeContext')
  .one(1, peer) // source
  .one(2, peer) // destination
  .one(4, request) // request
  .map(10, 'bytes') // context_extensions
  .one(11, metadata) // metadata_context
  .one(12, new Shape('envoy.service.auth.v3.AttributeContext.TLSSession').one(1, 'bytes')) // tls_session
  .one(13, metadata) // route_metadata_context
export const checkRequest = new Shape('envoy.service.auth.v3.CheckRequest').one(1, attributeContext)
