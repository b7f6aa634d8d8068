import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Megabytes of a semi-space of V8's young generation. Node's own choice (16) takes more memory and longer pauses, and no less CPU:
 * docs/performance.md has the figures.
 */
const semiSpaceMb = 4

/**
 * Taken while the process runs: by how many percent the old generation may grow until it is collected. What HTTP/2 leaves there is
 * small, but holds much more outside of the heap, which V8 does not count.
 */
const growing = '--heap-growing-percent=60'

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
    const words = [execPath, `--max-semi-space-size=${semiSpaceMb}`, ...execArgv, ...argv.slice(1)]
    try {
      process.execve(execPath, words, { ...malloc, ...env })
    } catch {
      // Where that is not allowed, or not possible, the service takes more memory and is the same otherwise.
    }
  }
  setFlagsFromString(growing)
  collectAfterWork()
}

/** How often is looked whether there is work, in milliseconds. */
const lookEveryMs = 5000
/** The share of the time for which the event loop has something to do: above the one there is work, below the other there is none. */
const busy = 0.2
const quiet = 0.02

/**
 * What a time of much work leaves behind is collected when it is over, and its pages are given back: V8 would keep them until there
 * is more work. That takes a pause of a tenth of a second, once, when next to nothing is asked.
 */
function collectAfterWork(): void {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as (options: object) => void
  let last = performance.eventLoopUtilization()
  let due = false
  setInterval(() => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, last)
    last = now
    if (utilization > busy) due = true
    else if (due && utilization < quiet) {
      due = false
      collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
      last = performance.eventLoopUtilization()
    }
  }, lookEveryMs).unref()
}
