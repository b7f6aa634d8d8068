import { faultText } from '../config/faults.ts'
import type { Loaded, ReadOptions } from '../config/read.ts'
import { composeChecking } from './checking.ts'
import { type Doors, openDoors } from './doors.ts'
import { type Measured, metricSources } from './measured.ts'
import { openProcess, type ProcessNeeds } from './process.ts'
import { openRealm } from './realm.ts'
import type { Service } from './service.ts'
import { metricsOfAll } from './workers-metrics.ts'

export interface ServeOneNeeds extends Pick<ProcessNeeds, 'version' | 'started' | 'worker' | 'link'> {
  readonly loaded: Loaded
  readonly reading: ReadOptions
  /** Told what hears of secrets that cannot be read again. */
  readonly onProcess: (onSecretFault: (detail: string) => void) => void
}

/** Serves one realm: process → realm → doors → watch. */
export async function serveOne({ loaded, reading, onProcess, ...needs }: ServeOneNeeds): Promise<Service> {
  const { version, link } = needs
  const { settings, warnings } = loaded
  const parts: Measured = {}
  const sources = metricSources(parts, link !== undefined)
  const process = openProcess({ ...needs, settings, several: false, sources })
  const { log, metrics, closing, certificates, crew, newId } = process
  if (!link) for (const warning of warnings) log.warn({ at: faultText(warning) }, 'lint')
  link?.measure(metrics.snapshot)
  onProcess(process.onSecretFault)
  let doors: Doors | undefined

  try {
    const realm = await openRealm(loaded, {
      ...process,
      parts,
      counted: metricsOfAll(metrics, crew),
      reading,
      onTaken: (next) => doors?.allow(next.settings.listen),
    })
    closing.add(realm.close)
    const inForce = realm.inForce.loaded
    const handler = composeChecking({
      check: realm.check,
      settings: () => inForce().settings,
      mark: () => {
        const { headers, realm, revision } = inForce().policy
        return { header: headers.decision, realm, policy: revision }
      },
      metrics,
      newId,
      onFault: process.onFault('wire'),
    })
    Object.assign(parts, { handler, crew } satisfies Measured)
    const { processing, admin, issuer, takeIssuer } = realm
    doors = await openDoors({
      listen: settings.listen,
      handler,
      crew,
      link,
      processing,
      admin,
      issuer,
      takeIssuer,
      certificates,
      log,
      closing,
    })
    doors.serving(true)
    process.listens()
    log.info({ version, realm: settings.realm, revision: loaded.revision, ...doors.addresses }, link ? 'worker serving' : 'serving')
    const watch = await realm.begin()
    closing.add(watch.close)
    const reload = (): void => {
      watch.now()
      void certificates.look()
      crew?.reload()
    }
    return { reload, close: closing.close }
  } catch (cause) {
    await closing.close()
    throw cause
  }
}
