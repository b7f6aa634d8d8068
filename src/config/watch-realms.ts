import { realpath, stat } from 'node:fs/promises'
import { systemCode } from '../core/system-code.ts'
import type { Fault } from './faults.ts'
import { type Loaded, type ReadOptions, readPolicy } from './read.ts'
import { type ReadRealm, takenRealm } from './read-realms.ts'
import { findTenants } from './tenants.ts'

export interface WatchRealmsOptions extends ReadOptions {
  /** Milliseconds between looks. */
  readonly everyMs?: number
  /** The globs of the main file in force. */
  readonly patterns: () => readonly string[]
  /** Opens a realm whose file is new. Where it rejects, the file is read again when it changes. */
  readonly onCome: (realm: string, read: ReadRealm) => Promise<void>
  /** Closes one whose file is gone. */
  readonly onGone: (realm: string) => Promise<void>
  /** Files that are no realm as they are. The same faults are told once in a row. */
  readonly onFaults: (faults: readonly Fault[]) => void
}

/** A watch over which realms there are; what changes inside of their files is watched for each of them. */
export interface WatchRealms {
  readonly now: () => void
  /** Resolves when nothing is being opened or closed any more. */
  readonly close: () => Promise<void>
}

/** Looks in a row at which a file must be missing: editors take one away and put another in its place. */
const looksGone = 2

/**
 * Looks for files that come and go.
 * @param open realms by the file of each, as messages show it
 */
export function watchRealms(open: ReadonlyMap<string, string>, options: WatchRealmsOptions): WatchRealms {
  const { everyMs = 300, patterns, onCome, onGone, onFaults } = options
  const realms = new Map(open)
  const missing = new Map<string, number>()
  /** Of files that are no realm: what they looked like when they were read, so that each is read once. */
  const refused = new Map<string, string>()
  let closed = false
  let asked = false
  let looking: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined

  const come = async (file: string): Promise<void> => {
    const now = await looksOf([file, options.file])
    if (refused.get(file) === now) return
    const read = await readPolicy({ ...options, tenant: file })
    if (closed) return
    const faults = read.ok ? takenBy(read.loaded) : read.faults
    if (!read.ok || faults.length > 0) {
      refused.set(file, now)
      return onFaults(faults)
    }
    const { realm } = read.loaded.settings
    try {
      await onCome(realm, { file, loaded: read.loaded })
      realms.set(file, realm)
      refused.delete(file)
    } catch {
      refused.set(file, now)
    }
  }
  const takenBy = (loaded: Loaded): Fault[] => {
    const other = [...realms].find(([, realm]) => realm === loaded.settings.realm)?.[0]
    return other === undefined ? [] : [takenRealm(loaded, other)]
  }
  const look = async (): Promise<void> => {
    const there = new Set(await findTenants(options.file, patterns()))
    for (const [file, realm] of realms) {
      const looks = there.has(file) ? 0 : (missing.get(file) ?? 0) + 1
      missing.set(file, looks)
      if (looks < looksGone || closed) continue
      realms.delete(file)
      missing.delete(file)
      await onGone(realm)
    }
    for (const file of refused.keys()) if (!there.has(file)) refused.delete(file)
    for (const file of there) if (!realms.has(file) && !closed) await come(file)
  }
  const turn = (): void => {
    asked = false
    // A look that fails is repeated.
    looking = look()
      .catch(() => {})
      .then(() => {
        looking = undefined
        if (!closed) again(asked ? 0 : everyMs)
      })
  }
  const again = (ms: number): void => {
    timer = setTimeout(turn, ms)
    timer.unref()
  }
  again(everyMs)
  return {
    now: () => {
      asked = true
      if (closed || looking) return
      clearTimeout(timer)
      turn()
    },
    close: async () => {
      closed = true
      clearTimeout(timer)
      await looking
    },
  }
}

/** What files look like: a new content, or another target of a link, looks different. */
async function looksOf(files: readonly string[]): Promise<string> {
  const each = files.map(async (file) => {
    try {
      const target = await realpath(file)
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(target, { bigint: true })
      return `${target} ${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`
    } catch (error) {
      return `${file} ${systemCode(error)}`
    }
  })
  return (await Promise.all(each)).join('\n')
}
