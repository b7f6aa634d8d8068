import { readFileSync } from 'node:fs'
import { createFingerprint, newFingerprintKey } from './adapters/fingerprint.ts'
import { createIds } from './adapters/ids.ts'
import { createLog } from './adapters/log.ts'
import { createMetrics } from './adapters/metrics.ts'
import { loginLimit } from './admin/login.ts'
import { readinessOf } from './admin/status.ts'
import { composeAdmin } from './compose/admin.ts'
import { composeAudit, tellHeads } from './compose/audit.ts'
import { availabilityLog } from './compose/availability-log.ts'
import { boundTrail } from './compose/bounded-trail.ts'
import { composeBroker } from './compose/broker.ts'
import { composeChecking } from './compose/checking.ts'
import { createClosing } from './compose/closing.ts'
import { openDoors } from './compose/doors.ts'
import { durabilityLog } from './compose/durability.ts'
import { holdInForce } from './compose/in-force.ts'
import { composeEndpoints, openIssuer } from './compose/issuer.ts'
import { createKeysLog } from './compose/keys-log.ts'
import { type Measured, metricSources } from './compose/measured.ts'
import { composeProcessing } from './compose/processing.ts'
import { createRejectionLog } from './compose/rejections.ts'
import { openRulings } from './compose/rulings.ts'
import { printSeedTokens } from './compose/seed-tokens.ts'
import { openState } from './compose/state.ts'
import { statusOf } from './compose/status.ts'
import { composeTokenService } from './compose/token-service.ts'
import { unchangingOf, workersOf } from './compose/workers-count.ts'
import { createCrew } from './compose/workers-crew.ts'
import type { WorkerLink } from './compose/workers-link.ts'
import type { WorkerCommand } from './compose/workers-member.ts'
import { metricsOfAll } from './compose/workers-metrics.ts'
import { faultText } from './config/faults.ts'
import { readPolicy } from './config/read.ts'
import { watchPolicy } from './config/watch.ts'
import { StartRefused } from './core/start-refused.ts'
import { recordingActs } from './issuer/issuance.ts'
import type { Fetch } from './wire/http-listener.ts'

export const version: string = (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string })
  .version

export interface ServeOptions {
  /** The policy file. */
  readonly config: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Overrides `realm` of the file. */
  readonly realm?: string | undefined
  /** How to start a worker, where the policy wants several: this process is then their primary. Absent: there is one process. */
  readonly worker?: WorkerCommand
  /** This process is such a worker. */
  readonly link?: WorkerLink
}

/** A service that is up. */
export interface Service {
  /** Looks at the policy's files at once, in every process, and not at the next turn of the watch. */
  readonly reload: () => void
  /** Drains: health says NOT_SERVING, calls in flight end, then everything closes, in reverse order. Bounded; safe to call twice. */
  readonly close: () => Promise<void>
}

/**
 * The whole service in a straight line: policy → state → keys → rulings → checking → doors → watch; closed in reverse.
 * @throws {StartRefused} with a sentence for everything that is wrong
 */
export async function serve({ config, env, realm, worker, link }: ServeOptions): Promise<Service> {
  const started = new Date()
  // Secrets of the first policy are read before there is a log, and a fault at the start is one of the policy.
  let onSecretFault: (detail: string) => void = () => {}
  const reading = { file: config, env, realm, serving: true, onSecretFault: (detail: string) => onSecretFault(detail) }
  const read = await readPolicy(reading)
  if (!read.ok) throw new StartRefused(read.faults.map(faultText), 'policy')
  const { settings, warnings } = read.loaded
  await link?.agree(settings)

  const size = worker ? workersOf(settings) : 1
  const log = createLog({ level: settings.log.level, worker: link?.number, shared: link !== undefined || size > 1 })
  if (!link) for (const warning of warnings) log.warn({ at: faultText(warning) }, 'lint')
  const newId = createIds()
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
  const parts: Measured = {}
  const metrics = createMetrics({ version, sources: metricSources(parts, link !== undefined) })
  closing.add(metrics.close)
  link?.measure(metrics.snapshot)
  const onFault = (where: string) => (cause: unknown) => {
    metrics.fault(where)
    log.error({ where, err: cause instanceof Error ? cause : String(cause) }, 'fault')
  }
  onSecretFault = (detail) => {
    metrics.fault('secret')
    log.warn({ detail }, 'a secret cannot be read again')
  }

  try {
    const stateLog = availabilityLog(log, { state: settings.state.kind }, 'state')
    const state = await openState(settings.state, settings.realm, stateLog, durabilityLog(log), version)
    closing.add(() => tellHeads(log, state))
    closing.add(() => state.close())
    const issuer = await openIssuer(settings, state, onFault('issuer'), link === undefined)
    if (issuer) closing.add(issuer.close)
    const fingerprintKey = link?.fingerprintKey() ?? newFingerprintKey()
    const rejections = createRejectionLog({ log, count: metrics.rejection, fingerprint: createFingerprint(fingerprintKey) })
    closing.add(rejections.close)
    const onKeys = createKeysLog(log)
    const rulings = await openRulings(read.loaded, {
      state,
      issuer,
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
    const inForce = holdInForce(read.loaded, { state, log, metrics, newId, onFault, link })
    closing.add(inForce.close)
    const audit = composeAudit({
      state,
      issuer,
      loaded: inForce.loaded,
      log,
      newId,
      onFault: onFault('audit'),
      primary: link === undefined,
    })
    closing.add(audit.close)
    const handler = composeChecking({ rulings, inForce, metrics, newId, onFault: onFault('wire') })
    const crew =
      worker && size > 1 ? createCrew({ size, command: worker, unchanging: unchangingOf(settings), fingerprintKey, log }) : undefined
    const processing =
      settings.listen.ext_proc && !link
        ? composeProcessing({
            state,
            policy: () => inForce.loaded().policy,
            owners: rulings.lookup,
            count: metrics.processing,
            newId,
            log,
            onFault: onFault('ext_proc'),
          })
        : undefined
    if (processing) closing.add(processing.close)
    Object.assign(parts, { state, audit, rulings, handler, crew, processing } satisfies Measured)

    const readiness = () =>
      readinessOf({
        listening,
        draining: closing.begun(),
        policyLoaded: true,
        keysReady: issuer === undefined || issuer.ring() !== undefined,
        workers: crew && { serving: crew.counts().alive, wanted: crew.size },
      })
    const exchanged = () => tokenService?.jwks() ?? []
    const status = () =>
      statusOf({ version, started, state, issuer, rulings, exchanged, inForce, crew, processing, ready: () => readiness().ready })
    const counted = metricsOfAll(metrics, crew)
    const trail = boundTrail({ audit: state.audit, newId, realm: settings.realm, onFault: onFault('audit') })
    closing.add(trail.close)
    const broker =
      issuer && !link
        ? await composeBroker({
            version,
            started,
            state,
            trail,
            issuer,
            rulings,
            metrics: counted,
            loaded: inForce.loaded,
            newId,
            log,
            onFault: onFault('broker'),
          })
        : undefined
    if (broker) closing.add(broker.close)
    Object.assign(parts, { broker } satisfies Measured)
    const tokenService =
      issuer && settings.listen.issuer && !link
        ? composeTokenService({
            state,
            issuer,
            rulings,
            metrics: counted,
            loaded: inForce.loaded,
            newId,
            onFault: onFault('issuer'),
            onKeys,
          })
        : undefined
    if (tokenService) closing.add(tokenService.close)
    const administration = {
      state,
      trail,
      issuer,
      rulings,
      broker: broker?.port,
      logins: loginLimit(),
      metrics: counted,
      status,
      readiness,
      newId,
      loaded: inForce.loaded,
      onFault: onFault('admin'),
    }
    const admin = composeAdmin(administration)
    const endpoints = issuer && composeEndpoints(issuer, settings, inForce.loaded, metrics, () => tokenService?.metadata())
    const onIssuer = composeAdmin({ ...administration, onIssuer: true })
    const documents: Fetch | undefined = endpoints && ((request) => endpoints.fetch(request))
    const doors = await openDoors({
      listen: settings.listen,
      handler,
      crew,
      link,
      processing,
      admin: (request, connection) => admin.fetch(request, connection),
      issuer: documents && (broker?.over(documents, (request, connection) => onIssuer.fetch(request, connection)) ?? documents),
      takeIssuer: tokenService?.take,
      log,
      closing,
    })
    const watch = watchPolicy(read.loaded, {
      ...reading,
      onPolicy: (next) => {
        inForce.take(next, rulings)
        crew?.hurry()
      },
      onFaults: (faults) => inForce.refuse(faults.map(faultText)),
    })
    closing.add(watch.close)

    doors.serving(true)
    listening = true
    log.info({ version, realm: settings.realm, revision: read.loaded.revision, ...doors.addresses }, link ? 'worker serving' : 'serving')
    if (broker && issuer) {
      const print = (text: string): void => void process.stdout.write(text)
      const record = recordingActs({ audit: trail, newId, realm: settings.realm, clock: Date.now })
      await printSeedTokens({ settings, broker: broker.port, issuer, record, print }).catch(onFault('broker'))
    }
    const reload = (): void => {
      watch.now()
      crew?.reload()
    }
    return { reload, close: closing.close }
  } catch (cause) {
    await closing.close()
    throw cause
  }
}
