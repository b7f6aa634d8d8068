import { connect, constants } from 'node:http2'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { frame, frameHead, frameType } from '../support/http2-frames.ts'
import { literal } from '../support/http2-headers.ts'
import type { Answer } from './outcome.ts'

/** Fields in order, as they go into the header block. */
type Fields = readonly (readonly [name: string, value: string])[]

export interface Http2Request {
  readonly fields: Fields
  readonly data?: string | undefined
  readonly trailers?: Fields | undefined
}

const limit = 5_000

/**
 * Sends a request that no HTTP/2 client would: Node's client speaks the protocol and reads the answer, while the blocks of its HEADERS
 * frames are replaced, on their way out, by these fields as literals without Huffman.
 */
export async function exchangeHttp2(socket: Socket | undefined, request: Http2Request): Promise<Answer[]> {
  if (socket === undefined) return []
  const blocks = [request.fields, ...(request.trailers ? [request.trailers] : [])].map(block)
  const session = connect('https://edge.example', { createConnection: () => rewriting(socket, blocks) })
  try {
    return await new Promise((done) => {
      const end = (answers: Answer[]): void => done(answers)
      const timer = setTimeout(() => end([]), limit)
      session.on('error', () => end([]))
      session.on('close', () => end([]))
      const body = request.data !== undefined || request.trailers !== undefined
      const stream = session.request(
        { ':method': body ? 'POST' : 'GET', ':path': '/' },
        { endStream: !body, waitForTrailers: request.trailers !== undefined },
      )
      let answer: Answer = { status: 0, headers: {}, body: '' }
      stream.on('response', (headers) => {
        const texts = Object.entries(headers).map(([name, value]) => [name, String(value)])
        answer = { status: Number(headers[constants.HTTP2_HEADER_STATUS]), headers: Object.fromEntries(texts), body: '' }
      })
      let text = ''
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      stream.on('trailers', (trailers) => {
        const texts = Object.entries(trailers).map(([name, value]) => [name, String(value)])
        answer = { ...answer, headers: { ...answer.headers, ...Object.fromEntries(texts) } }
      })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-replaced': '1' }))
      stream.on('error', () => {})
      stream.on('close', () => {
        clearTimeout(timer)
        end(answer.status === 0 ? [] : [{ ...answer, body: text }])
      })
      if (body) stream.end(request.data ?? '')
    })
  } finally {
    session.destroy()
    socket.destroy()
  }
}

const block = (fields: Fields): Buffer => Buffer.concat(fields.map(([name, value]) => literal(name, value)))

/** Passes bytes on; the n-th HEADERS frame that goes out gets the n-th block. */
function rewriting(socket: Socket, blocks: readonly Buffer[]): Duplex {
  let rest: Buffer = Buffer.alloc(0)
  let prefaceLeft = 24
  let next = 0
  const rewritten = (chunk: Buffer): Buffer => {
    const out: Buffer[] = []
    let bytes = Buffer.concat([rest, chunk])
    if (prefaceLeft > 0) {
      const taken = bytes.subarray(0, prefaceLeft)
      prefaceLeft -= taken.length
      out.push(taken)
      bytes = bytes.subarray(taken.length)
    }
    while (bytes.length >= frameHead && bytes.length >= frameHead + bytes.readUIntBE(0, 3)) {
      const end = frameHead + bytes.readUIntBE(0, 3)
      const fields = bytes[3] === frameType.headers ? blocks[next++] : undefined
      // END_STREAM (1) and END_HEADERS (4) stay; padding (8) and priority (32) were of the block that is replaced.
      out.push(fields ? frame(frameType.headers, bytes[4]! & 5, bytes.readUInt32BE(5), fields) : bytes.subarray(0, end))
      bytes = bytes.subarray(end)
    }
    rest = bytes
    return Buffer.concat(out)
  }
  const duplex = new Duplex({
    read: () => void socket.resume(),
    write: (chunk: Buffer, _encoding, done) => void socket.write(rewritten(chunk), () => done()),
    final: (done) => void socket.end(() => done()),
    destroy: (error, done) => {
      socket.destroy()
      done(error)
    },
  })
  socket.on('data', (chunk: Buffer) => {
    if (!duplex.push(chunk)) socket.pause()
  })
  socket.on('end', () => duplex.push(null))
  socket.on('error', () => duplex.destroy())
  socket.on('close', () => duplex.destroy())
  return duplex
}
