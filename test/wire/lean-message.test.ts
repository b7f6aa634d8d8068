import assert from 'node:assert/strict'
import { MessageReader, unreadable } from '../../src/wire/lean-message.ts'
import { Unfinished, UnfinishedTotal } from '../../src/wire/lean-unfinished.ts'
import { framed } from './http2-client.ts'

const body = Buffer.from(Array.from({ length: 20_000 }, (_, at) => at % 251))
const message = framed(body)

describe('the reader of messages', () => {
  for (const step of [1, 2, 3, 4, 5, 6, 4097, 19_999, 20_004, 20_005]) {
    it(`puts one together that comes in pieces of ${step} bytes, and gives back what it kept`, () => {
      const total = new UnfinishedTotal(50_000)
      const reader = new MessageReader({ maxReceive: 20_000, unfinished: new Unfinished(total, 50_000) })
      for (let at = 0; at < message.length; at += step) {
        const read = reader.read(Buffer.from(message.subarray(at, at + step)))
        if (at + step < message.length) assert.equal(read, undefined)
        else assert(read && !unreadable(read) && read.equals(body))
      }
      // One that comes whole is not kept.
      assert.equal(total.bytes, step >= message.length ? 0 : message.length)
      reader.forget()
      assert.deepEqual([total.bytes, total.connections.size], [0, 0])
    })
  }

  it('counts the memory that is kept rather than the bytes that came', () => {
    const total = new UnfinishedTotal(50_000)
    const limits = { maxReceive: 20_000, unfinished: new Unfinished(total, 50_000) }
    const readers = Array.from({ length: 13 }, () => new MessageReader(limits))
    const outcomes = readers.map((reader) => reader.read(message.subarray(0, 6)))
    assert.equal(outcomes.filter((outcome) => outcome === undefined).length, 12)
    assert.equal(total.bytes, 12 * 4096)
  })
})
