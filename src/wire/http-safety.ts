import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { setSafeHeaders } from '../core/http-headers.ts'
import { systemCode } from '../core/system-code.ts'

/** Headers that every answer begins with, whoever writes it; a handler may say more of caching. */
export function safeHeaders(secure: boolean): Readonly<Record<string, string>> {
  const headers = new Headers()
  setSafeHeaders(headers, secure)
  return Object.fromEntries(headers)
}

/** Status of a request that never became one, by Node's code; 400 for all others of HTTP. */
const statuses: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
}

/** Answers what is no HTTP, too large or too slow, and ends the connection: nothing after it could be told from its rest. */
export function refuseRequest(cause: Error, socket: Socket, secure: boolean): void {
  // Where an answer has begun, another one inside it would be taken for its body.
  const begun = '_httpMessage' in socket && (socket._httpMessage as { headersSent?: boolean } | null)?.headersSent
  const code = systemCode(cause)
  // A handshake that failed has nobody to be answered.
  if (!socket.writable || begun || !/^(?:HPE|ERR_HTTP)_/.test(code)) {
    socket.destroy()
    return
  }
  const status = statuses[code] ?? 400
  const headers = Object.entries({ ...safeHeaders(secure), connection: 'close', 'content-length': '0' })
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`)
  // Who does not read it, or sends on, is not waited for.
  socket.setTimeout(1000, () => socket.destroy())
}
