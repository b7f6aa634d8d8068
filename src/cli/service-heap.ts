import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Megabytes of a semi-space of V8's young generation. Node's own choice (16) takes more memory and longer pauses, and no less CPU:
 * docs/performance.md has the figures.
 */
const semiSpaceMb = 4

/**
 * Leaves out the middle one of V8's compilers: what is hot gets the last one soon after, and the memory that it takes while calls
 * come in would stay with the process, in holes that libc does not give back.
 */
const compilers = '--no-maglev'

/**
 * What the old generation may gather until it is collected, in bytes. What HTTP/2 leaves there is small, but holds more outside of the
 * heap, which V8 does not count: for each header of a call a string, and what it needs in libc.
 */
const garbage = 12e6

/** glibc keeps memory for each thread apart, and what has been freed for itself; most of it would never be used again. */
const malloc = { MALLOC_ARENA_MAX: '1', MALLOC_TRIM_THRESHOLD_: '65536' }

/**
 * Gives the process the heap that a service wants. What V8 and libc take only when they start makes the process begin anew, in the same
 * place (execve: the process id stays, and nothing has been opened yet). What the operator chose, by flag or environment, stays.
 */
export function useServiceHeap(): void {
  const { env, execArgv, execPath, argv } = process
  const semiSpaceChosen = [...execArgv, env['NODE_OPTIONS'] ?? ''].some((text) => /semi[-_]space/.test(text))
  // A process with a channel to its parent would lose it; a worker has its flags from the primary.
  if (!semiSpaceChosen && process.send === undefined && process.execve !== undefined) {
    const words = [execPath, `--max-semi-space-size=${semiSpaceMb}`, compilers, ...execArgv, ...argv.slice(1)]
    try {
      process.execve(execPath, words, { ...malloc, ...env })
    } catch {
      // Where that is not allowed, or not possible, the service takes more memory and is the same otherwise.
    }
  }
  growBy(40)
  watchWork()
}

/** V8 takes it in percent of what is in use, and while the process runs. */
const growBy = (percent: number): void => setFlagsFromString(`--heap-growing-percent=${Math.round(percent)}`)
const leastPercent = 20
const mostPercent = 60

/** How often is looked whether there is work, in milliseconds. */
const lookEveryMs = 1000
/** The share of the time for which the event loop has something to do: above the one there is work, below the other there is none. */
const busy = 0.2
const quiet = 0.02
/** Looks without work, one after the other, after which it is over: a minute. */
const quietLooks = 60

/**
 * What a time of much work leaves behind is collected when it is over, and its pages are given back: V8 would keep them until there
 * is more work. That takes a pause of a tenth of a second, once, when next to nothing is asked. V8 also lets go of the code that it
 * had optimised for objects of which none is left, and the next 50,000 checks or so cost more until it has made it again: so the
 * service waits for a minute, rather than for a gap between two bursts.
 */
function watchWork(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as (options: object) => void
  let last = performance.eventLoopUtilization()
  /** Looks without work since there was some; undefined where all has been collected. */
  let looks: number | undefined
  setInterval(() => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, last)
    last = now
    growBy(Math.min(mostPercent, Math.max(leastPercent, (garbage / getHeapStatistics().used_heap_size) * 100)))
    if (utilization > busy) looks = 0
    else if (looks !== undefined) looks = utilization < quiet ? looks + 1 : 0
    if (looks !== quietLooks) return
    looks = undefined
    collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
    last = performance.eventLoopUtilization()
  }, lookEveryMs).unref()
}
