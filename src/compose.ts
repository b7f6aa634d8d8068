import { readFileSync } from 'node:fs'
import { createAuditTrail } from './adapters/audit-trail.ts'
import { createIds } from './adapters/ids.ts'
import { createLog } from './adapters/log.ts'
import { createLogBound } from './adapters/log-bound.ts'
import { createDecisionLog } from './adapters/log-decisions.ts'
import { createMetrics } from './adapters/metrics.ts'
import { readinessOf } from './admin/status.ts'
import { createCheck } from './check/check.ts'
import { type Observer, observeAll } from './check/observe.ts'
import { composeAdmin } from './compose/admin.ts'
import { openIssuer } from './compose/issuer.ts'
import { createKeysLog } from './compose/keys-log.ts'
import { listenerOf, openHttp, orRefuse } from './compose/listeners.ts'
import { createRejectionLog } from './compose/rejections.ts'
import { breakersOf, openRulings } from './compose/rulings.ts'
import { openState } from './compose/state.ts'
import { statusOf } from './compose/status.ts'
import { faultText } from './config/faults.ts'
import { type Loaded, readPolicy } from './config/read.ts'
import { watchPolicy } from './config/watch.ts'
import type { JsonObject } from './core/json.ts'
import { StartRefused } from './core/start-refused.ts'
import { issuerEndpoints } from './issuer/endpoints.ts'
import { bareDenial } from './wire/bare-denial.ts'
import { createCheckHandler } from './wire/check-handler.ts'
import { startGrpcServer } from './wire/grpc-server.ts'
import { formatListenAddress } from './wire/listener.ts'

export const version: string = (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string })
  .version

export interface ServeOptions {
  /** The policy file. */
  readonly config: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Overrides `realm` of the file. */
  readonly realm?: string | undefined
}

/** A service that is up. */
export interface Service {
  /** Looks at the policy's files at once, and not at the next turn of the watch. */
  readonly reload: () => void
  /** Drains: health says NOT_SERVING, calls in flight end, then everything closes, in reverse order. Bounded; safe to call twice. */
  readonly close: () => Promise<void>
}

/** What a call in flight at the end is given, in milliseconds. */
const drainMs = 10_000

/**
 * The whole service in a straight line: policy → state → keys → rulings → check → listeners → watch.
 * @throws {StartRefused} with a sentence for everything that is wrong
 */
export async function serve({ config, env, realm }: ServeOptions): Promise<Service> {
  const started = new Date()
  // Secrets of the first policy are read before there is a log, and a fault at the start is one of the policy.
  let onSecretFault: (detail: string) => void = () => {}
  const reading = { file: config, env, realm, onSecretFault: (detail: string) => onSecretFault(detail) }
  const read = await readPolicy(reading)
  if (!read.ok) throw new StartRefused(read.faults.map(faultText), 'policy')
  let loaded: Loaded = read.loaded
  let since = started
  const { settings } = loaded
  const log = createLog({ level: settings.log.level })
  for (const warning of loaded.warnings) log.warn({ at: faultText(warning) }, 'lint')

  const closing: (() => unknown)[] = []
  let draining: Promise<void> | undefined
  const close = (): Promise<void> => {
    draining ??= (async () => {
      log.info('draining')
      for (const end of closing.splice(0).reverse()) await end()
      log.info('closed')
      log.flush()
    })()
    return draining
  }

  try {
    const newId = createIds()
    const state = await openState(settings.state, settings.realm, (fault) => {
      if (fault === undefined) log.info({ state: settings.state.kind }, 'state answers')
      else log.error({ state: settings.state.kind, fault }, 'state does not answer')
    })
    closing.push(() => state.close())
    const onFault = (where: string) => (cause: unknown) => {
      metrics.fault(where)
      log.error({ where, err: cause instanceof Error ? cause : String(cause) }, 'fault')
    }

    onSecretFault = (detail) => {
      metrics.fault('secret')
      log.warn({ detail }, 'a secret cannot be read again')
    }
    const metrics = createMetrics({
      version,
      sources: {
        caches: () => {
          const { hits, misses, size } = rulings.tokens.stats()
          const { owners } = rulings
          return { owner: { hits: owners.hits(), misses: owners.misses(), size: owners.size() }, token: { hits, misses, size } }
        },
        breakers: () => breakersOf(rulings),
        feedAgeMs: () => performance.now() - state.feed.heardAt(),
        stateUp: () => state.fault() === undefined,
        inFlight: () => handler.inFlight(),
      },
    })
    const issuer = await openIssuer(settings, state, onFault('issuer'))
    if (issuer) closing.push(issuer.close)
    const rejections = createRejectionLog(log)
    closing.push(rejections.close)
    const rulings = await openRulings(loaded, {
      state,
      issuer,
      clock: metrics.clock,
      onMinted: metrics.tokenIssued,
      onRejection: rejections.observe,
      onKeys: createKeysLog(log),
      onSourceFault: (source, fault) =>
        log[fault === undefined ? 'info' : 'error']({ source, fault }, fault === undefined ? 'source answers' : 'source does not answer'),
    })
    closing.push(rulings.close)

    // What observes decisions follows the policy in force: its settings say what is written.
    let observers = composeObservers(loaded)
    closing.push(() => observers.close())
    function composeObservers({ settings: { log: written, audit } }: Loaded): { readonly observe: Observer; readonly close: () => void } {
      log.level = written.level
      const decisions = createDecisionLog({ log, decisions: written.decisions })
      const trail = createAuditTrail({ sink: state.audit, decisions: audit.decisions, newId, realm: settings.realm })
      return {
        observe: observeAll([metrics.observe, decisions.observe, trail.observe], onFault('observer')),
        close: () => {
          decisions.close()
          trail.close()
        },
      }
    }
    const policyInForce = (): void =>
      metrics.policyInForce(
        settings.realm,
        loaded.revision,
        loaded.policy.routes.routes.map(({ id }) => id),
      )
    policyInForce()

    const check = createCheck({ ruling: rulings.current, observe: (seen) => observers.observe(seen), newId, clock: Date.now })
    const handler = createCheckHandler({
      check,
      refuse: (reason, detail) => {
        if (reason === 'overloaded') metrics.overloaded()
        else if (reason === 'bad_request') metrics.undecodable()
        else onFault('wire')(detail)
        const { headers, realm, revision } = loaded.policy
        return bareDenial(reason, { id: newId(), header: headers.decision, realm, policy: revision })
      },
      get maxInFlight() {
        return loaded.settings.check.max_in_flight
      },
      get maxMessage() {
        return loaded.settings.check.max_message
      },
      get maxDeadlineMs() {
        return loaded.settings.check.max_deadline
      },
    })

    let reloadFault: { readonly time: string; readonly sentences: readonly string[] } | undefined
    let listening = false
    const readiness = () =>
      readinessOf({
        listening,
        draining: draining !== undefined,
        policyLoaded: true,
        keysReady: issuer === undefined || issuer.ring() !== undefined,
      })
    const status = () =>
      statusOf({
        ...{ version, started, state, issuer, rulings },
        loaded: () => loaded,
        since: () => since,
        ready: () => readiness().ready,
        reloadFault: () => reloadFault,
      })
    // Whoever reaches a port can make handshakes fail, as often as they like.
    const bound = createLogBound(20, (suppressed) => log.warn({ suppressed }, 'faults of listeners over the limit of lines a second'))
    closing.push(bound.close)
    const wireFault = (detail: string): void => {
      if (bound.admits()) log.warn({ detail }, 'listener')
    }
    const admin = composeAdmin({
      ...{ state, issuer, rulings, metrics, status, readiness, newId },
      loaded: () => loaded,
      onFault: onFault('admin'),
    })
    const adminListener = await orRefuse(
      openHttp('admin', settings.listen.admin, (request, connection) => admin.fetch(request, connection), wireFault),
    )
    const opened: Record<string, string> = {}
    if (adminListener) {
      closing.push(() => adminListener.close(1000))
      opened['admin'] = formatListenAddress(adminListener.address)
    }
    if (issuer && settings.listen.issuer) {
      const endpoints = issuerEndpoints({
        issuer: issuer.url,
        jwks: () => issuer.ring()?.jwks() ?? { keys: [] },
        tls: settings.listen.issuer.tls.mode !== 'none',
        observe: metrics.request,
      })
      const issuerListener = await orRefuse(openHttp('issuer', settings.listen.issuer, (request) => endpoints.fetch(request), wireFault))
      if (issuerListener) {
        closing.push(() => issuerListener.close(1000))
        opened['issuer'] = formatListenAddress(issuerListener.address)
      }
    }
    const grpc = await orRefuse(
      startGrpcServer({ listener: listenerOf(settings.listen.check), handler, reflection: true, onFault: wireFault }),
    )
    closing.push(() => grpc.close(drainMs))

    // One after the other, and only whole: a policy is in force when everything it needs is there.
    let taking: Promise<void> = Promise.resolve()
    const recordReload = (outcome: 'success' | 'failure', detail: JsonObject): void =>
      state.audit.append({
        ...{ id: newId(), time: new Date().toISOString(), type: 'policy_reloaded', outcome, realm: settings.realm },
        ...{ target: loaded.revision, detail },
      })
    const refuse = (sentences: readonly string[]): void => {
      reloadFault = { time: new Date().toISOString(), sentences }
      metrics.reloaded('refused')
      recordReload('failure', { faults: sentences.length })
      log.error({ faults: sentences, revision: loaded.revision }, 'the changed policy is refused; the last good one stays in force')
    }
    const take = async (next: Loaded): Promise<void> => {
      await rulings.take(next)
      const before = observers
      loaded = next
      since = new Date()
      observers = composeObservers(next)
      before.close()
      reloadFault = undefined
      policyInForce()
      metrics.reloaded('success')
      recordReload('success', {})
      log.info({ revision: next.revision }, 'policy in force')
    }
    const watch = watchPolicy(loaded, {
      ...reading,
      onPolicy: (next) => {
        taking = taking.then(() => take(next)).catch((cause: unknown) => refuse([cause instanceof Error ? cause.message : String(cause)]))
      },
      onFaults: (faults) => refuse(faults.map(faultText)),
    })
    closing.push(watch.close)

    grpc.serving(true)
    listening = true
    log.info({ version, realm: settings.realm, revision: loaded.revision, check: formatListenAddress(grpc.address), ...opened }, 'serving')
    return { reload: watch.now, close }
  } catch (cause) {
    await close()
    throw cause
  }
}
