import type { Jwks } from '../adapters/jwks.ts'
import type { Condition, StatusReport } from '../admin/status.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import { feedTrustMs } from '../core/ports.ts'
import { certificateConditions } from './certificates.ts'
import { durabilityCondition, durabilityOf, type OpenedState } from './durability.ts'
import type { InForce } from './in-force.ts'
import type { IssuerParts } from './issuer.ts'
import { owedCondition, type Processing } from './processing.ts'
import { breakersOf, type Rulings } from './rulings.ts'
import type { Crew } from './workers-crew.ts'

export interface StatusNeeds {
  readonly version: string
  readonly started: Date
  readonly state: OpenedState
  readonly issuer: IssuerParts | undefined
  readonly rulings: Rulings
  readonly certificates: Pick<CertificateLoader, 'states'>
  /** Keys that the token service looks up: of those whose tokens are exchanged or swapped. */
  readonly exchanged: () => readonly Jwks[]
  readonly inForce: InForce
  readonly crew: Crew | undefined
  /** undefined where `listen.ext_proc` is not set. */
  readonly processing: Pick<Processing, 'owed'> | undefined
  readonly ready: () => boolean
}

/** Puts together what `/status` tells. */
export function statusOf(needs: StatusNeeds): StatusReport {
  const { state, rulings, inForce } = needs
  const { settings, revision, warnings, policy } = inForce.loaded()
  const fault = state.fault()
  const age = performance.now() - state.feed.heardAt()
  const reloadFault = inForce.reloadFault()
  const apiKeys = rulings.apiKeys()
  return {
    version: needs.version,
    realm: settings.realm,
    revision,
    since: inForce.since().toISOString(),
    started: needs.started.toISOString(),
    uptime_seconds: Math.floor((Date.now() - needs.started.getTime()) / 1000),
    ready: needs.ready(),
    conditions: conditions(needs),
    state: { kind: state.kind, up: fault === undefined, ...(fault === undefined ? {} : { fault }), durability: durabilityOf(state) },
    feed: { age_ms: Number.isFinite(age) ? Math.round(age) : null, trusted: age <= feedTrustMs },
    keys: needs.issuer?.ring()?.list() ?? [],
    ...(apiKeys ? { api_keys: { known: apiKeys.size(), trusted: apiKeys.trusted() } } : {}),
    ...(needs.crew ? { workers: needs.crew.status(settings.realm) } : {}),
    breakers: breakersOf(rulings),
    unenforced: policy.routes.routes.filter(({ enforce }) => !enforce).map(({ id }) => id),
    warnings: warnings.map(({ file, line, column, message }) => `${file}:${line}:${column}: ${message}`),
    ...(reloadFault ? { reload_fault: reloadFault } : {}),
  }
}

function conditions({ rulings, certificates, issuer, state, exchanged, processing }: StatusNeeds): Condition[] {
  const found: Condition[] = []
  for (const keys of [...rulings.jwks(), ...exchanged()]) {
    const { issuer: subject, ageSeconds, ...condition } = keys.condition()
    const told = { ...condition, subject, age_seconds: ageSeconds ?? null }
    // Both may ask one issuer: what is the same is told once.
    if (!found.some((one) => one.subject === subject && one.status === told.status && one.reason === told.reason)) found.push(told)
  }
  for (const asked of rulings.introspections()) {
    const { issuer: subject, ...condition } = asked.condition()
    found.push({ ...condition, subject })
  }
  for (const [name, source] of rulings.sources()) {
    const fault = source.fault()
    found.push({
      type: 'SourceReady',
      subject: name,
      status: fault === undefined ? 'True' : 'False',
      reason: fault === undefined ? 'Answers' : 'DoesNotAnswer',
      message: fault ?? 'the source answers',
    })
  }
  if (issuer && !issuer.ring()) {
    found.push({ type: 'KeysReady', status: 'False', reason: 'NotLoaded', message: 'state has not given the signing keys yet' })
  }
  found.push(...certificateConditions(certificates.states(), Date.now()))
  const durable = durabilityCondition(state)
  if (durable) found.push(durable)
  const owed = processing && owedCondition(processing)
  if (owed) found.push(owed)
  return found
}
