import { realpath, stat } from 'node:fs/promises'
import { systemCode } from '../core/system-code.ts'
import type { Fault } from './faults.ts'
import { findIncluded } from './include.ts'
import { type Loaded, type ReadOptions, type ReadResult, readPolicy, restartNeeded } from './read.ts'

export interface WatchOptions extends ReadOptions {
  /** Milliseconds between looks at the files. */
  readonly everyMs?: number
  /** A changed policy, whole and without faults; it becomes what later ones are compared with. */
  readonly onPolicy: (loaded: Loaded) => void
  /** A change that is refused: the policy in force stays. The same faults are told once in a row. */
  readonly onFaults: (faults: readonly Fault[]) => void
}

/** A watch over the files of a policy. */
export interface Watch {
  /** Looks at once, and takes what is there for whole; for whoever has just written the files and says so. */
  readonly now: () => void
  /** Ends the watch; a reload that is under way is not told any more. */
  readonly close: () => void
}

/** Changed files must look the same for this long before they are read, so that half-written ones are seldom met. */
const settleMs = 50

/**
 * Watches all files of a policy by looking at them, through symbolic links, so that every way of replacing
 * them is noticed: writes in place, renames, and the swapped links of a Kubernetes ConfigMap. A file that is
 * broken, or half written, is told and leaves the last good policy in force; the next change is read again.
 *
 * A policy that is in force again after a refused change is told even where it is the same as before.
 * @param current the policy in force
 */
export function watchPolicy(current: Loaded, options: WatchOptions): Watch {
  const everyMs = options.everyMs ?? 300
  let inForce = current
  let files = current.watched
  // Empty: the first look reads once, since files may have changed after `current` was read.
  let seen = ''
  let refused: string | undefined
  let closed = false
  let looking = false
  let asked = false
  let timer: NodeJS.Timeout | undefined

  const take = (result: ReadResult): void => {
    const faults = result.ok ? restartNeeded(inForce, result.loaded) : result.faults
    if (!result.ok || faults.length > 0) {
      const text = JSON.stringify(faults)
      if (text !== refused) options.onFaults(faults)
      refused = text
    } else if (refused !== undefined || result.loaded.revision !== inForce.revision) {
      refused = undefined
      inForce = result.loaded
      options.onPolicy(inForce)
    }
  }

  const look = async (settled: boolean): Promise<void> => {
    const now = await signature(files, inForce, options.file)
    if (now === seen) return
    if (!settled) {
      await delay(settleMs)
      if ((await signature(files, inForce, options.file)) !== now) return
    }
    const result = await readPolicy(options)
    if (closed) return
    const watched = result.ok ? result.loaded.watched : [...new Set([...files, ...result.watched])]
    take(result)
    // What changed while it was read differs from `now`, and is read at the next look. Where the set of files
    // changed, one more reading makes sure of the new ones.
    const same = watched.length === files.length && watched.every((file, i) => file === files[i])
    files = watched
    seen = same ? now : ''
  }

  const turn = (): void => {
    const settled = asked
    asked = false
    looking = true
    // A look that fails is repeated: nothing is lost, as `seen` is still the old one.
    const next = (): void => {
      looking = false
      if (!closed) again(asked ? 0 : everyMs)
    }
    look(settled).then(next, next)
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
    close: () => {
      closed = true
      clearTimeout(timer)
    },
  }
}

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref())

/** What all files look like: where links lead, and which content is there. */
async function signature(files: readonly string[], loaded: Loaded, main: string): Promise<string> {
  const included = await findIncluded(main, loaded.settings.include, () => undefined)
  const all = new Set([...files, ...included.map(({ path }) => path)])
  const each = await Promise.all(
    [...all].map(async (file) => {
      try {
        const target = await realpath(file)
        const { dev, ino, size, mtimeNs, ctimeNs } = await stat(target, { bigint: true })
        return `${file} ${target} ${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`
      } catch (error) {
        return `${file} ${systemCode(error)}`
      }
    }),
  )
  return each.join('\n')
}
