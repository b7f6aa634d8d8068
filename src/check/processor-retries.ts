import { Unavailable } from '../core/ports.ts'

/** What is owed to state. */
export const owedKinds = ['orphan', 'intent', 'removal'] as const
export type OwedKind = (typeof owedKinds)[number]

export interface RetriesOptions {
  /** Told of what failed for another reason than that state cannot be had; it is tried again all the same. */
  readonly onFault: (cause: unknown) => void
  /** Told of what is given up, because too much is owed or because the process ends. */
  readonly onDropped: (kind: OwedKind, key: string) => void
  /** Jobs of one kind that wait at most. */
  readonly most?: number
  /** Milliseconds before the first attempt; each one that fails doubles it, up to twenty times as long. */
  readonly firstMs?: number
}

/** Jobs that wait for state to answer again, in memory alone. */
export interface Retries {
  /** @param key names the job: another one of this name takes its place */
  readonly add: (kind: OwedKind, key: string, job: () => Promise<void>) => void
  readonly owed: () => Readonly<Record<OwedKind, number>>
  /** Tries all that wait, once. */
  readonly turn: () => Promise<void>
  /** Tries once more, and tells of what is left. */
  readonly close: () => Promise<void>
}

const slowest = 20
/** Jobs that state does not take before the rest of a turn is left to the next. */
const mostFailures = 8

/** Runs jobs, one after the other, until each has succeeded once. */
export function createRetries({ onFault, onDropped, most = 10_000, firstMs = 250 }: RetriesOptions): Retries {
  const jobs = new Map<string, { readonly kind: OwedKind; readonly key: string; readonly job: () => Promise<void> }>()
  const counts = { orphan: 0, intent: 0, removal: 0 }
  let delayMs = firstMs
  let timer: NodeJS.Timeout | undefined
  let turning: Promise<void> | undefined
  let closed = false

  const all = async (): Promise<void> => {
    let failures = 0
    for (const [name, one] of [...jobs]) {
      try {
        await one.job()
        if (jobs.get(name) !== one) continue
        jobs.delete(name)
        counts[one.kind]--
      } catch (cause) {
        if (!(cause instanceof Unavailable)) {
          onFault(cause)
          continue
        }
        // Another part of state may take the others: those that could not be had come last the next time.
        if (jobs.get(name) === one) {
          jobs.delete(name)
          jobs.set(name, one)
        }
        if (++failures >= mostFailures) break
      }
    }
    delayMs = jobs.size === 0 ? firstMs : Math.min(delayMs * 2, firstMs * slowest)
  }
  const turn = (): Promise<void> => {
    turning ??= all().finally(() => {
      turning = undefined
      plan()
    })
    return turning
  }
  const plan = (): void => {
    if (closed || timer !== undefined || jobs.size === 0) return
    // Replicas that lost the same state do not come back to it in step.
    timer = setTimeout(
      () => {
        timer = undefined
        void turn()
      },
      delayMs * (0.75 + Math.random() / 2),
    )
    timer.unref()
  }

  return {
    add: (kind, key, job) => {
      const name = `${kind} ${key}`
      if (closed || (counts[kind] >= most && !jobs.has(name))) return onDropped(kind, key)
      if (!jobs.has(name)) counts[kind]++
      jobs.set(name, { kind, key, job })
      plan()
    },
    owed: () => ({ ...counts }),
    turn,
    close: async () => {
      await turning
      await all()
      closed = true
      clearTimeout(timer)
      for (const { kind, key } of jobs.values()) onDropped(kind, key)
      jobs.clear()
    },
  }
}
