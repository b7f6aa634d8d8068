import { createDecisionLog } from '../adapters/log-decisions.ts'
import { createProcessApp } from '../admin/process-app.ts'
import type { Readiness } from '../admin/status.ts'
import { observeAll } from '../check/observe.ts'
import { faultText } from '../config/faults.ts'
import type { Loaded, ReadOptions } from '../config/read.ts'
import { type ReadRealm, warningsOf } from '../config/read-realms.ts'
import type { Settings } from '../config/schema.ts'
import { watchRealms } from '../config/watch-realms.ts'
import { StartRefused } from '../core/start-refused.ts'
import type { CountingHandler } from '../wire/check-handler.ts'
import { hostNames } from './admin.ts'
import { certificateConditions, certificateMetrics } from './certificates.ts'
import { composeChecking } from './checking.ts'
import { type Doors, openDoors } from './doors.ts'
import { openProcess, type Process, type ProcessNeeds } from './process.ts'
import { createRealms, type Realms } from './realms.ts'
import { checkOfRealms } from './realms-check.ts'
import { sharedHandlers } from './realms-http.ts'
import { processingOfRealms } from './realms-processing.ts'
import type { Service } from './service.ts'

export interface ServeRealmsNeeds extends Pick<ProcessNeeds, 'version' | 'started' | 'worker' | 'link'> {
  /** All of them without faults; one at least. */
  readonly read: ReadonlyMap<string, ReadRealm>
  readonly reading: ReadOptions
  /** Told what hears of secrets that cannot be read again. */
  readonly onProcess: (onSecretFault: (detail: string) => void) => void
}

/** What a denial names where the policy of no realm says more. */
const decisionHeader = 'x-postern-decision'

/** Serves several realms behind the same listeners: process → realms → doors → watches. */
export async function serveRealms({ read, reading, onProcess, ...needs }: ServeRealmsNeeds): Promise<Service> {
  const { version, link } = needs
  const loaded = [...read.values()].map((one) => one.loaded)
  let settings: Settings = loaded[0]!.settings
  let handler: CountingHandler | undefined
  const process: Process = openProcess({
    ...needs,
    settings,
    several: true,
    sources: {
      inFlight: () => handler?.inFlight() ?? 0,
      certificates: () => certificateMetrics(process.certificates.states()),
      workers: () => (link ? undefined : (process.crew?.counts() ?? { alive: 1, restarts: 0 })),
    },
  })
  const { log, metrics, closing, certificates, crew, newId } = process
  onProcess(process.onSecretFault)
  if (!link) for (const warning of warningsOf(reading.file, loaded)) log.warn({ at: faultText(warning) }, 'lint')
  let doors: Doors | undefined
  let decisions = createDecisionLog({ log, decisions: settings.log.decisions })
  closing.add(() => decisions.close())

  /** What all realms have in common is read with each of them: the newest is in force. */
  const onTaken = ({ settings: next }: Loaded): void => {
    const before = settings
    settings = next
    log.level = next.log.level
    doors?.allow(next.listen)
    if (next.log.decisions === before.log.decisions) return
    decisions.close()
    decisions = createDecisionLog({ log, decisions: next.log.decisions })
  }

  try {
    const realms = createRealms(process, reading, onTaken)
    closing.add(realms.close)
    link?.measure(realms.metrics.all.snapshot)
    for (const one of read.values()) await realms.open(one)

    const observe = observeAll([metrics.observe, (seen) => decisions.observe(seen)], process.onFault('observer'))
    const checking: CountingHandler = composeChecking({
      check: checkOfRealms(realms.served, observe, newId),
      settings: () => settings,
      mark: () => ({ header: decisionHeader, realm: '', policy: '' }),
      metrics,
      newId,
      onFault: process.onFault('wire'),
    })
    handler = checking
    const { admin, issuer } = listenersOf(realms, process, settings)
    const onFault = (detail: string): void => log.error({ detail }, 'ext_proc cannot tell what a request is')
    doors = await openDoors({
      listen: settings.listen,
      handler: checking,
      crew,
      link,
      processing: settings.listen.ext_proc && !link ? processingOfRealms(realms.served, decisionHeader, onFault) : undefined,
      admin: admin.fetch,
      takeAdmin: admin.take,
      issuer: issuer.fetch,
      takeIssuer: issuer.take,
      certificates,
      log,
      closing,
    })
    doors.serving(true)
    process.listens()
    const served = Object.fromEntries([...realms.served].map(([name, { inForce }]) => [name, inForce.loaded().revision]))
    log.info({ version, realms: served, ...doors.addresses }, link ? 'worker serving' : 'serving')
    const watch = follow(realms, read, { process, reading, settings: () => settings })
    closing.add(watch.close)
    for (const realm of realms.served.values()) await realms.begin(realm)
    const reload = (): void => {
      watch.now()
      realms.reload()
      void certificates.look()
      crew?.reload()
    }
    return { reload, close: closing.close }
  } catch (cause) {
    await closing.close()
    throw cause
  }
}

/** What the admin and the issuer listener serve: each realm at `/realms/<realm>`, and the process at the root of the first. */
function listenersOf({ served, metrics }: Realms, process: Process, settings: Settings) {
  const readiness = (): Readiness => {
    const reasons = new Set([...served.values()].flatMap((realm) => realm.readiness().reasons))
    if (served.size === 0) reasons.add('no realm is served')
    return { ready: reasons.size === 0, reasons: [...reasons] }
  }
  const app = createProcessApp({
    hosts: settings.listen.admin && hostNames(settings.listen.admin),
    metrics: metrics.all,
    readiness,
    about: () => ({
      version: process.version,
      started: process.started.toISOString(),
      ready: readiness().ready,
      conditions: certificateConditions(process.certificates.states(), Date.now()),
    }),
    realms: () => [...served].map(([name, realm]) => [name, realm.admin] as const),
    onFault: process.onFault('admin'),
  })
  const nothing = (): Response => new Response(null, { status: 404 })
  return {
    admin: sharedHandlers(
      (name) => {
        const realm = served.get(name)
        return realm && { fetch: realm.admin }
      },
      (request, connection) => app.fetch(request, connection),
    ),
    issuer: sharedHandlers((name) => {
      const realm = served.get(name)
      return realm && { fetch: realm.issuer ?? nothing, take: realm.takeIssuer }
    }, nothing),
  }
}

interface FollowNeeds {
  readonly process: Process
  readonly reading: ReadOptions
  readonly settings: () => Settings
}

/** Opens realms whose files come, and closes those whose files go; of one that was chosen by its name, none does. */
function follow(realms: Realms, read: ReadonlyMap<string, ReadRealm>, { process, reading, settings }: FollowNeeds) {
  const { log, metrics } = process
  if (reading.realm !== undefined) return { now: () => {}, close: () => {} }
  return watchRealms(new Map([...read].map(([name, { file }]) => [file, name])), {
    ...reading,
    patterns: () => settings().realms ?? [],
    onCome: async (name, one) => {
      try {
        await realms.begin(await realms.open(one))
        log.info({ realm: name, revision: one.loaded.revision }, 'a realm is served from now on')
        process.crew?.hurry()
      } catch (cause) {
        const faults = cause instanceof StartRefused ? cause.sentences : [String(cause)]
        log.error({ realm: name, faults }, 'a new realm cannot be served; the others go on')
        throw cause
      }
    },
    onGone: async (name) => {
      await realms.drop(name)
      log.info({ realm: name }, 'a realm is not served any more')
    },
    onFaults: (faults) => {
      metrics.reloaded('refused')
      log.error({ faults: faults.map(faultText) }, 'a new file of a realm is refused; the others go on')
    },
  })
}
