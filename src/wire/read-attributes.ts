import { isUtf8 } from 'node:buffer'
import type { Request } from '../core/request.ts'
import { attributeContext, checkRequest, httpRequest, metadata, peer, request, Shape, struct } from './read-fields.ts'
import { HeaderReader } from './read-header-fields.ts'
import { Headers } from './read-headers.ts'
import { Payloads } from './read-payload.ts'
import { isPlainStruct } from './read-plain-struct.ts'
import { MessageRequest } from './read-request.ts'
import { sameBytes, Texts } from './read-text.ts'
import { contentAt, Wire, WireFault } from './read-wire.ts'

/** Where Envoy's jwt_authn filter leaves verified payloads. */
const jwtNamespace = 'envoy.filters.http.jwt_authn'

/** The texts of an HttpRequest that are read: method = 2, path = 4, host = 5, scheme = 6. */
const isRead = new Shape(httpRequest.name).one(2, 'bytes').one(4, 'bytes').one(5, 'bytes').one(6, 'bytes')

/** One for each provider that admitted a token of the request. */
const maxVerified = 32

const nothing = Buffer.alloc(0)

/** How many messages an AttributeContext, and so on, is inside of. */
const depthOf = { attributes: 1, peer: 2, request: 2, metadata: 2, http: 3, struct: 3 }

/**
 * Reads CheckRequest messages (envoy.service.auth.v3), one after the other. Each is walked through once, to its last
 * byte, so that nothing malformed passes, wherever it stands. Texts and payloads are made when they are asked for.
 */
export class RequestReader {
  readonly #texts = new Texts()
  readonly #payloads = new Payloads(this.#texts)
  readonly #headers = new HeaderReader()
  readonly #wire = new Wire(nothing)
  #hasNamespace = false
  #hasMap = false
  #hasList = false
  // The request that is being filled in.
  #found = new MessageRequest(nothing, new Headers(nothing, this.#texts), this.#payloads)

  /** @throws WireFault where the message is malformed, or could be read in two ways */
  read(message: Buffer): Request {
    this.#begin(message)
    const found = this.#found
    const wire = this.#wire
    const end = message.length
    let seen = 0
    while (wire.pos < end) {
      const tag = wire.tag(end)
      seen = wire.once(checkRequest, tag, seen)
      // CheckRequest.attributes = 1
      if (tag === 0x0a) this.#attributes(wire.span(end))
      else wire.skip(tag, end)
    }
    if (this.#hasMap && this.#hasList) throw new WireFault('both headers and header_map are filled')
    const { headers } = found
    this.#headers.finish(headers)
    if (found.method === '') found.method = headers.pseudo('method') ?? ''
    if (found.host === '') found.host = headers.pseudo('authority') || headers.get('host') || ''
    if (found.path === '') found.path = headers.pseudo('path') ?? ''
    if (found.scheme === '') found.scheme = headers.pseudo('scheme') ?? ''
    // The replacement character stands for bytes that were no UTF-8: routes are not matched on what was lost.
    if (isLossy(found.method) || isLossy(found.host) || isLossy(found.path)) throw new WireFault('method, host or path is no UTF-8')
    return found
  }

  #begin(message: Buffer): void {
    this.#wire.bytes = message
    this.#wire.pos = 0
    this.#headers.begin()
    this.#hasMap = this.#hasList = this.#hasNamespace = false
    this.#found = new MessageRequest(message, new Headers(message, this.#texts), this.#payloads)
  }

  #attributes(end: number): void {
    const wire = this.#wire
    let seen = 0
    while (wire.pos < end) {
      const tag = wire.tag(end)
      seen = wire.once(attributeContext, tag, seen)
      // AttributeContext.source = 1
      if (tag === 0x0a) this.#source(wire.span(end))
      // AttributeContext.request = 4
      else if (tag === 0x22) this.#request(wire.span(end))
      // AttributeContext.context_extensions = 10
      else if (tag === 0x52) this.#extension(wire.span(end))
      // AttributeContext.metadata_context = 11
      else if (tag === 0x5a) this.#metadata(wire.span(end))
      else wire.field(attributeContext, tag, end, depthOf.attributes)
    }
  }

  #source(end: number): void {
    const wire = this.#wire
    let seen = 0
    while (wire.pos < end) {
      const tag = wire.tag(end)
      seen = wire.once(peer, tag, seen)
      // Peer.principal = 4
      if (tag === 0x22) this.#found.peerPrincipal = this.#next(wire.span(end))
      // Peer.certificate = 5
      else if (tag === 0x2a) {
        const stop = wire.span(end)
        if (!isUtf8(wire.bytes.subarray(wire.pos, stop))) throw new WireFault('the certificate is no UTF-8')
        this.#found.certificate = wire.pos
        this.#found.certificateEnd = wire.pos = stop
      } else wire.field(peer, tag, end, depthOf.peer)
    }
  }

  #request(end: number): void {
    const wire = this.#wire
    let seen = 0
    while (wire.pos < end) {
      const tag = wire.tag(end)
      seen = wire.once(request, tag, seen)
      // Request.http = 2
      if (tag === 0x12) this.#http(wire.span(end))
      else wire.field(request, tag, end, depthOf.request)
    }
  }

  #http(end: number): void {
    const wire = this.#wire
    const { bytes } = wire
    let seen = 0
    while (wire.pos < end) {
      const { pos } = wire
      const first = bytes[pos]
      if (first === 0x1a) {
        wire.pos = this.#headers.readEntries(bytes, pos, end)
        if (wire.pos > pos) {
          this.#hasMap = true
          continue
        }
      }
      const bit = wire.text(httpRequest, seen, end)
      if (bit !== 0) {
        seen |= bit
        if (isRead.texts[first!] === 1) this.#httpText(first!, contentAt(bytes, pos + 1), wire.pos)
        continue
      }
      const tag = wire.tag(end)
      seen = wire.once(httpRequest, tag, seen)
      // HttpRequest.headers = 3
      if (tag === 0x1a) {
        this.#hasMap = true
        this.#headers.readEntry(wire, wire.span(end))
      }
      // HttpRequest.header_map = 13
      else if (tag === 0x6a) this.#hasList = this.#headers.readMap(wire, wire.span(end))
      else if (tag < 0x80 && isRead.texts[tag] === 1) {
        const stop = wire.span(end)
        this.#httpText(tag, wire.pos, stop)
        wire.pos = stop
      } else wire.field(httpRequest, tag, end, depthOf.http)
    }
  }

  #httpText(tag: number, start: number, end: number): void {
    const { bytes } = this.#wire
    switch (tag) {
      case 0x12: // HttpRequest.method = 2
        this.#found.method = this.#text(start, end)
        return
      case 0x22: // HttpRequest.path = 4: not kept, its query may hold a credential
        this.#found.path = bytes.toString('utf8', start, end)
        return
      case 0x2a: // HttpRequest.host = 5
        this.#found.host = this.#text(start, end)
        return
      case 0x32: // HttpRequest.scheme = 6
        this.#found.scheme = this.#text(start, end)
    }
  }

  // An entry of AttributeContext.context_extensions: key = 1, value = 2
  #extension(end: number): void {
    const wire = this.#wire
    const shape = attributeContext.parts[10]!
    let name = ''
    let text = ''
    let seen = 0
    while (wire.pos < end) {
      const tag = wire.tag(end)
      seen = wire.once(shape, tag, seen)
      if (tag === 0x0a) name = this.#next(wire.span(end))
      else if (tag === 0x12) text = this.#next(wire.span(end))
      else wire.skip(tag, end)
    }
    const extensions = this.#found.extensions ?? new Map<string, string>()
    this.#found.extensions = extensions
    if (extensions.has(name)) throw new WireFault('a context extension came more than once')
    extensions.set(name, text)
  }

  #metadata(end: number): void {
    const wire = this.#wire
    while (wire.pos < end) {
      const tag = wire.tag(end)
      wire.once(metadata, tag, 0)
      // Metadata.filter_metadata = 1
      if (tag === 0x0a) this.#namespace(wire.span(end))
      else wire.field(metadata, tag, end, depthOf.metadata)
    }
  }

  // An entry of Metadata.filter_metadata: key = 1, value = 2
  #namespace(end: number): void {
    const wire = this.#wire
    const shape = metadata.parts[1]!
    let isJwt = false
    let start = 0
    let stop = 0
    let seen = 0
    while (wire.pos < end) {
      const tag = wire.tag(end)
      seen = wire.once(shape, tag, seen)
      if (tag === 0x0a) {
        const nameEnd = wire.span(end)
        isJwt = sameBytes(wire.bytes, wire.pos, nameEnd, jwtNamespace)
        wire.pos = nameEnd
      } else if (tag === 0x12) {
        stop = wire.span(end)
        start = wire.pos
        if (isPlainStruct(wire.bytes, start, stop, depthOf.struct)) wire.pos = stop
        else wire.walk(struct, stop, depthOf.struct)
      } else wire.skip(tag, end)
    }
    wire.complete(shape, seen)
    if (!isJwt) return
    if (this.#hasNamespace) throw new WireFault('a namespace of metadata came more than once')
    this.#hasNamespace = true
    wire.pos = start
    this.#verifiedPayloads(stop)
    wire.pos = end
  }

  // Struct.fields = 1 of the namespace, which was walked through
  #verifiedPayloads(end: number): void {
    const wire = this.#wire
    while (wire.pos < end) {
      const tag = wire.tag(end)
      if (tag === 0x0a) this.#verifiedPayload(wire.span(end))
      else wire.skip(tag, end)
    }
  }

  // An entry of Struct.fields: key = 1, value = 2
  #verifiedPayload(end: number): void {
    const wire = this.#wire
    let key = ''
    let start = -1
    let stop = -1
    while (wire.pos < end) {
      const tag = wire.tag(end)
      if (tag === 0x0a) key = this.#next(wire.span(end))
      else if (tag === 0x12) {
        // Value.struct_value = 5, and nothing else
        const valueEnd = wire.span(end)
        const isStruct = wire.pos < valueEnd && wire.tag(valueEnd) === 0x2a
        stop = isStruct ? wire.span(valueEnd) : -1
        start = stop === valueEnd ? wire.pos : -1
        wire.pos = valueEnd
      } else wire.skip(tag, end)
    }
    const verified = this.#found.verified ?? []
    this.#found.verified = verified
    if (verified.length === maxVerified) throw new WireFault(`more than ${maxVerified} verified payloads`)
    for (const other of verified) if (other.key === key) throw new WireFault('a verified payload came more than once')
    verified.push({ key, start, end: stop })
  }

  // The text from here to there.
  #next(end: number): string {
    const text = this.#text(this.#wire.pos, end)
    this.#wire.pos = end
    return text
  }

  // A text that many requests have alike.
  #text(start: number, end: number): string {
    const text = this.#texts.read(this.#wire.bytes, start, end)
    if (text === undefined) throw new WireFault('a text is no UTF-8')
    return text
  }
}

const isLossy = (text: string): boolean => text.includes('\ufffd')
