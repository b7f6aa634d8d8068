import { Registry } from 'prom-client'
import type { ProcessingCounts } from '../check/processor-needs.ts'
import { revocationLevels } from '../core/ports.ts'
import type { DenyReason } from '../core/reasons.ts'
import { type AuditMetrics, registerAudit } from './metrics-audit.ts'
import { type CertificateMetric, registerCertificates } from './metrics-certificates.ts'
import { type CheckMetrics, createCheckMetrics } from './metrics-checks.ts'
import { registerProcessing } from './metrics-processing.ts'
import { createRuntimeMetrics } from './metrics-runtime.ts'
import { type Across, CountByLabel, CountByLabels, Durations, register, type Value } from './metrics-series.ts'
import { type MetricsSnapshot, snapshotOf } from './metrics-sum.ts'
import type { BreakerState } from './sts-breaker.ts'

/** What is asked of other parts when metrics are scraped; each may be absent. */
export interface MetricSources {
  /** By name (`owner`, `token`): totals since the start, and how many entries there are now. */
  readonly caches?: () => Readonly<Record<string, { readonly hits: number; readonly misses: number; readonly size?: number }>>
  /** By name under `sts`. */
  readonly breakers?: () => Readonly<Record<string, BreakerState>>
  /** Milliseconds since the change feed was heard; Infinity or 0 where nobody else can change state. */
  readonly feedAgeMs?: () => number
  readonly stateUp?: () => boolean
  /** What ext_proc owes to state, by its kind; undefined where there is none. */
  readonly owed?: () => Readonly<Record<string, number>> | undefined
  /** undefined until the audit trail is open. */
  readonly audit?: () => AuditMetrics | undefined
  /** Of this process; none where nothing speaks TLS. */
  readonly certificates?: () => readonly CertificateMetric[]
  /** Known here; undefined where no validator admits any. */
  readonly apiKeys?: () => number | undefined
  /** Registered, and heard of in time, when it was counted last; undefined where there is no broker. */
  readonly activeAgents?: () => number | undefined
  /** Checks between request and answer now. */
  readonly inFlight?: () => number
  /** Processes that answer checks, and how often one was replaced; undefined in a process that is one of several. */
  readonly workers?: () => { readonly alive: number; readonly restarts: number } | undefined
}

/** Everything that is counted, and the page that shows it. */
export interface Metrics extends CheckMetrics {
  /** What ext_proc captures, removes and filters. */
  readonly processing: ProcessingCounts
  /** A policy was taken into force. */
  readonly policyInForce: (realm: string, revision: string, routeIds: readonly string[]) => void
  readonly reloaded: (outcome: 'success' | 'refused') => void
  /** `action:resource:identifier` scopes; only action and resource become a label. */
  readonly tokenIssued: (scopes: readonly string[]) => void
  readonly tokenRevoked: (level: string) => void
  readonly adminAuth: (status: 'success' | 'denied' | 'limited') => void
  /** An agent asked to be let in. */
  readonly registration: (status: 'success' | 'failure') => void
  readonly launchTokenCreated: () => void
  /** A token or a nonce was refused by its times alone. */
  readonly clockSkew: () => void
  /** A validator rejected a credential; `validator` is empty where all abstained. */
  readonly rejection: (validator: string, reason: DenyReason) => void
  /** An HTTP request to the admin or issuer listener; `endpoint` is a template, never a path. */
  readonly request: (endpoint: string, seconds: number) => void
  /** A check was turned away before it was decoded. */
  readonly overloaded: () => void
  readonly undecodable: () => void
  /** An observer or a background job failed. */
  readonly fault: (where: string) => void
  /** A worker did not tell its metrics in time. */
  readonly workerSilent: () => void
  /** All of them now, for the process that shows them. */
  readonly snapshot: () => Promise<MetricsSnapshot>
  /** The text format 0.0.4 of Prometheus. */
  readonly expose: () => Promise<string>
  readonly contentType: string
  /** Ends what is measured by the clock. */
  readonly close: () => void
}

const httpBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]
const mostEndpoints = 60

/** The label of a scope: `invoke:sandbox:s1` and `invoke:sandbox:*` are `invoke:sandbox`. */
export const scopeLabel = (scope: string): string => scope.split(':', 2).join(':').slice(0, 64)

export interface MetricsOptions {
  readonly version: string
  readonly sources?: MetricSources
  /** Metrics of the process and of Node.js; left out by tests. */
  readonly processMetrics?: boolean
}

export function createMetrics(options: MetricsOptions): Metrics {
  const registry = new Registry()
  const runtime = (options.processMetrics ?? true) ? createRuntimeMetrics(registry) : undefined
  const sources = options.sources ?? {}
  const checks = createCheckMetrics(registry)

  const counter = (name: string, help: string, values: () => readonly Value[], across?: Across): void =>
    register(registry, 'counter', name, help, values, across)
  const gauge = (name: string, help: string, values: () => readonly Value[], across?: Across): void =>
    register(registry, 'gauge', name, help, values, across)
  const single = (value: number | undefined): Value[] => (value === undefined ? [] : [{ value, labels: {} }])

  const reloads = new CountByLabel('outcome', ['success', 'refused'])
  const issued = new CountByLabel('scope')
  const revoked = new CountByLabel('level', [...revocationLevels, 'key'])
  const logins = new CountByLabel('status', ['success', 'denied', 'limited'])
  const registrations = new CountByLabel('status', ['success', 'failure'])
  const faults = new CountByLabel('where')
  const rejections = new CountByLabels(['validator', 'reason'])
  const endpoints = new Map<string, Durations>()
  const policies = new Map<string, string>()
  let launches = 0
  let skews = 0
  let overloads = 0
  let undecodables = 0
  let silences = 0

  gauge('postern_build_info', 'The version that runs', () => [{ value: 1, labels: { version: options.version } }], 'first')
  gauge(
    'postern_policy_info',
    'The revision of the policy in force',
    () => [...policies].map(([realm, revision]) => ({ value: 1, labels: { realm, revision } })),
    'max',
  )
  // Each process reads the policy for itself: what counts is what the primary made of it.
  counter('postern_policy_reloads_total', 'Changed policy files by what became of them', () => reloads.values(), 'first')
  gauge('postern_workers', 'Processes that answer checks', () => single(sources.workers?.()?.alive), 'first')
  counter('postern_worker_restarts_total', 'Workers that ended and were replaced', () => single(sources.workers?.()?.restarts), 'first')
  counter('postern_worker_silences_total', 'Scrapes that a worker did not answer in time', () => single(silences))
  counter('postern_tokens_issued_total', 'Tokens minted, by action and resource of their scopes', () => issued.values())
  counter('postern_tokens_revoked_total', 'Revocations by level', () => revoked.values())
  counter('postern_admin_auth_total', 'Admin logins by what became of them', () => logins.values())
  counter('postern_registrations_total', 'Attempts of agents to be let in', () => registrations.values())
  counter('postern_launch_tokens_created_total', 'Launch tokens made', () => single(launches))
  counter('postern_clock_skew_total', 'Tokens and challenges refused by the broker whose times alone were wrong', () => single(skews))
  counter('postern_rejections_total', 'Credentials that a validator rejected, by its name and reason; no name: none admitted it', () =>
    rejections.values(),
  )
  counter('postern_faults_total', 'Failures that stopped no request, by where', () => faults.values())
  counter('postern_overloaded_total', 'Checks turned away because too many were in flight, or they had waited too long', () =>
    single(overloads),
  )
  counter('postern_undecodable_total', 'Messages to the check port that were no CheckRequest', () => single(undecodables))
  gauge('postern_in_flight', 'Checks between request and answer', () => single(sources.inFlight?.()))
  gauge('postern_state_up', 'Whether state answers', () => single(sources.stateUp && (sources.stateUp() ? 1 : 0)), 'min')
  const apiKeys = 'API keys known here, revoked and expired ones of the last 90 days among them'
  gauge('postern_api_keys', apiKeys, () => single(sources.apiKeys?.()), 'max')
  gauge('postern_active_agents', 'Agents registered, and heard of in time', () => single(sources.activeAgents?.()), 'first')
  const feedAge = (): Value[] => {
    const age = sources.feedAgeMs?.()
    return single(age === undefined ? undefined : Number.isFinite(age) ? Math.max(0, age) / 1000 : 0)
  }
  gauge('postern_feed_age_seconds', 'Time since the change feed was heard', feedAge, 'max')
  const breakers = (): Value[] =>
    Object.entries(sources.breakers?.() ?? {}).map(([sts, state]) => ({
      value: state === 'open' ? 1 : state === 'closed' ? 0 : 0.5,
      labels: { sts },
    }))
  gauge('postern_breaker_open', 'Whether the breaker of a token service is open (1), half open (0.5) or closed (0)', breakers, 'max')
  counter('postern_cache_lookups_total', 'Look-ups in near caches', () =>
    Object.entries(sources.caches?.() ?? {}).flatMap(([cache, { hits, misses }]) => [
      { value: hits, labels: { cache, result: 'hit' } },
      { value: misses, labels: { cache, result: 'miss' } },
    ]),
  )
  gauge('postern_cache_entries', 'Entries in near caches', () =>
    Object.entries(sources.caches?.() ?? {}).flatMap(([cache, { size }]) =>
      size === undefined ? [] : [{ value: size, labels: { cache } }],
    ),
  )
  registerAudit(registry, () => sources.audit?.())
  registerCertificates(registry, () => sources.certificates?.() ?? [])
  const processing = registerProcessing(registry, () => sources.owed?.())
  const requestName = 'postern_request_duration_seconds'
  register(registry, 'histogram', requestName, 'Requests to the admin and issuer listeners', () =>
    [...endpoints].flatMap(([endpoint, durations]) => durations.values(requestName, { endpoint })),
  )

  return {
    ...checks,
    processing,
    policyInForce: (realm, revision, routeIds) => {
      policies.set(realm, revision)
      checks.keepRoutes(routeIds)
    },
    reloaded: (outcome) => reloads.add(outcome),
    tokenIssued: (scopes) => {
      if (scopes.length === 0) issued.add('')
      for (const label of new Set(scopes.map(scopeLabel))) issued.add(label)
    },
    tokenRevoked: (level) => revoked.add(level),
    adminAuth: (status) => logins.add(status),
    registration: (status) => registrations.add(status),
    launchTokenCreated: () => void launches++,
    clockSkew: () => void skews++,
    rejection: (validator, reason) => rejections.add(validator, reason),
    request: (endpoint, seconds) => {
      const key = endpoints.has(endpoint) || endpoints.size < mostEndpoints ? endpoint : 'other'
      const durations = endpoints.get(key) ?? new Durations(httpBounds)
      endpoints.set(key, durations)
      durations.observe(seconds)
    },
    overloaded: () => void overloads++,
    undecodable: () => void undecodables++,
    fault: (where) => faults.add(where),
    workerSilent: () => void silences++,
    snapshot: () => snapshotOf(registry),
    expose: () => registry.metrics(),
    contentType: registry.contentType,
    close: () => runtime?.close(),
  }
}
