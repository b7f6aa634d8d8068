import { setTimeout as sleep } from 'node:timers/promises'

/** What became of a request that was not answered as it should be. */
export interface Failure {
  readonly begun: number
  readonly ended: number
  readonly said: string
}

/** Requests at a steady pace, each on a connection of its own, until they are stopped. */
export interface Load {
  readonly answered: () => number
  readonly failed: readonly Failure[]
  readonly stop: () => Promise<void>
}

/** @param kinds asked in turn; each gives undefined, or what was wrong @param everyMs between two requests */
export function startLoad(kinds: readonly (() => Promise<string | undefined>)[], everyMs = 25): Load {
  const failed: Failure[] = []
  const open = new Set<Promise<void>>()
  let [answered, going] = [0, true]
  const one = async (kind: () => Promise<string | undefined>): Promise<void> => {
    const begun = performance.now()
    const said = await kind().catch((error: unknown) => String(error))
    if (said === undefined) answered += 1
    else failed.push({ begun, ended: performance.now(), said })
  }
  const run = async (): Promise<void> => {
    for (let at = 0; going; at++) {
      const kind = kinds[at % kinds.length]
      const sent = kind ? one(kind) : Promise.resolve()
      open.add(sent)
      void sent.finally(() => open.delete(sent))
      await sleep(everyMs)
    }
    await Promise.all(open)
  }
  const ended = run()
  return {
    answered: () => answered,
    failed,
    stop: async () => {
      going = false
      await ended
    },
  }
}
