import {
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from 'node:http2'
import type { Socket } from 'node:net'
import { calmStreams, keepStreamsYoung } from './lean-streams.ts'

/** Milliseconds until the client must have sent its preface and settings. */
const prefaceMs = 10_000
/** Looks (about seconds) after which a peer is asked whether it is there, and milliseconds for its answer. */
const pingEvery = 60
const pingAnswerMs = 20_000
/** Looks for which nothing of what waits to be sent may have gone. */
const stalledAtMost = 10

/** Bytes of a call that may be under way unread, and of all calls of a connection together. */
const streamWindow = 1024 * 1024
const sessionWindow = 16 * 1024 * 1024

/** @param maxStreams calls at once on one connection */
export function sessionOptions(maxStreams: number): ServerOptions {
  return {
    settings: {
      maxConcurrentStreams: maxStreams,
      initialWindowSize: streamWindow,
      // Envoy's own requests have about ten short headers. Each is kept until garbage is collected.
      maxHeaderListSize: 12 * 1024,
    },
    maxHeaderListPairs: 64,
    // What is sent are constants: nothing to look for twice.
    strictSingleValueFields: false,
    maxSettings: 32,
    maxOutstandingPings: 4,
    // MB that a connection may keep for frames that its peer does not take; then new calls are refused.
    maxSessionMemory: 16,
    // Envoy resets a call where its client has gone or its time-out has passed, which may be all calls that it has open,
    // twice over. Then, and so many a second.
    streamResetBurst: 2048,
    streamResetRate: 256,
  }
}

/**
 * Speaks HTTP/2 on a socket that was accepted.
 * @param onStream told of each request
 * @param lookEveryMs how often it is seen whether the peer takes what it is sent; milliseconds
 * @returns undefined where the socket is closed already
 */
export function openSession(
  socket: Socket,
  options: ServerOptions,
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void,
  lookEveryMs = 1000,
): ServerHttp2Session | undefined {
  if (socket.destroyed) return undefined
  const session = performServerHandshake(socket, options)
  keepStreamsYoung()
  calmStreams(session)
  // Whatever goes wrong with a connection ends it, and only it.
  session.on('error', () => {})
  session.on('stream', onStream)
  session.setLocalWindowSize(sessionWindow)
  const preface = setTimeout(() => socket.destroy(), prefaceMs)
  preface.unref()
  session.once('remoteSettings', () => clearTimeout(preface))
  const watch = watchPeer(session, socket, lookEveryMs)
  socket.once('close', () => {
    clearTimeout(preface)
    clearInterval(watch)
  })
  return session
}

/**
 * Ends the connection of a peer that does not read, or is not there any more. It is the socket that is destroyed: a
 * session waits for what it has begun to write.
 */
function watchPeer(session: ServerHttp2Session, socket: Socket, lookEveryMs: number): NodeJS.Timeout {
  let looks = 0
  let stalled = 0
  let written = 0
  const timer = setInterval(() => {
    const before = written
    written = socket.bytesWritten
    const waiting = session.destroyed || session.state.outboundQueueSize
    stalled = waiting && written === before ? stalled + 1 : 0
    if (stalled > stalledAtMost) socket.destroy()
    else if (++looks % pingEvery === 0) ping(session, socket)
  }, lookEveryMs)
  return timer.unref()
}

function ping(session: ServerHttp2Session, socket: Socket): void {
  if (session.closed || session.destroyed) return
  const timer = setTimeout(() => socket.destroy(), pingAnswerMs)
  timer.unref()
  session.ping(() => clearTimeout(timer))
}
