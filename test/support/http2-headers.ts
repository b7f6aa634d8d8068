/** Header blocks by hand (HPACK, RFC 7541): literals, without Huffman, so that a block is the same bytes on every connection. */

/** An integer behind a prefix of `bits` bits, whose other bits are `first` (section 5.1). */
function integer(first: number, bits: number, value: number): number[] {
  const most = 2 ** bits - 1
  if (value < most) return [first | value]
  const bytes = [first | most]
  let rest = value - most
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  bytes.push(rest)
  return bytes
}

const text = (value: string): Buffer => Buffer.concat([Buffer.from(integer(0, 7, value.length)), Buffer.from(value, 'latin1')])

/** A literal field that is kept in no table (section 6.2.2). */
export const literal = (name: string, value: string): Buffer => Buffer.concat([Buffer.from([0]), text(name), text(value)])

/** A literal field that is added to the dynamic table (section 6.2.1). */
export const indexedLiteral = (name: string, value: string): Buffer => Buffer.concat([Buffer.from([0x40]), text(name), text(value)])

/** A field by its index: 1 to 61 are the static table, 62 is the newest of the dynamic one (section 6.1). */
export const indexed = (index: number): Buffer => Buffer.from(integer(0x80, 7, index))

export const checkPath = '/envoy.service.auth.v3.Authorization/Check'

/** The header block of a gRPC call, and more fields behind. */
export function grpcHeaders(path = checkPath, more: Readonly<Record<string, string>> = {}): Buffer {
  const fields = {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': path,
    ':authority': 'postern',
    'content-type': 'application/grpc',
    te: 'trailers',
    ...more,
  }
  return Buffer.concat(Object.entries(fields).map(([name, value]) => literal(name, value)))
}

/** A gRPC message: uncompressed, its length, its bytes. */
export function grpcMessage(message: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}
