/** HTTP/2 frames by hand (RFC 9113, section 6), for what no HTTP client would send. */

/** Frame types (RFC 9113, section 6). */
export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

/** END_STREAM of DATA and HEADERS, and ACK of SETTINGS and PING, are the same bit. */
export const flag = { none: 0, endStream: 1, ack: 1, endHeaders: 4 } as const

/** Settings (RFC 9113, section 6.5.2). */
export const setting = { headerTableSize: 1, initialWindowSize: 4 } as const

/** Error codes (RFC 9113, section 7). */
export const errorCode = {
  none: 0,
  protocol: 1,
  flowControl: 3,
  streamClosed: 5,
  refusedStream: 7,
  cancel: 8,
  enhanceYourCalm: 11,
} as const

/** What a client says first. */
export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

/** The bytes before a frame's payload. */
export const frameHead = 9

/** One frame; the length is that of the payload, right or wrong for its type. */
export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.allocUnsafe(frameHead + payload.length)
  bytes.writeUIntBE(payload.length, 0, 3)
  bytes.writeUInt8(type, 3)
  bytes.writeUInt8(flags, 4)
  bytes.writeUInt32BE(stream, 5)
  payload.copy(bytes, frameHead)
  return bytes
}

/** SETTINGS with these pairs. */
export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(pairs.length * 6)
  for (const [index, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, index * 6)
    payload.writeUInt32BE(value, index * 6 + 2)
  }
  return frame(frameType.settings, flag.none, 0, payload)
}

const word = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** WINDOW_UPDATE; stream 0 is the connection. */
export const windowUpdate = (stream: number, increment: number): Buffer => frame(frameType.windowUpdate, flag.none, stream, word(increment))

/** RST_STREAM. */
export const rstStream = (stream: number, code: number): Buffer => frame(frameType.rstStream, flag.none, stream, word(code))

/** PING that asks for an answer. */
export const ping = (text = 'postern!'): Buffer => frame(frameType.ping, flag.none, 0, Buffer.from(text.padEnd(8).slice(0, 8)))

/** PRIORITY: `stream` depends on `parent`. */
export const priority = (stream: number, parent: number): Buffer =>
  frame(frameType.priority, flag.none, stream, Buffer.concat([word(parent), Buffer.from([15])]))
