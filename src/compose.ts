import { readFileSync } from 'node:fs'
import { serveOne } from './compose/serve-one.ts'
import { serveRealms } from './compose/serve-realms.ts'
import type { Service } from './compose/service.ts'
import type { WorkerLink } from './compose/workers-link.ts'
import type { WorkerCommand } from './compose/workers-member.ts'
import { faultText } from './config/faults.ts'
import { type ReadOptions, type ReadResult, readPolicy } from './config/read.ts'
import { type ReadRealm, readRealms } from './config/read-realms.ts'
import { StartRefused } from './core/start-refused.ts'

export type { Service }

export const version: string = (JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string })
  .version

export interface ServeOptions {
  /** The policy file. */
  readonly config: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Overrides `realm` of the file; where it names several realms, the one that is served alone. */
  readonly realm?: string | undefined
  /** How to start a worker, where the policy wants several: this process is then their primary. Absent: there is one process. */
  readonly worker?: WorkerCommand
  /** This process is such a worker. */
  readonly link?: WorkerLink
}

/**
 * The whole service in a straight line: policy → process → its realm, or each of them → doors → watch; closed in reverse.
 * @throws {StartRefused} with a sentence for everything that is wrong
 */
export async function serve({ config, env, realm, worker, link }: ServeOptions): Promise<Service> {
  const started = new Date()
  // Secrets of the first policy are read before there is a log, and a fault at the start is one of the policy.
  let onSecretFault: (detail: string) => void = () => {}
  const reading: ReadOptions = { file: config, env, realm, serving: true, onSecretFault: (detail) => onSecretFault(detail) }
  const read = await readPolicy(reading)
  const onProcess = (heard: typeof onSecretFault): void => {
    onSecretFault = heard
  }
  const process = { version, started, worker, link, reading, onProcess }
  const several = await severalOf(read, reading)
  if (several) {
    await link?.agree([...several.values()][0]!.loaded.settings, true)
    return serveRealms({ ...process, read: several })
  }
  if (!read.ok) throw new StartRefused(read.faults.map(faultText), 'policy')
  await link?.agree(read.loaded.settings)
  return serveOne({ ...process, loaded: read.loaded })
}

/** The realms that a main file names; undefined where it is one itself. @throws {StartRefused} with the faults of all of them */
async function severalOf(read: ReadResult, reading: ReadOptions): Promise<ReadonlyMap<string, ReadRealm> | undefined> {
  if (read.ok) {
    const { tenant, settings } = read.loaded
    return tenant === undefined ? undefined : new Map([[settings.realm, { file: tenant, loaded: read.loaded }]])
  }
  // Without a realm's name all are meant; a name that is none is told by what was read.
  if (!read.tenants?.length || reading.realm !== undefined) return undefined
  const { realms, faults } = await readRealms(reading, read.tenants)
  if (faults.length > 0) throw new StartRefused(faults.map(faultText), 'policy')
  return realms
}
