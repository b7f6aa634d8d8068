import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { types } from 'node:util'
import { setFlagsFromString } from 'node:v8'

/** Streams by their ids, as many as are usually open on one connection. */
const slots = 2048

/**
 * A Map for the open streams of a connection, whose keys only go up. V8 makes a Map of short-lived entries a new table
 * every few insertions, and the tables that were left, once they have been promoted, hold what was open at that moment:
 * with a Map of its own kind nearly every stream survives to the next full collection. Here a deleted entry leaves nothing behind.
 */
export class StreamMap extends Map<number, ServerHttp2Stream> {
  readonly #ids = new Int32Array(slots)
  readonly #streams = new Array<ServerHttp2Stream | undefined>(slots).fill(undefined)
  #count = 0

  // Ids that meet in one slot, such as that of a call which stays open: the second goes into the Map itself.
  override get(id: number): ServerHttp2Stream | undefined {
    const slot = slotOf(id)
    return this.#ids[slot] === id ? this.#streams[slot] : super.get(id)
  }

  override has(id: number): boolean {
    return this.get(id) !== undefined
  }

  override set(id: number, stream: ServerHttp2Stream): this {
    const slot = slotOf(id)
    if (this.#ids[slot] === 0 && !super.has(id)) {
      this.#ids[slot] = id
      this.#streams[slot] = stream
      this.#count++
    } else if (this.#ids[slot] === id) this.#streams[slot] = stream
    else super.set(id, stream)
    return this
  }

  override delete(id: number): boolean {
    const slot = slotOf(id)
    if (this.#ids[slot] !== id) return super.delete(id)
    this.#ids[slot] = 0
    this.#streams[slot] = undefined
    this.#count--
    return true
  }

  override clear(): void {
    this.#ids.fill(0)
    this.#streams.fill(undefined)
    this.#count = 0
    super.clear()
  }

  override get size(): number {
    // A Map's own constructor may look at it before there are fields.
    return (#count in this ? this.#count : 0) + super.size
  }

  override forEach(callback: (stream: ServerHttp2Stream, id: number, map: Map<number, ServerHttp2Stream>) => void): void {
    for (const [id, stream] of this) callback(stream, id, this)
  }

  override *entries(): MapIterator<[number, ServerHttp2Stream]> {
    for (let slot = 0; slot < slots; slot++) {
      const id = this.#ids[slot]!
      if (id !== 0) yield [id, this.#streams[slot]!]
    }
    yield* super.entries()
  }

  override *keys(): MapIterator<number> {
    for (const [id] of this.entries()) yield id
  }

  override *values(): MapIterator<ServerHttp2Stream> {
    for (const [, stream] of this.entries()) yield stream
  }

  override [Symbol.iterator](): MapIterator<[number, ServerHttp2Stream]> {
    return this.entries()
  }
}

// Requests of clients have odd ids (RFC 9113, section 5.1.1).
const slotOf = (id: number): number => (id >>> 1) & (slots - 1)

/**
 * A Set for the streams of a connection that have no id yet, which is one at a time and for a moment. A Set makes new
 * tables as a Map does; here the one stream is a field.
 */
export class StreamSet extends Set<ServerHttp2Stream> {
  #only: ServerHttp2Stream | undefined = undefined

  override has(stream: ServerHttp2Stream): boolean {
    return this.#only === stream || super.has(stream)
  }

  override add(stream: ServerHttp2Stream): this {
    if (this.has(stream)) return this
    if (this.#only === undefined) this.#only = stream
    else super.add(stream)
    return this
  }

  override delete(stream: ServerHttp2Stream): boolean {
    if (this.#only !== stream) return super.delete(stream)
    this.#only = undefined
    return true
  }

  override clear(): void {
    this.#only = undefined
    super.clear()
  }

  override get size(): number {
    return (this.#only === undefined ? 0 : 1) + super.size
  }

  override forEach(callback: (stream: ServerHttp2Stream, again: ServerHttp2Stream, set: Set<ServerHttp2Stream>) => void): void {
    for (const stream of this) callback(stream, stream, this)
  }

  override *values(): SetIterator<ServerHttp2Stream> {
    if (this.#only !== undefined) yield this.#only
    yield* super.values()
  }

  override keys(): SetIterator<ServerHttp2Stream> {
    return this.values()
  }

  override *entries(): SetIterator<[ServerHttp2Stream, ServerHttp2Stream]> {
    for (const stream of this) yield [stream, stream]
  }

  override [Symbol.iterator](): SetIterator<ServerHttp2Stream> {
    return this.values()
  }
}

/**
 * Has V8 make objects where objects are made: with the young ones. Where nearly all that some place in the code makes
 * survives a collection, as when a process begins with many calls at once and little room, V8 has that place make its
 * objects among the old ones from then on. When the place is in node:http2 or its streams, each such object keeps all of
 * its stream until the next full collection. It holds for the process, and for what is compiled from now on.
 */
export function keepStreamsYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
}

/**
 * Gives a new session such a Map and such a Set. They are no part of Node's API: where they are not found as they are
 * known here, the session stays as it is, and only costs more.
 * @returns whether they were found
 */
export function calmStreams(session: ServerHttp2Session): boolean {
  const key = Object.getOwnPropertySymbols(session).find(({ description }) => description === 'state')
  const state: unknown = key && (session as unknown as Record<symbol, unknown>)[key]
  if (typeof state !== 'object' || state === null || !('streams' in state) || !('pendingStreams' in state)) return false
  const { streams, pendingStreams } = state
  if (!types.isMap(streams) || streams.size > 0 || !types.isSet(pendingStreams) || pendingStreams.size > 0) return false
  state.streams = new StreamMap()
  state.pendingStreams = new StreamSet()
  return true
}
