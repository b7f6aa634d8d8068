import type { Registry } from 'prom-client'
import type { AuditHead } from '../core/audit-log.ts'
import { register, type Value } from './metrics-series.ts'

/** What is told of the audit trail. */
export interface AuditMetrics {
  /** The last durable link of each chain that this process writes. */
  readonly heads: readonly AuditHead[]
  /** The same as it was a while ago: its hash is a label, and must not change with each scrape. */
  readonly anchors: readonly AuditHead[]
  /** Events that were in state at the start; undefined until state told, and in a process that is one of several. */
  readonly loaded: number | undefined
}

/** Registers the anchors of the audit trail: who keeps them finds a trail that was written anew. */
export function registerAudit(registry: Registry, source: () => AuditMetrics | undefined): void {
  const gauge = (name: string, help: string, values: (told: AuditMetrics) => readonly Value[], across?: 'first'): void =>
    register(
      registry,
      'gauge',
      name,
      help,
      () => {
        const told = source()
        return told ? values(told) : []
      },
      across,
    )
  gauge(
    'postern_audit_events_loaded',
    'Audit events found in state at the start',
    ({ loaded }) => (loaded === undefined ? [] : [{ value: loaded, labels: {} }]),
    'first',
  )
  gauge('postern_audit_head_seq', 'The last durable link of each chain of the audit trail that is written', ({ heads }) =>
    heads.map(({ log, boot, seq }) => ({ value: seq, labels: { log, boot } })),
  )
  gauge('postern_audit_head_info', 'An anchor of each chain of the audit trail that is written, taken every ten minutes', ({ anchors }) =>
    anchors.map(({ log, boot, seq, hash }) => ({ value: 1, labels: { log, boot, seq: String(seq), hash } })),
  )
}
