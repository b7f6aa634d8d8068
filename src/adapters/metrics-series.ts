import type { MetricObjectWithValues, MetricValue, MetricValueWithName, Registry } from 'prom-client'

type Labels = Readonly<Record<string, string>>
export type Value = MetricValue<string>

/** How the values of several worker processes become one; `first` is that of the primary. */
export type Across = 'sum' | 'min' | 'max' | 'first'

/**
 * Hands a registry a metric whose values are kept elsewhere and read when it is scraped. prom-client asks a
 * metric for no more than `name` and `get()`; its own counters build a key from the labels at each count,
 * which costs more than a whole check may.
 */
export function register(
  registry: Registry,
  type: 'counter' | 'gauge' | 'histogram',
  name: string,
  help: string,
  values: () => readonly Value[],
  across: Across = 'sum',
): void {
  const get = async (): Promise<MetricObjectWithValues<Value>> =>
    ({ name, help, type, aggregator: across, values: [...values()] }) as unknown as MetricObjectWithValues<Value>
  registry.registerMetric({ name, get } as unknown as Parameters<Registry['registerMetric']>[0])
}

/**
 * A counter by one label whose values are not known beforehand, bounded: what comes after `most` values is
 * counted under `other`.
 */
export class CountByLabel {
  readonly #label: string
  readonly #most: number
  readonly #counts = new Map<string, number>()

  constructor(label: string, known: readonly string[] = [], most = 100) {
    this.#label = label
    this.#most = most
    for (const value of known) this.#counts.set(value, 0)
  }

  add(value: string): void {
    const key = this.#counts.has(value) || this.#counts.size < this.#most ? value : 'other'
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1)
  }

  values(): Value[] {
    return [...this.#counts].map(([value, count]) => ({ value: count, labels: { [this.#label]: value } }))
  }
}

/** A counter by several labels, bounded: what comes after `most` combinations is counted under `other` in each. */
export class CountByLabels<Name extends string> {
  readonly #labels: readonly Name[]
  readonly #most: number
  readonly #counts = new Map<string, { value: number; readonly labels: Record<string, string> }>()

  constructor(labels: readonly Name[], most = 200) {
    this.#labels = labels
    this.#most = most
  }

  add(...values: string[]): void {
    const key = values.join('\n')
    const known = this.#counts.get(key)
    if (known) known.value++
    else if (this.#counts.size < this.#most) this.#make(key, values)
    else {
      const other =
        this.#counts.get('') ??
        this.#make(
          '',
          this.#labels.map(() => 'other'),
          0,
        )
      other.value++
    }
  }

  #make(key: string, values: readonly string[], value = 1): { value: number } {
    const made = { value, labels: Object.fromEntries(this.#labels.map((label, i) => [label, values[i] ?? ''])) }
    this.#counts.set(key, made)
    return made
  }

  values(): Value[] {
    return [...this.#counts.values()].map(({ value, labels }) => ({ value, labels }))
  }
}

/** A histogram of seconds in a typed array. */
export class Durations {
  readonly #bounds: readonly number[]
  readonly #counts: Float64Array
  #sum = 0

  /** @param bounds upper bounds in seconds, ascending */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Float64Array(bounds.length + 1)
  }

  /** @param weight how many observations this one stands for */
  observe(seconds: number, weight = 1): void {
    const bounds = this.#bounds
    let i = 0
    while (i < bounds.length && seconds > bounds[i]!) i++
    this.#counts[i]! += weight
    this.#sum += seconds * weight
  }

  /** The lines of this histogram under `name`, with these labels. */
  values(name: string, labels: Labels): Value[] {
    const out: MetricValueWithName<string>[] = []
    let total = 0
    for (const [i, bound] of this.#bounds.entries()) {
      total += this.#counts[i]!
      out.push({ metricName: `${name}_bucket`, value: total, labels: { ...labels, le: String(bound) } })
    }
    total += this.#counts[this.#bounds.length]!
    out.push({ metricName: `${name}_bucket`, value: total, labels: { ...labels, le: '+Inf' } })
    out.push({ metricName: `${name}_sum`, value: this.#sum, labels })
    out.push({ metricName: `${name}_count`, value: total, labels })
    return out
  }
}
