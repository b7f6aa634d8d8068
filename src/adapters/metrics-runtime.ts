import { readdirSync } from 'node:fs'
import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks'
import type { Registry } from 'prom-client'
import { type Across, Durations, register } from './metrics-series.ts'

/** Milliseconds between looks at the event loop: each look costs about a microsecond. */
const lookEveryMs = 20
const delayBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
const pauseBounds = [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 1]

const gcKinds: ReadonlyMap<unknown, string> = new Map([
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weakcb'],
])

/**
 * Registers what tells how the process itself is doing: processor time, memory and open files under the names that
 * all clients of Prometheus use, and what makes a check wait that no stage shows: the delay of the event loop and the
 * pauses of the garbage collector. Both are histograms, so that they add up over processes and time, and no
 * scrape resets them for another.
 * @returns how to end the measuring
 */
export function createRuntimeMetrics(registry: Registry): { readonly close: () => void } {
  registerProcess(registry)
  const delays = new Durations(delayBounds)
  const delayName = 'postern_event_loop_delay_seconds'
  register(registry, 'histogram', delayName, 'How late timers of 20 ms were', () => delays.values(delayName, {}))
  let due = performance.now() + lookEveryMs
  const look = setInterval(() => {
    const now = performance.now()
    delays.observe(Math.max(0, now - due) / 1000)
    due = now + lookEveryMs
  }, lookEveryMs)
  look.unref()

  const pauses = new Map([...gcKinds.values()].map((kind) => [kind, new Durations(pauseBounds)]))
  const pauseName = 'postern_gc_pause_seconds'
  register(registry, 'histogram', pauseName, 'Pauses for garbage collection', () =>
    [...pauses].flatMap(([kind, durations]) => durations.values(pauseName, { kind })),
  )
  const collections = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) pauses.get(kindOf(entry))?.observe(entry.duration / 1000)
  })
  collections.observe({ entryTypes: ['gc'] })
  return {
    close: () => {
      clearInterval(look)
      collections.disconnect()
    },
  }
}

/** Entries of garbage collections have a `detail` (https://nodejs.org/api/perf_hooks.html#garbage-collection-gc-details). */
const kindOf = (entry: PerformanceEntry & { readonly detail?: { readonly kind?: number } }): string => gcKinds.get(entry.detail?.kind) ?? ''

function registerProcess(registry: Registry): void {
  const one = (type: 'counter' | 'gauge', name: string, help: string, value: () => number | undefined, across?: Across): void => {
    const values = (): { value: number; labels: object }[] => {
      const now = value()
      return now === undefined ? [] : [{ value: now, labels: {} }]
    }
    register(registry, type, name, help, values, across)
  }
  const started = Date.now() / 1000 - process.uptime()
  const cpu = (kind: 'user' | 'system'): number => process.cpuUsage()[kind] / 1e6
  one('counter', 'process_cpu_user_seconds_total', 'User CPU time', () => cpu('user'))
  one('counter', 'process_cpu_system_seconds_total', 'System CPU time', () => cpu('system'))
  one('counter', 'process_cpu_seconds_total', 'User and system CPU time', () => cpu('user') + cpu('system'))
  one('gauge', 'process_start_time_seconds', 'Start of the process since the epoch', () => started, 'first')
  one('gauge', 'process_resident_memory_bytes', 'Resident memory', () => process.memoryUsage.rss())
  one('gauge', 'process_open_fds', 'Open file descriptors', openFiles)
  one('gauge', 'nodejs_heap_size_total_bytes', 'Heap that V8 has taken', () => process.memoryUsage().heapTotal)
  one('gauge', 'nodejs_heap_size_used_bytes', 'Heap in use', () => process.memoryUsage().heapUsed)
  one('gauge', 'nodejs_external_memory_bytes', 'Memory of buffers and other objects outside the heap', () => process.memoryUsage().external)
  const [major = '', minor = '', patch = ''] = process.versions.node.split('.')
  const labels = { version: process.version, major, minor, patch }
  register(registry, 'gauge', 'nodejs_version_info', 'The version of Node.js', () => [{ value: 1, labels }], 'first')
}

/** undefined where the system does not tell. */
function openFiles(): number | undefined {
  try {
    // Less the one of the folder itself.
    return readdirSync('/proc/self/fd').length - 1
  } catch {
    return undefined
  }
}
