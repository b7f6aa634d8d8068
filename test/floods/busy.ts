import { readFileSync } from 'node:fs'
import { cpuSeconds } from '../support/process-cost.ts'

/** What the main thread of a process did for some time. */
export interface Work {
  /** How long that time was. */
  readonly seconds: number
  /** The part of it in which it ran, which is its share of a core … */
  readonly ran: number
  /** … and the part in which it had something to do: it ran, or waited until other programs left it a core. */
  readonly busy: number
}

/** @returns gives what the process has done since then */
export function watchWork(pid: number): () => Work {
  const began = performance.now()
  const before = times(pid)
  return () => {
    const seconds = (performance.now() - began) / 1000
    const now = times(pid)
    const ran = (now.ran - before.ran) / seconds
    return { seconds, ran, busy: ran + (now.waited - before.waited) / seconds }
  }
}

/** Seconds for which the main thread of a process ran, and waited for a core. */
function times(pid: number): { readonly ran: number; readonly waited: number } {
  try {
    const [ran, waited] = readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ').map(Number)
    if (ran && waited !== undefined) return { ran: ran / 1e9, waited: waited / 1e9 }
  } catch {
    // A kernel that does not tell it.
  }
  return { ran: cpuSeconds(pid), waited: 0 }
}
