import { setTimeout } from 'node:timers/promises'
import { createMetrics } from '../adapters/metrics.ts'
import type { Loaded, ReadOptions } from '../config/read.ts'
import type { ReadRealm } from '../config/read-realms.ts'
import { openCertificates } from './certificates.ts'
import { createClosing } from './closing.ts'
import { type Measured, metricSources } from './measured.ts'
import type { Process } from './process.ts'
import { openRealm, type Realm } from './realm.ts'
import { metricsOfRealms, type RealmsMetrics } from './realms-metrics.ts'

/** The realms of a process that serves several. */
export interface Realms {
  /** Those that are served now, by name: what is not in it is nowhere. */
  readonly served: ReadonlyMap<string, Realm>
  readonly metrics: RealmsMetrics
  /** @throws {StartRefused} where it cannot be had; the others go on */
  readonly open: (read: ReadRealm) => Promise<Realm>
  /** Follows the files of one that is served. */
  readonly begin: (realm: Realm) => Promise<void>
  /** No more is decided in it from now on; what is under way ends. */
  readonly drop: (name: string) => Promise<void>
  /** Looks at the files of each at once. */
  readonly reload: () => void
  readonly close: () => Promise<void>
}

/** @param onTaken told of each policy of a realm that is taken into force, the first ones too */
export function createRealms(process: Process, reading: ReadOptions, onTaken: (loaded: Loaded) => void): Realms {
  const { version, crew, log } = process
  const served = new Map<string, Realm>()
  const ends = new Map<string, ReturnType<typeof createClosing>>()
  /** What has each look at its files at once. */
  const looks = new Map<string, () => void>()
  const leaving = new Set<Promise<void>>()
  const metrics = metricsOfRealms(process.metrics, served, crew)
  const stopped = new AbortController()

  const open = async ({ file, loaded }: ReadRealm): Promise<Realm> => {
    const { realm: name } = loaded.settings
    const closing = createClosing({ begins: () => {}, ends: () => {} })
    const parts: Measured = {}
    const own = createMetrics({ version, sources: metricSources(parts, true), processMetrics: false })
    closing.add(own.close)
    const ownLog = log.child({ realm: name })
    const certificates = openCertificates(ownLog)
    closing.add(certificates.close)
    try {
      const realm = await openRealm(loaded, {
        ...process,
        log: ownLog,
        metrics: own,
        parts,
        counted: metrics.of(name, own),
        certificates,
        listeners: process.certificates,
        reading: { ...reading, realm: name, tenant: file },
        onTaken,
      })
      closing.add(realm.close)
      ends.set(name, closing)
      served.set(name, realm)
      looks.set(name, () => void certificates.look())
      onTaken(loaded)
      return realm
    } catch (cause) {
      await closing.close()
      throw cause
    }
  }
  const begin = async (realm: Realm): Promise<void> => {
    const watch = await realm.begin()
    const certificates = looks.get(realm.name)
    looks.set(realm.name, () => {
      watch.now()
      certificates?.()
    })
    ends.get(realm.name)?.add(watch.close)
  }
  const drop = async (name: string): Promise<void> => {
    const longest = served.get(name)?.inForce.loaded().settings.check.max_deadline ?? 0
    served.delete(name)
    looks.delete(name)
    const closing = ends.get(name)
    ends.delete(name)
    // Checks that began before have their time. What opens meanwhile under the same name shares nothing with it but state.
    await setTimeout(longest, undefined, { signal: stopped.signal, ref: false }).catch(() => {})
    await closing?.close()
  }
  return {
    served,
    metrics,
    open,
    begin,
    drop: async (name) => {
      const gone = drop(name).finally(() => leaving.delete(gone))
      leaving.add(gone)
    },
    reload: () => {
      for (const look of looks.values()) look()
    },
    close: async () => {
      stopped.abort()
      await Promise.all(leaving)
      for (const closing of [...ends.values()].reverse()) await closing.close()
    },
  }
}
