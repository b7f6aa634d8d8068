import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { ClientResponse, ClientTls } from './request.ts'

const limit = 10_000

/** Opens a connection to 127.0.0.1, for bytes that no HTTP client would send. The caller ends it. */
function connectRaw(port: number, tls?: ClientTls): Promise<Socket> {
  return new Promise((done, fail) => {
    const socket: Socket = tls
      ? connectTls({ host: '127.0.0.1', port, servername: 'localhost', ALPNProtocols: ['http/1.1'], ...tls }, () => done(socket))
      : connectPlain(port, '127.0.0.1', () => done(socket))
    socket.once('error', fail)
  })
}

/**
 * Sends bytes and reads one answer: as long as its `content-length` says, or until the other side closes the connection. The request
 * should say `connection: close`.
 * @param bytes a whole HTTP/1.1 request; a string is sent as latin1, so that `\xff` is one byte
 */
export async function sendRaw(port: number, bytes: string | Buffer, tls?: ClientTls): Promise<ClientResponse> {
  const socket = await connectRaw(port, tls)
  try {
    return await new Promise((done, fail) => {
      let text = ''
      socket.setTimeout(limit, () => fail(new Error(`no answer within ${limit} ms`)))
      socket.on('error', fail)
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
        const { headers, body } = parseResponse(text)
        if (body.length >= Number(headers['content-length'] ?? Number.POSITIVE_INFINITY)) done(parseResponse(text))
      })
      socket.on('close', () => done(parseResponse(text)))
      socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
    })
  } finally {
    socket.destroy()
  }
}

/** A request's bytes: its lines joined by CRLF, the blank line, and a body. */
export const rawRequest = (lines: readonly string[], body = ''): string => `${lines.join('\r\n')}\r\n\r\n${body}`

/** Headers of an RFC 6455 handshake. */
const websocketHandshake = (path: string, host: string, headers: readonly string[] = []): string =>
  rawRequest([
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    ...headers,
  ])

/**
 * Opens a WebSocket and echoes some bytes through it.
 * @returns the status of the handshake, its headers, and as body what came after it: the echo of `bytes` on 101, else the answer's body
 */
export async function websocketEcho(
  port: number,
  tls: ClientTls | undefined,
  path: string,
  headers: readonly string[],
  bytes: string,
): Promise<ClientResponse> {
  const socket = await connectRaw(port, tls)
  try {
    return await new Promise((done, fail) => {
      let text = ''
      let asked = false
      socket.setTimeout(limit, () => fail(new Error(`no end of the handshake or echo within ${limit} ms, but ${JSON.stringify(text)}`)))
      socket.on('error', fail)
      socket.on('close', () => done(parseResponse(text)))
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
        const head = text.indexOf('\r\n\r\n')
        if (head < 0) return
        const { status, headers: answered, body } = parseResponse(text)
        if (status === 101 && !asked) {
          asked = true
          socket.write(bytes)
        }
        const expected = status === 101 ? bytes.length : Number(answered['content-length'] ?? Number.POSITIVE_INFINITY)
        if (body.length >= expected) done(parseResponse(text))
      })
      socket.write(websocketHandshake(path, `localhost:${port}`, headers))
    })
  } finally {
    socket.destroy()
  }
}

/** Reads a status line, headers and the rest; a chunked body stays as it is. Status 0: nothing was answered. */
function parseResponse(text: string): ClientResponse {
  const end = text.indexOf('\r\n\r\n')
  const [statusLine = '', ...lines] = text.slice(0, Math.max(end, 0)).split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value
  }
  return { status: Number(statusLine.split(' ')[1] ?? 0), headers, body: end < 0 ? '' : text.slice(end + 4), trailers: {} }
}
