import { randomFillSync } from 'node:crypto'

const poolBytes = 8192
const bytesPerId = 10
const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))
// `7` is the version, the rest the 12 bits of rand_a, here a counter.
const versionAndCounter = Array.from({ length: 4096 }, (_, n) => `7${n.toString(16).padStart(3, '0')}`)
// The two high bits of the variant octet are 10.
const hexOfVariant = hexOfByte.map((_, byte) => hexOfByte[0x80 | (byte & 0x3f)]!)

const timePart = (ms: number): string => {
  const hex = ms.toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-`
}

/**
 * Makes UUIDv7s (RFC 9562, section 5.7), each greater than the one before: within a millisecond a counter in
 * `rand_a` goes up from a random start (section 6.2, method 1), and a clock that goes back is not followed.
 * @param clock milliseconds since the epoch
 */
export function createIds(clock: () => number = Date.now): () => string {
  const pool = new Uint8Array(poolBytes)
  let used = poolBytes
  let lastMs = -1
  let prefix = ''
  let counter = 0

  return () => {
    if (used + bytesPerId > poolBytes) {
      randomFillSync(pool)
      used = 0
    }
    const at = used
    used += bytesPerId
    const now = clock()
    if (now > lastMs || counter === 4095) {
      // A counter that is used up borrows the next millisecond.
      lastMs = now > lastMs ? now : lastMs + 1
      prefix = timePart(lastMs)
      // The highest bit begins as 0, so that at least 2048 ids fit.
      counter = ((pool[at + 8]! << 8) | pool[at + 9]!) & 0x7ff
    } else counter++
    const h = hexOfByte
    return (
      prefix +
      versionAndCounter[counter]! +
      '-' +
      hexOfVariant[pool[at]!]! +
      h[pool[at + 1]!]! +
      '-' +
      h[pool[at + 2]!]! +
      h[pool[at + 3]!]! +
      h[pool[at + 4]!]! +
      h[pool[at + 5]!]! +
      h[pool[at + 6]!]! +
      h[pool[at + 7]!]!
    )
  }
}
