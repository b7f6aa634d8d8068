import { randomFillSync } from 'node:crypto'

const poolBytes = 8192
const bytesPerId = 10
const hex = Buffer.from('0123456789abcdef', 'latin1')
const dash = 0x2d
const length = 36

/**
 * Makes UUIDv7s (RFC 9562, section 5.7), each greater than the one before: within a millisecond a counter in
 * `rand_a` goes up from a random start (section 6.2, method 1), and a clock that goes back is not followed.
 * @param clock milliseconds since the epoch: asked where a call brings none
 */
export function createIds(clock: () => number = Date.now): (now?: number) => string {
  const pool = new Uint8Array(poolBytes)
  // Written out as bytes and read as one text: a text joined from pieces would be put together again by each who reads it.
  const text = Buffer.alloc(length, dash)
  let used = poolBytes
  let lastMs = -1
  let counter = 0

  const put = (at: number, byte: number): void => {
    text[at] = hex[byte >>> 4]!
    text[at + 1] = hex[byte & 15]!
  }
  const putTime = (ms: number): void => {
    const high = Math.floor(ms / 0x10000)
    for (const [i, at] of [0, 2, 4, 6].entries()) put(at, (high >>> (24 - i * 8)) & 0xff)
    put(9, (ms >>> 8) & 0xff)
    put(11, ms & 0xff)
  }

  return (now = clock()) => {
    if (used + bytesPerId > poolBytes) {
      randomFillSync(pool)
      used = 0
    }
    const at = used
    used += bytesPerId
    if (now > lastMs || counter === 4095) {
      // A counter that is used up borrows the next millisecond.
      lastMs = now > lastMs ? now : lastMs + 1
      putTime(lastMs)
      // The highest bit begins as 0, so that at least 2048 ids fit.
      counter = ((pool[at + 8]! << 8) | pool[at + 9]!) & 0x7ff
    } else counter++
    // `7` is the version, the rest the 12 bits of rand_a, here the counter.
    put(14, 0x70 | (counter >>> 8))
    put(16, counter & 0xff)
    // The two high bits of the variant octet are 10.
    put(19, 0x80 | (pool[at]! & 0x3f))
    put(21, pool[at + 1]!)
    for (let i = 0; i < 6; i++) put(24 + i * 2, pool[at + 2 + i]!)
    return text.toString('latin1')
  }
}
