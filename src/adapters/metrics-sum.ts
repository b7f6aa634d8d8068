import { type MetricObjectWithValues, Registry } from 'prom-client'
import { type Across, register, type Value } from './metrics-series.ts'

/** One metric with its values at one moment. */
interface MetricNow {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  /** How those of several processes become one. */
  readonly across: Across
  readonly values: readonly Value[]
}

/** All metrics of a process at one moment, as plain data that travels between processes. */
export type MetricsSnapshot = readonly MetricNow[]

/** Reads all metrics of a registry. */
export async function snapshotOf(registry: Registry): Promise<MetricsSnapshot> {
  const metrics = (await registry.getMetricsAsJSON()) as readonly (MetricObjectWithValues<Value> & { readonly aggregator: Across })[]
  return metrics.map(({ name, help, type, aggregator, values }) => ({
    name,
    help,
    type: type as unknown as MetricNow['type'],
    across: aggregator,
    values,
  }))
}

const combine: Readonly<Record<Across, (a: number, b: number) => number>> = {
  sum: (a, b) => a + b,
  min: Math.min,
  max: Math.max,
  first: (a) => a,
}

const seriesOf = (value: Value & { readonly metricName?: string }): string => JSON.stringify([value.metricName, value.labels])

/** The metrics of several processes as one; what is there once counts for all stands in the first list that has it. */
export function sumOf(snapshots: readonly MetricsSnapshot[]): MetricsSnapshot {
  const metrics = new Map<string, MetricNow & { readonly values: Value[] }>()
  const series = new Map<string, Map<string, Value>>()
  for (const metric of snapshots.flat()) {
    let into = metrics.get(metric.name)
    if (!into) {
      into = { ...metric, values: [] }
      metrics.set(metric.name, into)
      series.set(metric.name, new Map())
    }
    const known = series.get(metric.name)!
    for (const value of metric.values) {
      const key = seriesOf(value)
      const before = known.get(key)
      if (before) before.value = combine[into.across](before.value, value.value)
      else {
        const copy = { ...value }
        known.set(key, copy)
        into.values.push(copy)
      }
    }
  }
  return [...metrics.values()]
}

/** What only ever grows: for a process that can no longer be asked. */
export const countersOf = (snapshot: MetricsSnapshot): MetricsSnapshot => snapshot.filter(({ type }) => type !== 'gauge')

/** The sum of several snapshots in the text format 0.0.4 of Prometheus. */
export function pageOf(snapshots: readonly MetricsSnapshot[]): Promise<string> {
  const registry = new Registry()
  for (const { type, name, help, values } of sumOf(snapshots)) register(registry, type, name, help, () => values)
  return registry.metrics()
}
