import type { ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'

/** GOAWAY (RFC 9113, 6.8) with the highest stream id there is: no call is lost by it, and no new ones are to come. */
const notice = Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])

/** How long a peer may take to say that it has seen the notice, in milliseconds. */
const noticeMs = 1000

/**
 * Ends a connection so that no call is lost that its peer opens in this instant: first the notice, and the final
 * GOAWAY when the peer has answered a PING that was sent after it. Calls in flight then end, and the socket after them.
 *
 * session.goaway() cannot send the notice: nghttp2 drops each stream that arrives after any GOAWAY of its own, and the
 * peer is not told. So the frame is written beside the session, which writes whole frames only, and only when the
 * peer has just answered a PING and nothing waits to be sent: the write is then done when it returns, while one that
 * had to wait would be reported to the session as its own. A TLS socket cannot promise that; its connections get the
 * final GOAWAY at once.
 */
export function drainSession(session: ServerHttp2Session, socket: Socket): void {
  if (session.closed || session.destroyed) return
  if (session.encrypted) {
    session.close()
    return
  }
  const end = (): void => {
    clearTimeout(timer)
    session.close()
  }
  const timer = setTimeout(end, noticeMs)
  timer.unref()
  const tell = (): void => {
    if (session.closed || session.destroyed) return
    if (session.state.outboundQueueSize !== 0 || socket.destroyed) {
      end()
      return
    }
    socket.write(notice)
    session.ping(end)
  }
  // A turn later, so that what was answered in this one has been sent.
  session.ping((fault) => (fault ? end() : setImmediate(tell)))
}
