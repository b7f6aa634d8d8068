import type { Socket } from 'node:net'
import { type ConnectionOptions, connect } from 'node:tls'
import type { Answer } from './outcome.ts'

const limit = 10_000
/** How long a connection that Envoy keeps open is listened to after the last whole answer. */
const quiet = 150

/**
 * Opens a TLS connection to Envoy.
 * @returns undefined where the handshake fails: Envoy took no part in more
 */
export function dial(port: number, tls: ConnectionOptions, protocol: string): Promise<Socket | undefined> {
  return new Promise((done) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      servername: 'localhost',
      checkServerIdentity: () => undefined,
      ALPNProtocols: [protocol],
      ...tls,
    })
    socket.setNoDelay(true)
    socket.once('secureConnect', () => done(socket))
    socket.once('error', () => done(undefined))
    socket.once('close', () => done(undefined))
  })
}

/**
 * Sends bytes, and reads all answers that come back: until Envoy closes the connection, or has been quiet after one.
 * @returns none where it ended without any: a refused handshake, a reset
 */
export async function exchange(socket: Socket | undefined, bytes: Buffer): Promise<Answer[]> {
  if (socket === undefined) return []
  try {
    return await new Promise((done, fail) => {
      let text = ''
      let timer: NodeJS.Timeout | undefined
      const over = (): void => {
        clearTimeout(timer)
        done(answers(text).whole)
      }
      socket.setTimeout(limit, () => fail(new Error(`no end within ${limit} ms of ${JSON.stringify(text.slice(0, 500))}`)))
      socket.on('error', over)
      socket.on('close', over)
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
        clearTimeout(timer)
        const { whole, rest } = answers(text)
        if (whole.length > 0 && rest === '') timer = setTimeout(over, quiet)
      })
      // TLS 1.3: a client certificate that is refused is told of after the handshake.
      socket.write(bytes, () => {})
    })
  } finally {
    socket.destroy()
  }
}

/** Cuts HTTP/1.1 answers apart: by content-length, or chunks. */
function answers(text: string): { whole: Answer[]; rest: string } {
  const whole: Answer[] = []
  let rest = text
  for (;;) {
    const end = rest.indexOf('\r\n\r\n')
    if (end < 0) return { whole, rest }
    const [statusLine = '', ...lines] = rest.slice(0, end).split('\r\n')
    const headers: Record<string, string> = {}
    for (const line of lines) {
      const colon = line.indexOf(':')
      headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim()
    }
    const status = Number(statusLine.split(' ')[1] ?? 0)
    const after = rest.slice(end + 4)
    const body = bodyOf(after, headers, status)
    if (body === undefined) {
      // Without its body: a HEAD request's answer tells the length of one that does not come.
      return { whole: [...whole, { status, headers, body: '' }], rest: after }
    }
    if (status >= 200 || status === 101) whole.push({ status, headers, body: body.text })
    rest = after.slice(body.length)
  }
}

function bodyOf(text: string, headers: Readonly<Record<string, string>>, status: number): { text: string; length: number } | undefined {
  if (headers['transfer-encoding'] === 'chunked') {
    let at = 0
    let body = ''
    for (;;) {
      const line = text.indexOf('\r\n', at)
      const size = line < 0 ? Number.NaN : Number.parseInt(text.slice(at, line), 16)
      if (Number.isNaN(size) || line + 2 + size + 2 > text.length) return undefined
      body += text.slice(line + 2, line + 2 + size)
      at = line + 2 + size + 2
      if (size === 0) return { text: utf8(body), length: at }
    }
  }
  const length = status < 200 || status === 304 ? 0 : Number(headers['content-length'] ?? 0)
  return text.length < length ? undefined : { text: utf8(text.slice(0, length)), length }
}

const utf8 = (latin1: string): string => Buffer.from(latin1, 'latin1').toString()
