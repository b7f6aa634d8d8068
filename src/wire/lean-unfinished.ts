/** A message of which a part has come. */
export interface UnfinishedMessage {
  /** Lets go of that part, and gives it back. */
  readonly evict: () => void
}

/** Bytes of unfinished messages on all connections of a server. */
export class UnfinishedTotal {
  /** Connections that keep something. */
  readonly connections = new Set<Unfinished>()
  bytes = 0
  private readonly most: number

  constructor(most: number) {
    this.most = most
  }

  /** @returns whether a connection may keep more; for that, another that keeps more than it would lets go of what it has kept longest */
  makeRoom(more: number, asking: Unfinished): boolean {
    while (this.bytes + more > this.most) {
      const heaviest = this.heaviest()
      if (heaviest === undefined || heaviest === asking || heaviest.bytes <= asking.bytes + more) return false
      heaviest.evictOldest()
    }
    return true
  }

  private heaviest(): Unfinished | undefined {
    let heaviest: Unfinished | undefined
    for (const each of this.connections) if (each.evictable && (!heaviest || each.bytes > heaviest.bytes)) heaviest = each
    return heaviest
  }
}

/**
 * What one connection keeps of messages that are not whole yet, and of those that were put together and are being
 * decided. Messages that come in one frame are not kept, and never count.
 */
export class Unfinished {
  bytes = 0
  private readonly total: UnfinishedTotal
  private readonly most: number
  /** Oldest first. */
  private readonly messages = new Set<UnfinishedMessage>()

  /** @param most bytes on this connection */
  constructor(total: UnfinishedTotal, most: number) {
    this.total = total
    this.most = most
  }

  get evictable(): boolean {
    return this.messages.size > 0
  }

  /** @returns whether a message may keep so many bytes more */
  take(message: UnfinishedMessage, more: number): boolean {
    const { total } = this
    if (this.bytes + more > this.most || !total.makeRoom(more, this)) return false
    this.bytes += more
    total.bytes += more
    total.connections.add(this)
    this.messages.add(message)
    return true
  }

  /** The message is whole: it still counts, but no other takes its place. */
  finish(message: UnfinishedMessage): void {
    this.messages.delete(message)
  }

  give(message: UnfinishedMessage, bytes: number): void {
    this.bytes -= bytes
    this.total.bytes -= bytes
    this.messages.delete(message)
    if (this.bytes === 0) this.total.connections.delete(this)
  }

  evictOldest(): void {
    const [oldest] = this.messages
    oldest?.evict()
  }
}
