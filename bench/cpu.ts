import { readdirSync, readFileSync } from 'node:fs'

/** CPU time of some processes at one instant, by thread: `PID/TID` → nanoseconds. */
export type CpuTimes = ReadonlyMap<string, number>

/** A process and all that descend from it (workers). */
export function withDescendants(pids: readonly number[]): number[] {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    const parent = parentOf(pid)
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), pid])
  }
  const found = new Set<number>()
  const visit = (pid: number): void => {
    if (found.has(pid)) return
    found.add(pid)
    for (const child of children.get(pid) ?? []) visit(child)
  }
  for (const pid of pids) visit(pid)
  return [...found]
}

/**
 * What each thread has run for, in nanoseconds: the first number of /proc/PID/task/TID/schedstat (Linux,
 * Documentation/scheduler/sched-stats). User and system time together, without the rounding of clock ticks.
 */
export function cpuTimes(pids: readonly number[]): CpuTimes {
  const times = new Map<string, number>()
  for (const pid of pids) {
    for (const thread of list(`/proc/${pid}/task`)) {
      const nanoseconds = Number(text(`/proc/${pid}/task/${thread}/schedstat`)?.split(' ')[0])
      if (Number.isFinite(nanoseconds)) times.set(`${pid}/${thread}`, nanoseconds)
    }
  }
  return times
}

/**
 * Nanoseconds between two readings; a thread that came between counts whole, one that ended counts no further.
 * @param of these processes alone
 */
export function cpuBetween(before: CpuTimes, after: CpuTimes, of?: readonly number[]): number {
  let sum = 0
  for (const [thread, nanoseconds] of after) {
    if (of === undefined || of.includes(Number.parseInt(thread, 10))) sum += nanoseconds - (before.get(thread) ?? 0)
  }
  return sum
}

/** Resident memory of some processes, in bytes (VmRSS); pages that they share are counted in each. */
export function residentBytes(pids: readonly number[]): number {
  let sum = 0
  for (const pid of pids) sum += Number(/^VmRSS:\s+(\d+) kB$/m.exec(text(`/proc/${pid}/status`) ?? '')?.[1] ?? 0) * 1024
  return sum
}

/** The fourth field of /proc/PID/stat; the second may hold spaces and brackets. */
function parentOf(pid: number): number | undefined {
  const stat = text(`/proc/${pid}/stat`)
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return [] // it has ended
  }
}

function text(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
