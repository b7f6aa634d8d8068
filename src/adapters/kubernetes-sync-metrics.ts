import { Registry } from 'prom-client'
import { CountByLabels, register } from './metrics-series.ts'

/** What a mirror of labels counts, and the page that shows it. Kinds of resource are few: they stand in the command line. */
export interface SyncMetrics {
  /** What became of an object: `created`, `changed`, `removed`, `unchanged`, `skipped`, `conflict`. */
  readonly change: (kind: string, outcome: string) => void
  readonly list: (kind: string, reason: string) => void
  /** A watch was begun. */
  readonly watch: (kind: string) => void
  /** A call, a write or a stream failed. */
  readonly fault: (where: string) => void
  /** The text format 0.0.4 of Prometheus. */
  readonly expose: () => Promise<string>
  readonly contentType: string
}

/** What is asked when the page is shown. */
export interface SyncSources {
  readonly leads: () => boolean
  /** By kind. */
  readonly kinds: () => Iterable<
    readonly [kind: string, { readonly records: number; readonly heardMs: number | undefined; readonly held: number }]
  >
}

export function createSyncMetrics(sources: SyncSources): SyncMetrics {
  const registry = new Registry()
  const changes = new CountByLabels(['resource', 'outcome'] as const)
  const lists = new CountByLabels(['resource', 'reason'] as const)
  const watches = new CountByLabels(['resource'] as const)
  const faults = new CountByLabels(['where'] as const)
  const gauge = (
    name: string,
    help: string,
    of: (kind: { records: number; heardMs: number | undefined; held: number }) => number | undefined,
  ) =>
    register(registry, 'gauge', name, help, () =>
      [...sources.kinds()].flatMap(([resource, kind]) => {
        const value = of(kind)
        return value === undefined ? [] : [{ value, labels: { resource } }]
      }),
    )
  register(registry, 'gauge', 'postern_sync_leader', '1 while this process mirrors, 0 while it stands by', () => [
    { value: sources.leads() ? 1 : 0, labels: {} },
  ])
  gauge('postern_sync_records', 'Records that mirror an object', ({ records }) => records)
  gauge('postern_sync_heard_seconds', 'Seconds since the API server was heard', ({ heardMs }) =>
    heardMs === undefined ? undefined : heardMs / 1000,
  )
  gauge('postern_sync_removals_held', 'Records that a list lacked and that were kept, as there were too many at once', ({ held }) => held)
  register(registry, 'counter', 'postern_sync_objects_total', 'Objects by what became of their records', () => changes.values())
  register(registry, 'counter', 'postern_sync_lists_total', 'Whole lists, by why they were needed', () => lists.values())
  register(registry, 'counter', 'postern_sync_watches_total', 'Watches that were begun', () => watches.values())
  register(registry, 'counter', 'postern_sync_faults_total', 'What failed: list, watch, lease, state, audit', () => faults.values())
  return {
    change: (kind, outcome) => changes.add(kind, outcome),
    list: (kind, reason) => lists.add(kind, reason),
    watch: (kind) => watches.add(kind),
    fault: (where) => faults.add(where),
    expose: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
