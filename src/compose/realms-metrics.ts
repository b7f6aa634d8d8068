import type { Metrics } from '../adapters/metrics.ts'
import { type MetricsSnapshot, pageOf, sumOf } from '../adapters/metrics-sum.ts'
import type { Crew } from './workers-crew.ts'
import { metricsOfAll } from './workers-metrics.ts'

/** What each realm counts, by its name. */
export type Counts = ReadonlyMap<string, { readonly metrics: Pick<Metrics, 'snapshot'> }>

/** Of the process: those of a realm say nothing of them. */
const ofProcess = new Set([
  'postern_build_info',
  'postern_in_flight',
  'postern_overloaded_total',
  'postern_undecodable_total',
  'postern_workers',
  'postern_worker_restarts_total',
  'postern_worker_silences_total',
])

/** The metrics of a realm as those of the process have them: with the label `realm`. */
export const labelled = (snapshot: MetricsSnapshot, realm: string): MetricsSnapshot =>
  snapshot
    .filter(({ name }) => !ofProcess.has(name))
    .map((metric) => ({ ...metric, values: metric.values.map((value) => ({ ...value, labels: { ...value.labels, realm } })) }))

/** What of all metrics is of one realm. */
export const onlyOf =
  (realm: string) =>
  (snapshot: MetricsSnapshot): MetricsSnapshot =>
    snapshot.map((metric) => ({ ...metric, values: metric.values.filter(({ labels }) => labels['realm'] === realm) }))

/** The metrics of a process that serves several realms. */
export interface RealmsMetrics {
  /** Of all, on one page. */
  readonly all: Metrics
  /** Of one realm, whose page shows nothing of the others. */
  readonly of: (realm: string, own: Metrics) => Metrics
}

/** @param own of the process itself; @param crew its workers */
export function metricsOfRealms(own: Metrics, realms: Counts, crew: Pick<Crew, 'members'> | undefined): RealmsMetrics {
  const snapshot = async (): Promise<MetricsSnapshot> => {
    const each = [...realms].map(async ([realm, { metrics }]) => labelled(await metrics.snapshot(), realm))
    return sumOf([await own.snapshot(), ...(await Promise.all(each))])
  }
  const here = { ...own, snapshot }
  const all = crew ? metricsOfAll(here, crew) : { ...here, expose: async () => pageOf([await snapshot()]) }
  return {
    all,
    of: (realm, metrics) => {
      const only = onlyOf(realm)
      const expose = crew ? metricsOfAll(here, crew, only).expose : async () => pageOf([only(await snapshot())])
      return { ...metrics, expose }
    },
  }
}
