import { createFingerprint } from '../adapters/fingerprint.ts'
import type { Logger } from '../adapters/log.ts'
import type { Metrics } from '../adapters/metrics.ts'
import { type Readiness, readinessOf, type StatusReport } from '../admin/status.ts'
import { type Check, createCheck } from '../check/check.ts'
import { faultText } from '../config/faults.ts'
import type { Loaded, ReadOptions } from '../config/read.ts'
import { watchPolicy } from '../config/watch.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import type { Limit } from '../core/limit.ts'
import { recordingActs } from '../issuer/issuance.ts'
import type { Fetch, Take } from '../wire/http-listener.ts'
import { composeAdmin } from './admin.ts'
import { composeAudit, tellHeads } from './audit.ts'
import { availabilityLog } from './availability-log.ts'
import { boundTrail } from './bounded-trail.ts'
import { composeBroker } from './broker.ts'
import { createClosing } from './closing.ts'
import { durabilityLog } from './durability.ts'
import { holdInForce, type InForce } from './in-force.ts'
import { composeEndpoints, openIssuer } from './issuer.ts'
import { createKeysLog } from './keys-log.ts'
import type { Measured } from './measured.ts'
import { composeProcessing, type Processing } from './processing.ts'
import { createRejectionLog } from './rejections.ts'
import { openRulings } from './rulings.ts'
import { printSeedTokens } from './seed-tokens.ts'
import { openState } from './state.ts'
import { statusOf } from './status.ts'
import { composeTokenService } from './token-service.ts'
import type { Crew } from './workers-crew.ts'
import type { WorkerLink } from './workers-link.ts'

/** What a realm has from the process that it is served in, alone or beside others. */
export interface RealmHost {
  readonly version: string
  readonly started: Date
  readonly newId: () => string
  /** In a worker: its primary. */
  readonly link: WorkerLink | undefined
  /** In a primary: its workers. */
  readonly crew: Crew | undefined
  /** Of the fingerprints of credentials in the log. */
  readonly fingerprintKey: string
  /** Counts the logins of all listeners and realms, whose secret is one. */
  readonly logins: Limit
  /** All listeners are open. */
  readonly listening: () => boolean
  readonly draining: () => boolean
}

export interface RealmNeeds extends RealmHost {
  /** Its lines tell of which realm they are, where there are several. */
  readonly log: Logger
  readonly metrics: Metrics
  /** What the metrics are read from: filled in here. */
  readonly parts: Measured
  /** The same metrics, whose page is that of all processes. */
  readonly counted: Metrics
  /** Of all that this realm connects to. */
  readonly certificates: CertificateLoader
  /** Those of the listeners, where the realm has certificates of its own: its status tells of them too. */
  readonly listeners?: Pick<CertificateLoader, 'states'>
  /** How its policy is read again. */
  readonly reading: ReadOptions
  /** Told of each policy that is taken into force after the first. */
  readonly onTaken: (loaded: Loaded) => void
}

/** One realm, decided by its policy in force, with all that is its own. */
export interface Realm {
  readonly name: string
  readonly inForce: InForce
  readonly check: Check
  readonly metrics: Metrics
  /** undefined where `listen.ext_proc` is not set, and in a worker. */
  readonly processing: Processing | undefined
  readonly admin: Fetch
  /** undefined where nothing is minted. */
  readonly issuer: Fetch | undefined
  /** What the issuer listener asks first. */
  readonly takeIssuer: Take | undefined
  readonly status: () => StatusReport
  readonly readiness: () => Readiness
  /** Follows its policy's files, and prints the launch tokens that it is to begin with: when the listeners are open. */
  readonly begin: () => Promise<RealmWatch>
  /** Closes all in reverse order. */
  readonly close: () => Promise<void>
}

/** The watch over the files of one realm. */
export interface RealmWatch {
  readonly now: () => void
  readonly close: () => void
}

/**
 * Opens a realm in a straight line: state → keys → rulings → what decides → what answers beside it.
 * @throws {StartRefused} with a sentence for everything that is wrong; nothing is left open then
 */
export async function openRealm(first: Loaded, needs: RealmNeeds): Promise<Realm> {
  const { version, started, newId, link, crew, log, metrics, counted, parts, certificates, listening, draining } = needs
  const { settings } = first
  const { realm } = settings
  const closing = createClosing({ begins: () => {}, ends: () => {} })
  const onFault = (where: string) => (cause: unknown) => {
    metrics.fault(where)
    log.error({ where, err: cause instanceof Error ? cause : String(cause) }, 'fault')
  }

  try {
    const stateLog = availabilityLog(log, { state: settings.state.kind }, 'state')
    const state = await openState(settings.state, realm, stateLog, durabilityLog(log), version, certificates)
    closing.add(() => tellHeads(log, state))
    closing.add(() => state.close())
    const issuer = await openIssuer(settings, state, onFault('issuer'), link === undefined)
    if (issuer) closing.add(issuer.close)
    const rejections = createRejectionLog({ log, count: metrics.rejection, fingerprint: createFingerprint(needs.fingerprintKey) })
    closing.add(rejections.close)
    const onKeys = createKeysLog(log)
    const rulings = await openRulings(first, {
      state,
      issuer,
      certificates,
      clock: metrics.clock,
      onMinted: metrics.tokenIssued,
      onRejection: rejections.observe,
      onKeys,
      onSharedToken: (validator, detail) => {
        metrics.fault('secret')
        log.warn({ validator, detail }, 'a shared token cannot be used')
      },
      onSourceFault: (source, fault) => availabilityLog(log, { source }, 'source')(fault),
    })
    closing.add(rulings.close)
    const inForce = holdInForce(first, { state, log, metrics, newId, onFault, link, onTaken: needs.onTaken })
    closing.add(inForce.close)
    const { loaded } = inForce
    const audit = composeAudit({ state, issuer, loaded, log, newId, onFault: onFault('audit'), primary: link === undefined })
    closing.add(audit.close)
    const processing =
      settings.listen.ext_proc && !link
        ? composeProcessing({
            state,
            policy: () => loaded().policy,
            owners: rulings.lookup,
            count: metrics.processing,
            newId,
            log,
            onFault: onFault('ext_proc'),
          })
        : undefined
    if (processing) closing.add(processing.close)
    Object.assign(parts, { state, audit, rulings, processing, certificates } satisfies Measured)

    const readiness = () =>
      readinessOf({
        listening: listening(),
        draining: draining(),
        policyLoaded: true,
        keysReady: issuer === undefined || issuer.ring() !== undefined,
        workers: crew && { serving: crew.counts().alive, wanted: crew.size },
      })
    const exchanged = () => tokenService?.jwks() ?? []
    const status = () =>
      statusOf({
        version,
        started,
        state,
        issuer,
        certificates: { states: () => [...(needs.listeners?.states() ?? []), ...certificates.states()] },
        rulings,
        exchanged,
        inForce,
        crew,
        processing,
        ready: () => readiness().ready,
      })
    const trail = boundTrail({ audit: state.audit, newId, realm, onFault: onFault('audit') })
    closing.add(trail.close)
    const minting = { state, rulings, metrics: counted, loaded, newId }
    const broker =
      issuer && !link ? await composeBroker({ ...minting, issuer, version, started, trail, log, onFault: onFault('broker') }) : undefined
    if (broker) closing.add(broker.close)
    Object.assign(parts, { broker } satisfies Measured)
    const tokenService =
      issuer && settings.listen.issuer && !link
        ? composeTokenService({ ...minting, issuer, certificates, onFault: onFault('issuer'), onKeys })
        : undefined
    if (tokenService) closing.add(tokenService.close)
    const administration = {
      state,
      trail,
      issuer,
      rulings,
      broker: broker?.port,
      logins: needs.logins,
      metrics: counted,
      status,
      readiness,
      newId,
      loaded,
      onFault: onFault('admin'),
    }
    const admin = composeAdmin(administration)
    const endpoints = issuer && composeEndpoints(issuer, settings, loaded, metrics, () => tokenService?.metadata())
    const onIssuer = composeAdmin({ ...administration, onIssuer: true })
    const documents: Fetch | undefined = endpoints && ((request) => endpoints.fetch(request))

    const begin = async (): Promise<RealmWatch> => {
      const watch = watchPolicy(first, {
        ...needs.reading,
        onPolicy: (next) => {
          inForce.take(next, rulings)
          crew?.hurry()
        },
        onFaults: (faults) => inForce.refuse(faults.map(faultText)),
      })
      if (broker && issuer) {
        const print = (text: string): void => void process.stdout.write(text)
        const record = recordingActs({ audit: trail, newId, realm, clock: Date.now })
        await printSeedTokens({ settings, broker: broker.port, issuer, record, print }).catch(onFault('broker'))
      }
      return watch
    }
    return {
      name: realm,
      inForce,
      check: createCheck({ ruling: rulings.current, observe: inForce.observe, newId, clock: Date.now }),
      metrics,
      processing,
      admin: (request, connection) => admin.fetch(request, connection),
      issuer: documents && (broker?.over(documents, (request, connection) => onIssuer.fetch(request, connection)) ?? documents),
      takeIssuer: tokenService?.take,
      status,
      readiness,
      begin,
      close: closing.close,
    }
  } catch (cause) {
    await closing.close()
    throw cause
  }
}
