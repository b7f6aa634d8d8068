import { LRUCache } from 'lru-cache'
import type { JsonObject } from '../core/json.ts'
import { readStruct } from './read-struct.ts'
import { StructOrder } from './read-struct-order.ts'
import type { Texts } from './read-text.ts'

/** What cannot be read was presented all the same: no claims, so that every validator rejects it. */
export const unreadable: JsonObject = Object.freeze({})

/** V8 hashes a text up to this length; longer ones of one length would all collide. */
const maxPayload = 16_383

/**
 * Verified payloads by their bytes, so that a token is read once and gives the same frozen object for each request
 * that brings it. The key is the whole payload with the members of all its objects in one order, since Envoy writes
 * them in another order for each request. Equal keys mean equal payloads: a payload that names a claim twice, whose
 * meaning would depend on the order, is never kept.
 */
export class Payloads {
  readonly #texts: Texts
  readonly #order = new StructOrder(maxPayload)
  readonly #known = new LRUCache<string, JsonObject>({
    max: 10_000,
    maxSize: 16 * 1024 * 1024,
    sizeCalculation: (_, key) => key.length,
  })

  constructor(texts: Texts) {
    this.#texts = texts
  }

  /** @param start of a google.protobuf.Struct that was walked through before */
  read(message: Buffer, start: number, end: number): JsonObject {
    const length = end - start
    if (length === 0) return unreadable
    const ordered = length > maxPayload ? undefined : this.#order.copy(message, start, end)
    if (!ordered) return readStruct(message, start, end, this.#texts) ?? unreadable
    const key = ordered.toString('latin1', 0, length)
    const known = this.#known.get(key)
    if (known) return known
    // Claims in one order give objects of one form.
    const payload = readStruct(ordered, 0, length, this.#texts)
    if (!payload) return unreadable
    this.#known.set(key, payload)
    return payload
  }
}
