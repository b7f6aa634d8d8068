import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { createIds } from '../adapters/ids.ts'
import { AccessRefused, type KubernetesAccess, kubeconfigAccess, serviceAccountAccess } from '../adapters/kubernetes-access.ts'
import { openKubernetesClient } from '../adapters/kubernetes-client.ts'
import { resourceOf } from '../adapters/kubernetes-discovery.ts'
import { kubernetesLease, pause, type Term } from '../adapters/kubernetes-lease.ts'
import { resourceName } from '../adapters/kubernetes-object.ts'
import { kubernetesReader } from '../adapters/kubernetes-reader.ts'
import { createSyncMetrics } from '../adapters/kubernetes-sync-metrics.ts'
import { openSyncPage } from '../adapters/kubernetes-sync-page.ts'
import { createLog } from '../adapters/log.ts'
import { StartRefused } from '../core/start-refused.ts'
import { tellHeads } from './audit.ts'
import { availabilityLog } from './availability-log.ts'
import { openCertificates } from './certificates.ts'
import { createClosing } from './closing.ts'
import { openState } from './state.ts'
import { createBackoff } from './sync-backoff.ts'
import { createKindSync, type KindSync } from './sync-kind.ts'
import { createMirror, NotLeading } from './sync-mirror.ts'
import type { SyncOptions } from './sync-options.ts'
import { createPosition } from './sync-position.ts'
import { rulesOf } from './sync-rules.ts'
import { createTold } from './sync-told.ts'

export type { SyncOptions } from './sync-options.ts'
export type { IdSource } from './sync-record.ts'

/** Removals that need no percentage. */
const alwaysRemoved = 10

/** How it ended, where it ended by itself. */
export type SyncEnd = 'done' | 'held'

/**
 * Mirrors labels of a cluster into Postern's state until the signal, or once.
 * @returns with `once`, whether removals were held back
 * @throws {StartRefused} where it cannot work as it was asked to
 */
export async function syncKubernetes(options: SyncOptions, signal: AbortSignal): Promise<SyncEnd> {
  const { loaded, cluster, version, once } = options
  const { settings } = loaded
  if (settings.state.kind === 'memory')
    throw new StartRefused(
      ['state: memory is that of one process, and no other would see what is mirrored: expected file: or redis://'],
      'policy',
    )
  const rules = rulesOf(options)
  const access = accessOf(options)
  const log = createLog({ level: settings.log.level })
  const closing = createClosing({ begins: () => {}, ends: () => log.flush() })
  const newId = createIds()
  let term: Term | undefined
  const mayWrite = (): boolean => term?.leads() ?? false
  const kinds = new Map<string, KindSync & { readonly records: () => number }>()
  const metrics = createSyncMetrics({
    leads: mayWrite,
    kinds: () => {
      const now = performance.now()
      return [...kinds].map(([kind, { records, heardAt, held }]) => {
        const at = heardAt()
        return [kind, { records: records(), heardMs: at === undefined ? undefined : now - at, held: held() }] as const
      })
    },
  })
  const failed = (where: string) => (cause: unknown) => {
    metrics.fault(where)
    log.error({ fault: explain(cause) }, `${where} failed`)
  }

  try {
    const client = openKubernetesClient({ access, userAgent: `postern-sync/${version}` })
    closing.add(client.close)
    const certificates = openCertificates(log)
    closing.add(certificates.close)
    const state = await openState(
      settings.state,
      settings.realm,
      availabilityLog(log, { state: settings.state.kind }, 'state'),
      undefined,
      version,
      certificates,
    )
    closing.add(() => tellHeads(log, state))
    closing.add(() => state.close())
    const holder = `${hostname()}_${randomUUID()}`
    const lease = options.lease && kubernetesLease({ client, ...options.lease, holder, onFault: failed('lease') })
    const notReady = (): string | undefined => {
      if (!mayWrite()) return lease?.holder() ? undefined : 'no leader is known yet'
      return [...kinds].map(([kind, { fault }]) => fault() && `${kind}: ${fault()}`).find((why) => why !== undefined)
    }
    if (options.metrics) {
      const pages = { metrics: metrics.expose, contentType: metrics.contentType, notReady }
      const page = await openSyncPage(options.metrics.host, options.metrics.port, pages).catch((cause: NodeJS.ErrnoException) => {
        throw new StartRefused([`--metrics: the address cannot be had (${cause.code ?? 'unknown error'})`])
      })
      closing.add(page.close)
      log.info({ metrics: page.address }, 'metrics are shown')
    }
    log.info({ version, cluster, server: client.host, access: access.from, revision: loaded.revision, holder }, 'sync started')
    if (!lease && !once) log.warn('there is no --lease: no other process may mirror the same')

    /** Resources, in the versions that the API server serves. */
    const prepare = async (resource: SyncOptions['resources'][number]): Promise<void> => {
      const { kind, ...named } = resource
      if (kinds.has(kind)) return
      const served = await resourceOf(client, named, signal)
      const told = createTold({ kind, rules, realm: settings.realm, audit: state.audit, log, metrics, newId })
      const mirror = createMirror({ labels: state.labels, kind, rules, mayWrite, ...told })
      const { namespaces, selector, pageSize, watchSeconds } = options
      const places = namespaces.length === 0 ? [undefined] : namespaces
      const whole = rules.endpoint !== undefined && served.group === '' && served.plural === 'pods'
      const readers = new Map(
        places.map((namespace) => [
          namespace ?? '*',
          kubernetesReader({ client, resource: served, namespace, selector, whole, pageSize, watchSeconds }),
        ]),
      )
      const scope = JSON.stringify([resourceName(served), [...namespaces].sort(), selector ?? '', rules])
      const position = createPosition(state.records, `${cluster}/${kind}`, scope)
      const guard = { mostPercent: options.mostRemovals, always: options.mostRemovals >= 100 ? Number.POSITIVE_INFINITY : alwaysRemoved }
      const sync = createKindSync({ kind, readers, mirror, position, told, guard, mayWrite, log, metrics, explain })
      kinds.set(kind, { ...sync, records: mirror.size })
    }
    const backoff = createBackoff()
    while (!signal.aborted) {
      try {
        for (const resource of options.resources) await prepare(resource)
        break
      } catch (cause) {
        if (signal.aborted) break
        if (once) throw cause
        failed('discovery')(cause)
        await pause(backoff.next(), signal)
      }
    }

    while (!signal.aborted) {
      term = lease ? await lease.acquire(signal) : alone
      if (!term) break
      log.info(lease ? { transitions: term.transitions } : {}, 'leads')
      const during = AbortSignal.any([signal, term.signal])
      try {
        if (once) {
          let held = 0
          for (const kind of kinds.values()) held += await kind.once(during)
          return held > 0 ? 'held' : 'done'
        }
        // One that lost the lead takes the others with it: each asks before it writes.
        await Promise.all([...kinds.values()].map((kind) => kind.run(during).catch(unlessNotLeading)))
      } finally {
        await term.release()
      }
      if (!signal.aborted) log.warn('does not lead any more')
    }
    return 'done'
  } catch (cause) {
    if (!once || cause instanceof StartRefused) throw cause
    throw new StartRefused([explain(cause)])
  } finally {
    log.info('sync ended')
    await closing.close()
  }
}

/** Where there is no lease: nobody else mirrors the same. */
const alone: Term = { transitions: 0, signal: new AbortController().signal, leads: () => true, release: async () => {} }

function unlessNotLeading(cause: unknown): void {
  if (!(cause instanceof NotLeading)) throw cause
}

/** What went wrong, in a sentence. */
const explain = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

function accessOf({ kubeconfig, context, env }: SyncOptions): KubernetesAccess {
  try {
    return kubeconfig === undefined ? serviceAccountAccess(env) : kubeconfigAccess(kubeconfig, context)
  } catch (cause) {
    if (cause instanceof AccessRefused) throw new StartRefused([cause.message])
    throw cause
  }
}
