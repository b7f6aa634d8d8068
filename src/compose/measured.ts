import type { MetricSources } from '../adapters/metrics.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import type { State } from '../core/ports.ts'
import type { CountingHandler } from '../wire/check-handler.ts'
import type { AuditParts } from './audit.ts'
import type { Broker } from './broker.ts'
import { certificateMetrics } from './certificates.ts'
import type { Processing } from './processing.ts'
import { breakersOf, type Rulings } from './rulings.ts'
import type { Crew } from './workers-crew.ts'

/** What metrics are read from when somebody scrapes; filled in as the service is put together. */
export interface Measured {
  state?: State
  audit?: Pick<AuditParts, 'metrics'>
  certificates?: Pick<CertificateLoader, 'states'>
  rulings?: Rulings
  handler?: CountingHandler
  processing?: Pick<Processing, 'owed'> | undefined
  broker?: Pick<Broker, 'activeAgents'> | undefined
  /** undefined where one process does everything. */
  crew?: Crew | undefined
}

/**
 * What metrics ask for at each scrape; a part that is not there yet counts as nothing.
 * @param isWorker whether this process is one of several, which its primary counts
 */
export const metricSources = (parts: Measured, isWorker: boolean): MetricSources => ({
  caches: () => {
    if (!parts.rulings) return {}
    const { owners, tokens } = parts.rulings
    const { hits, misses, size } = tokens.stats()
    return { owner: { hits: owners.hits(), misses: owners.misses(), size: owners.size() }, token: { hits, misses, size } }
  },
  breakers: () => (parts.rulings ? breakersOf(parts.rulings) : {}),
  feedAgeMs: () => (parts.state ? performance.now() - parts.state.feed.heardAt() : 0),
  apiKeys: () => parts.rulings?.apiKeys()?.size(),
  activeAgents: () => parts.broker?.activeAgents(),
  owed: () => parts.processing?.owed(),
  audit: () => parts.audit?.metrics(),
  certificates: () => (parts.certificates ? certificateMetrics(parts.certificates.states()) : []),
  stateUp: () => parts.state?.fault() === undefined,
  inFlight: () => parts.handler?.inFlight() ?? 0,
  workers: () => (isWorker ? undefined : (parts.crew?.counts() ?? { alive: 1, restarts: 0 })),
})
