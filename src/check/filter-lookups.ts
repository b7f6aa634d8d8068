import { setImmediate } from 'node:timers/promises'
import type { Labels } from '../core/ownership.ts'
import { type OwnerLookup, Unavailable } from '../core/ports.ts'

/** Look-ups of one list that are under way at once: they share the connection to state with the checks. */
const mostAtOnce = 64
/** Look-ups after which checks have their turn. */
const turnEvery = 256
/** Milliseconds for all of them: less than an answer to Envoy may take. */
const deadlineMs = 600

/**
 * The labels of many resources, from near copies where they are fresh.
 * @returns by id; those without labels are not there
 * @throws {Unavailable} where one of them cannot be looked up, or not in time
 */
export async function labelsOfAll(
  owners: OwnerLookup,
  source: string | undefined,
  resource: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, Labels>> {
  const found = new Map<string, Labels>()
  const deadline = performance.now() + deadlineMs
  const wanted = new Set(ids).values()
  let looked = 0

  const one = async (): Promise<void> => {
    for (const id of wanted) {
      if (performance.now() > deadline) throw new Unavailable('the owners in a list were not all looked up in time')
      if (++looked % turnEvery === 0) await setImmediate()
      const answer = owners.labels(source, resource, id)
      const { labels } = answer instanceof Promise ? await answer : answer
      if (labels) found.set(id, labels)
    }
  }
  // Each takes the next id from the one iterator, as soon as it has had an answer.
  const all = Promise.all(Array.from({ length: Math.min(mostAtOnce, ids.length) }, one))
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Unavailable('the owners in a list were not all looked up in time')), deadlineMs)
  })
  try {
    await Promise.race([all, late])
  } finally {
    clearTimeout(timer)
  }
  return found
}
