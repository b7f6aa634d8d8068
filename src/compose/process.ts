import { newFingerprintKey } from '../adapters/fingerprint.ts'
import { createIds } from '../adapters/ids.ts'
import { createLog, type Logger } from '../adapters/log.ts'
import { createMetrics, type MetricSources, type Metrics } from '../adapters/metrics.ts'
import { loginLimit } from '../admin/login.ts'
import type { Settings } from '../config/schema.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import { openCertificates } from './certificates.ts'
import { type Closing, createClosing } from './closing.ts'
import type { RealmHost } from './realm.ts'
import { unchangingOf, workersOf } from './workers-count.ts'
import { createCrew } from './workers-crew.ts'
import type { WorkerLink } from './workers-link.ts'
import type { WorkerCommand } from './workers-member.ts'

export interface ProcessNeeds {
  readonly version: string
  readonly started: Date
  /** Of any realm: what of them is read here is alike in all. */
  readonly settings: Settings
  readonly several: boolean
  readonly worker: WorkerCommand | undefined
  readonly link: WorkerLink | undefined
  readonly sources: MetricSources
}

/** What a process has once, however many realms it serves. */
export interface Process extends RealmHost {
  readonly log: Logger
  readonly metrics: Metrics
  readonly closing: Closing
  /** Of its listeners. */
  readonly certificates: CertificateLoader
  /** Notes a failure that stopped no request. */
  readonly onFault: (where: string) => (cause: unknown) => void
  /** Notes a secret that cannot be read again. */
  readonly onSecretFault: (detail: string) => void
  /** All listeners are open. */
  readonly listens: () => void
}

/** Opens what there is before any realm: log, metrics and, in a primary, the plan for its workers. */
export function openProcess({ version, started, settings, several, worker, link, sources }: ProcessNeeds): Process {
  const size = worker ? workersOf(settings) : 1
  const log = createLog({ level: settings.log.level, worker: link?.number, shared: link !== undefined || size > 1 })
  let listening = false
  const closing = createClosing({
    begins: () => {
      if (listening) log.info('draining')
    },
    ends: () => {
      if (listening) log.info('closed')
      log.flush()
    },
  })
  const metrics = createMetrics({ version, sources })
  closing.add(metrics.close)
  const certificates = openCertificates(log)
  closing.add(certificates.close)
  const fingerprintKey = link?.fingerprintKey() ?? newFingerprintKey()
  const crew =
    worker && size > 1 ? createCrew({ size, command: worker, unchanging: unchangingOf(settings, several), fingerprintKey, log }) : undefined
  return {
    version,
    started,
    log,
    metrics,
    closing,
    certificates,
    newId: createIds(),
    link,
    crew,
    fingerprintKey,
    logins: loginLimit(),
    listening: () => listening,
    draining: closing.begun,
    onFault: (where) => (cause) => {
      metrics.fault(where)
      log.error({ where, err: cause instanceof Error ? cause : String(cause) }, 'fault')
    },
    onSecretFault: (detail) => {
      metrics.fault('secret')
      log.warn({ detail }, 'a secret cannot be read again')
    },
    listens: () => {
      listening = true
    },
  }
}
