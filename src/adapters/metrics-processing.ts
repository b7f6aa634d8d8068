import type { Registry } from 'prom-client'
import { captureOutcomes, filterOutcomes, owedKinds, type ProcessingCounts, releaseOutcomes } from '../check/processor-needs.ts'
import { CountByLabel, register } from './metrics-series.ts'

/** Registers what ext_proc counts. @param owed what waits for state, by its kind; undefined where there is no ext_proc */
export function registerProcessing(registry: Registry, owed: () => Readonly<Record<string, number>> | undefined): ProcessingCounts {
  const captures = new CountByLabel('outcome', captureOutcomes)
  const releases = new CountByLabel('outcome', releaseOutcomes)
  const lists = new CountByLabel('outcome', filterOutcomes)
  const items = { kept: 0, dropped: 0 }
  register(registry, 'counter', 'postern_captures_total', 'Creates on capture routes by what became of them', () => captures.values())
  register(registry, 'counter', 'postern_releases_total', 'Removals of resources by what became of them', () => releases.values())
  register(registry, 'counter', 'postern_filtered_lists_total', 'Lists of filter routes by what became of them', () => lists.values())
  register(registry, 'counter', 'postern_filtered_items_total', 'Items of filtered lists by what became of them', () =>
    Object.entries(items).map(([outcome, value]) => ({ value, labels: { outcome } })),
  )
  const waiting = 'What ext_proc has to write, and state has not taken yet, by its kind'
  register(registry, 'gauge', 'postern_processing_owed', waiting, () => {
    const now = owed()
    return owedKinds.flatMap((kind) => (now === undefined ? [] : [{ value: now[kind] ?? 0, labels: { kind } }]))
  })
  return {
    captured: (outcome) => captures.add(outcome),
    released: (outcome) => releases.add(outcome),
    filtered: (outcome) => lists.add(outcome),
    items: (kept, dropped) => {
      items.kept += kept
      items.dropped += dropped
    },
  }
}
