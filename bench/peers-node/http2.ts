/**
 * The least that node:http2 costs: whatever comes is answered with the same bytes, as soon as its gRPC message is whole.
 * Started by index.ts with the address as its argument.
 */
import { createServer, type ServerHttp2Stream } from 'node:http2'
import { cannedAnswer, checkMethod } from './answer.ts'
import { listen } from './listen.ts'

const message = checkMethod().responseSerialize(cannedAnswer)
const prefix = 5
const framed = Buffer.alloc(prefix + message.length)
framed.writeUInt32BE(message.length, 1)
message.copy(framed, prefix)

const headers = { ':status': 200, 'content-type': 'application/grpc' }
const options = { sendDate: false, waitForTrailers: true }
const trailers = { 'grpc-status': '0' }

function answer(stream: ServerHttp2Stream): void {
  stream.respond(headers, options)
  stream.on('wantTrailers', () => stream.sendTrailers(trailers))
  stream.end(framed)
}

const server = createServer({ settings: { maxConcurrentStreams: 1000, initialWindowSize: 1 << 20 } })
server.on('session', (session) => session.setLocalWindowSize(1 << 24))
server.on('stream', (stream: ServerHttp2Stream) => {
  let first: Buffer | undefined
  stream.on('error', () => {})
  stream.on('data', (chunk: Buffer) => {
    first = first === undefined ? chunk : Buffer.concat([first, chunk])
    if (!stream.headersSent && first.length >= prefix && first.length >= prefix + first.readUInt32BE(1)) answer(stream)
  })
})
listen((at, done) => ('path' in at ? server.listen(at.path, done) : server.listen(at.port, at.host, done)))
