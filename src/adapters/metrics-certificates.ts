import type { Registry } from 'prom-client'
import { register, type Value } from './metrics-series.ts'

/** What is told of the certificates of one use. */
export interface CertificateMetric {
  /** What they are for, such as `listen.check`. */
  readonly use: string
  /** Milliseconds since the epoch; undefined where there is no own certificate. */
  readonly certificateExpires: number | undefined
  /** When the last of the authorities expires; undefined where the system's are trusted. */
  readonly authoritiesExpire: number | undefined
  /** Whether the files hold something that cannot be used. */
  readonly failed: boolean
  readonly reloads: { readonly success: number; readonly refused: number }
}

/** Registers when certificates expire, and whether they are renewed. */
export function registerCertificates(registry: Registry, source: () => readonly CertificateMetric[]): void {
  const expiries = (): Value[] =>
    source().flatMap(({ use, certificateExpires, authoritiesExpire }) => [
      ...(certificateExpires === undefined ? [] : [{ value: certificateExpires / 1000, labels: { use, part: 'cert' } }]),
      ...(authoritiesExpire === undefined ? [] : [{ value: authoritiesExpire / 1000, labels: { use, part: 'ca' } }]),
    ])
  // Of several processes the one that is furthest behind counts.
  const name = 'postern_certificate_expiry_timestamp_seconds'
  register(
    registry,
    'gauge',
    name,
    'When the certificate in use expires (part cert), and the last of its authorities (part ca)',
    expiries,
    'min',
  )
  register(
    registry,
    'gauge',
    'postern_certificate_reload_failed',
    'Whether the certificate files hold something that cannot be used, and the last good set is in use',
    () => source().map(({ use, failed }) => ({ value: failed ? 1 : 0, labels: { use } })),
    'max',
  )
  // Each process reads the files for itself.
  register(
    registry,
    'counter',
    'postern_certificate_reloads_total',
    'Changes of certificate files by what became of them',
    () =>
      source().flatMap(({ use, reloads }) => [
        { value: reloads.success, labels: { use, outcome: 'success' } },
        { value: reloads.refused, labels: { use, outcome: 'refused' } },
      ]),
    'first',
  )
}
