import { setTimeout as sleep } from 'node:timers/promises'
import type { LookedUp, Soon } from '../../src/core/ports.ts'
import { Unavailable } from '../../src/core/ports.ts'

interface Written {
  readonly owner: string | undefined
  readonly sentAt: number
  /** undefined: nobody was told that it happened, and it may have. */
  ackedAt: number | undefined
}

/** What was written of resources, and whether what is read of them is right. */
export interface OwnerLedger {
  /** Writes owner after owner of a resource until `stop`; `write` rejects where it is not known whether it happened. */
  readonly write: (id: string, write: (owner: string) => Promise<unknown>, everyMs: number) => void
  /** Notes one write that is made by the caller. */
  readonly wrote: (id: string, owner: string | undefined, write: () => Promise<unknown>) => Promise<boolean>
  /** Reads a resource until `stop`, and compares. */
  readonly read: (id: string, read: () => Soon<LookedUp>, everyMs: number) => void
  /** Ends writing and reading. */
  readonly stop: () => Promise<void>
  /** Answers that were wrong: an owner that had been replaced for longer than a second, or was never written. */
  readonly wrong: readonly string[]
  /** Why writes were not known to have happened. */
  readonly faults: readonly string[]
  readonly counts: { reads: number; hits: number; unavailable: number; written: number; unsure: number }
  /** When a read answered last; performance.now() milliseconds. */
  readonly answeredAt: (id: string) => number
}

/** Milliseconds after which a change is in force. */
const bound = 1000

export function ownerLedger(): OwnerLedger {
  const history = new Map<string, Written[]>()
  const answered = new Map<string, number>()
  const wrong: string[] = []
  const faults: string[] = []
  const counts = { reads: 0, hits: 0, unavailable: 0, written: 0, unsure: 0 }
  const turns: Promise<void>[] = []
  let going = true

  const wrote: OwnerLedger['wrote'] = async (id, owner, write) => {
    const all = history.get(id) ?? []
    history.set(id, all)
    const entry: Written = { owner, sentAt: performance.now(), ackedAt: undefined }
    all.push(entry)
    try {
      await write()
      entry.ackedAt = performance.now()
      counts.written += 1
      return true
    } catch (error) {
      counts.unsure += 1
      faults.push(error instanceof Error ? error.message : 'not an error')
      return false
    }
  }
  const isRight = (id: string, owner: string | undefined, from: number): boolean => {
    const all = history.get(id) ?? []
    // From the newest back, up to one that was acknowledged so long ago that nothing before it may be read.
    for (const entry of all.toReversed()) {
      if (entry.owner === owner) return true
      if (entry.ackedAt !== undefined && entry.ackedAt < from - bound) return false
    }
    return owner === undefined
  }

  return {
    wrote,
    write: (id, write, everyMs) => {
      const turn = async () => {
        for (let i = 0; going; i++) {
          const owner = `${id}-owner-${i}`
          await wrote(id, owner, () => write(owner))
          await sleep(everyMs)
        }
      }
      turns.push(turn())
    },
    read: (id, read, everyMs) => {
      const turn = async () => {
        while (going) {
          const from = performance.now()
          try {
            const { labels, cache } = await read()
            counts.reads += 1
            if (cache === 'hit') counts.hits += 1
            answered.set(id, performance.now())
            const owner = labels?.get('agentcube.io/owner')
            if (!isRight(id, owner, from))
              wrong.push(`${id}: ${owner} (${cache}) after ${JSON.stringify(history.get(id)?.slice(-3))} at ${from}`)
          } catch (error) {
            if (!(error instanceof Unavailable)) throw error
            counts.unavailable += 1
          }
          await sleep(everyMs)
        }
      }
      turns.push(turn())
    },
    stop: async () => {
      going = false
      await Promise.all(turns)
    },
    wrong,
    faults,
    counts,
    answeredAt: (id) => answered.get(id) ?? Number.NEGATIVE_INFINITY,
  }
}
