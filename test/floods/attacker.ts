import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { type Http2Connection, type Http2Options, http2Connection } from '../support/http2-connection.ts'
import type { Attack, Counts } from './under-attack.ts'

/** What one turn of an attack writes: bytes, and how many frames they are; undefined where it has nothing more to say. */
export type NextWrite = () => { readonly bytes: Buffer; readonly frames: number } | undefined

export interface FloodOptions extends Omit<Http2Options, 'onFrame'> {
  /** Connections at once. Each that the service ends is opened anew. */
  readonly connections?: number
  /** Frames in all after which it stops by itself. */
  readonly mostFrames?: number
}

const mostConnections = 5_000

/**
 * An attack that writes as fast as the service reads, and comes again when it is thrown out.
 * @param begin makes what one connection says
 */
export function flood(begin: () => NextWrite, options: FloodOptions = {}): Attack {
  const { connections = 4, mostFrames = 3_000_000, ...rest } = options
  return async (port, over) => {
    const counts = { connections: 0, frames: 0, goaways: 0, calmed: 0, thrownOut: 0, resets: 0, answers: 0 }
    const open = new Set<Http2Connection>()
    const soFar = (): Counts => ({ ...counts, frames: [...open].reduce((sum, { sent }) => sum + sent.frames, counts.frames) })
    const stopped = (): boolean => over(soFar()) || counts.frames > mostFrames || counts.connections > mostConnections
    const note = (connection: Http2Connection, left: boolean): void => {
      counts.frames += connection.sent.frames
      counts.goaways += connection.goaways.length
      counts.calmed += connection.goaways.filter((code) => code === 11).length
      counts.resets += Object.values(connection.resets).reduce((sum, count) => sum + count, 0)
      counts.answers += connection.received[1] ?? 0
      if (left) counts.thrownOut++
    }
    const ending = untilOver(stopped)
    const one = async (): Promise<void> => {
      while (!stopped()) {
        const connection = await http2Connection(port, rest)
        counts.connections++
        open.add(connection)
        const next = begin()
        while (!stopped() && !connection.closed()) {
          const write = next()
          if (write === undefined) {
            await sleep(20)
            continue
          }
          // A connection whose other side reads nothing any more never drains: the end of the attack is waited for too.
          await Promise.race([connection.send(write.bytes, write.frames), ending])
          await turn()
        }
        // What the service said before it closed may still be on its way.
        open.delete(connection)
        note(connection, connection.closed())
        connection.cut()
        await connection.ended
      }
    }
    await Promise.all(Array.from({ length: connections }, one))
    return counts
  }
}

async function untilOver(over: () => boolean): Promise<void> {
  while (!over()) await sleep(50)
}
