import type { ServerHttp2Stream } from 'node:http2'
import type { Server, Socket } from 'node:net'
import { Call, type Connection, type Method } from './lean-call.ts'
import { Unfinished, UnfinishedTotal } from './lean-unfinished.ts'

/** How much a server takes on, of all its peers together. */
export interface ServerLimits {
  /** Bytes of one message. */
  readonly maxReceive: number
  /** Connections: for one more, the one is closed that has been idle longest. */
  readonly maxConnections: number
  /** Open calls, above which a connection that has `reservedCalls` open gets no more of them. */
  readonly maxCalls: number
  readonly reservedCalls: number
  /** Bytes of unfinished messages on one connection, and on all of them. */
  readonly maxUnfinished: number
  readonly maxUnfinishedTotal: number
}

/** The connections of a server, and what they have under way. */
export class Connections {
  readonly limits: ServerLimits
  readonly unfinished: UnfinishedTotal
  /** By the socket that was accepted, which is below that of TLS. */
  private readonly open = new Map<Socket, ServedConnection>()
  /** Calls that outlived the turn of the event loop in which they began, and those that began in this one. */
  private waiting = 0
  private fresh = 0
  /** Counts turns with calls: their number tells what was last asked. */
  private turn = 1
  private readonly onFault: (detail: string) => void

  constructor(limits: ServerLimits, onFault: (detail: string) => void) {
    this.limits = limits
    this.onFault = onFault
    this.unfinished = new UnfinishedTotal(limits.maxUnfinishedTotal)
  }

  /** Follows what a server accepts, before anyone else does. @returns the server */
  follow<S extends Server>(server: S): S {
    return server.prependListener('connection', (socket: Socket) => {
      if (this.open.size >= this.limits.maxConnections) this.closeIdlest()
      this.open.set(socket, new ServedConnection(this, socket, this.turn))
      socket.once('close', () => this.open.delete(socket))
    })
  }

  /** @param socket one that was accepted, or that of TLS on it */
  of(socket: Socket): ServedConnection {
    const found = this.open.get(socket) ?? this.below(socket)
    found.served = socket
    return found
  }

  /** @returns whether a connection may have one more call; then it counts */
  admit(connection: ServedConnection): boolean {
    if (connection.turn !== this.turn) {
      connection.turn = this.turn
      connection.fresh = 0
    }
    const { maxCalls, reservedCalls } = this.limits
    if (this.waiting + this.fresh >= maxCalls && connection.waiting + connection.fresh >= reservedCalls) return false
    connection.fresh++
    if (this.fresh++ === 0) setImmediate(() => this.endTurn())
    return true
  }

  /** Counts a call that outlives its turn (1), and its end (-1). */
  count(connection: ServedConnection, calls: 1 | -1): void {
    this.waiting += calls
    connection.waiting += calls
  }

  /** Node does not tell which socket is below that of TLS; the peer's address and port do, as long as both are open. */
  private below(socket: Socket): ServedConnection {
    for (const each of this.open.values()) if (each.port === socket.remotePort && each.host === socket.remoteAddress) return each
    // It was closed in this instant, or is a unix socket.
    return new ServedConnection(this, socket, this.turn)
  }

  private endTurn(): void {
    this.fresh = 0
    this.turn++
  }

  private closeIdlest(): void {
    let idlest: ServedConnection | undefined
    for (const each of this.open.values()) if (!idlest || each.idlerThan(idlest)) idlest = each
    if (!idlest) return
    this.open.delete(idlest.accepted)
    idlest.cut()
    this.onFault(`more than ${this.limits.maxConnections} connections: the one that has been idle longest is closed`)
  }
}

/** A connection from the moment in which it is accepted. */
export class ServedConnection implements Connection {
  readonly maxReceive: number
  readonly unfinished: Unfinished
  readonly accepted: Socket
  /** That of TLS, once there is one. */
  served: Socket
  readonly host: string | undefined
  readonly port: number | undefined
  /** Open calls that have outlived their turn, and those that began in `turn`. */
  waiting = 0
  fresh = 0
  /** That of its last call, or of its begin. */
  turn: number
  private readonly all: Connections

  constructor(all: Connections, socket: Socket, turn: number) {
    this.all = all
    this.maxReceive = all.limits.maxReceive
    this.unfinished = new Unfinished(all.unfinished, all.limits.maxUnfinished)
    this.accepted = socket
    this.served = socket
    this.host = socket.remoteAddress
    this.port = socket.remotePort
    this.turn = turn
  }

  cut(): void {
    this.served.destroy()
  }

  admit(): boolean {
    return this.all.admit(this)
  }

  count(calls: 1 | -1): void {
    this.all.count(this, calls)
  }

  /** One with calls is not idle. Of two that have been so since the same turn, it is the older one. */
  idlerThan(other: ServedConnection): boolean {
    if (this.waiting > 0 !== other.waiting > 0) return other.waiting > 0
    return this.turn < other.turn
  }
}

/** A call that is counted among those of its connection once it has outlived the turn in which it began. */
export class CountedCall extends Call {
  private readonly from: ServedConnection

  constructor(stream: ServerHttp2Stream, method: Method, timeoutMs: number | undefined, from: ServedConnection) {
    super(stream, method, timeoutMs, from)
    this.from = from
  }

  override wait(closed: (call: Call) => void): void {
    const { from } = this
    from.count(1)
    super.wait((call) => {
      from.count(-1)
      closed(call)
    })
  }
}
