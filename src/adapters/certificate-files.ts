import {
  CertificateFault,
  type CertificateLoader,
  type CertificatePaths,
  type CertificateSet,
  type CertificateUse,
  isShorter,
  timeFault,
} from '../core/certificates.ts'
import { StartRefused } from '../core/start-refused.ts'
import { looksOf, readSet } from './certificate-read.ts'

/** What becomes of certificates while the service runs. */
export type CertificateEvent =
  | { readonly kind: 'reloaded'; readonly uses: readonly CertificateUse[]; readonly set: CertificateSet }
  /** Files that cannot be used; the last good set stays in use. */
  | { readonly kind: 'refused'; readonly uses: readonly CertificateUse[]; readonly detail: string }
  /** What is in use is not valid any more. */
  | { readonly kind: 'expired'; readonly uses: readonly CertificateUse[]; readonly detail: string }

export interface CertificateLoaderOptions {
  readonly onEvent?: (event: CertificateEvent) => void
  /** Milliseconds between looks at the files; 1 s unless given. */
  readonly everyMs?: number
  /** Milliseconds for which changed files must look the same before they are read; 250 unless given. */
  readonly settleMs?: number
  /** The same where a file has lost certificates; 2 s unless given. */
  readonly shorterMs?: number
  /** Milliseconds that {@link CertificateLoader.ready} waits; 1 s unless given. */
  readonly patienceMs?: number
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
}

type Listener = (next: CertificateSet, before: CertificateSet | undefined) => void

/** The files of one set, and what is made of them. */
interface Held {
  readonly key: string
  readonly paths: CertificatePaths
  /** How often each use has it open. */
  readonly uses: Map<CertificateUse, number>
  readonly listeners: Set<Listener>
  inUse: CertificateSet | undefined
  /** Why the files as they are now are not in use. */
  fault: CertificateFault | undefined
  /** What has been told of last. */
  told: string
  /** What the files look like, and performance.now() since when. */
  seen: string
  seenAt: number
  /** What they looked like when they were judged last. */
  judged: string | undefined
  success: number
  refused: number
  /** The look that goes on now. */
  looking: Promise<void> | undefined
  timer: NodeJS.Timeout | undefined
}

const nothing: CertificateFault = new CertificateFault('the certificates are being written')

/**
 * Certificates from files, of this process: whoever names the same files has the same set. The files are looked at again and
 * again, through symbolic links, so that every way of replacing them is noticed: renames, the swapped links of a Kubernetes
 * Secret, and writes in place by spiffe-helper. They are taken as a set: all of them have looked the same for a while, none
 * changed while they were read, and key and certificate belong together. Else the last good set stays in use.
 */
export function openCertificateLoader(options: CertificateLoaderOptions = {}): CertificateLoader {
  const { everyMs = 1000, settleMs = 250, shorterMs = 2000, patienceMs = 1000, clock = Date.now } = options
  const sets = new Map<string, Held>()
  /** Opened since `ready` was asked last. */
  let fresh: Held[] = []
  let timer: NodeJS.Timeout | undefined

  const tell = (held: Held, event: (uses: readonly CertificateUse[]) => CertificateEvent, text: string): void => {
    if (held.told === text) return
    held.told = text
    options.onEvent?.(event([...held.uses.keys()]))
  }
  const refuse = (held: Held, fault: CertificateFault): void => {
    held.fault = fault
    // What never was good is told by `ready`.
    if (!held.inUse) return
    const { message: detail } = fault
    if (held.told !== detail) held.refused++
    tell(held, (uses) => ({ kind: 'refused', uses, detail }), detail)
  }

  /** Judges the files as they are. @returns whether there is nothing more to do until they change */
  const judge = (held: Held): boolean => {
    const found = readSet(held.paths)
    if (!found) return false
    const { set, looks } = found
    if (looks !== held.seen) {
      held.seen = looks
      held.seenAt = performance.now()
    }
    const before = held.inUse
    if (before?.digest === set.digest) {
      held.fault = undefined
      held.told = ''
      held.judged = looks
      return true
    }
    const late = timeFault(set, clock(), held.paths)
    if (late) throw late
    // A file that is cut off between two certificates looks whole: writers get time to go on.
    if (before && isShorter(set, before) && performance.now() - held.seenAt < shorterMs) return false
    held.inUse = set
    held.fault = undefined
    held.told = ''
    held.judged = looks
    for (const listener of [...held.listeners]) listener(set, before)
    if (!before) return true
    held.success++
    options.onEvent?.({ kind: 'reloaded', uses: [...held.uses.keys()], set })
    return true
  }
  const tryToJudge = (held: Held): boolean => {
    try {
      const done = judge(held)
      if (!done && !held.inUse) held.fault ??= nothing
      return done
    } catch (cause) {
      if (!(cause instanceof CertificateFault)) throw cause
      refuse(held, cause)
      held.judged = held.seen
      return true
    }
  }

  const again = (held: Held): void => {
    held.timer ??= setTimeout(() => {
      held.timer = undefined
      look(held).catch(() => {})
    }, settleMs).unref()
  }

  const lookOnce = async (held: Held): Promise<void> => {
    const looks = await looksOf(held.paths)
    if (held.uses.size === 0) return
    const now = performance.now()
    if (looks !== held.seen) {
      held.seen = looks
      held.seenAt = now
    }
    // What is whole, and not valid yet, becomes so without a change of the files.
    if (looks !== held.judged || held.fault?.kind === 'time' || !held.inUse) {
      if ((held.inUse && now - held.seenAt < settleMs) || !tryToJudge(held)) again(held)
    }
    const expired = held.inUse && !held.fault && timeFault(held.inUse, clock(), held.paths)
    if (expired) tell(held, (uses) => ({ kind: 'expired', uses, detail: expired.message }), `expired ${expired.message}`)
  }
  /** One after the other: what goes on already may have seen less than whoever asks now. */
  const look = (held: Held): Promise<void> => {
    const next = (held.looking ?? Promise.resolve()).then(() => lookOnce(held))
    const settled = next
      .catch(() => {})
      .finally(() => {
        if (held.looking === settled) held.looking = undefined
      })
    held.looking = settled
    return next
  }
  const lookAtAll = async (): Promise<void> => {
    for (const held of [...sets.values()]) await look(held)
  }

  /** By the clock: files that are slow to be looked at are not asked for twice. */
  const lookAround = (): void => {
    for (const held of sets.values()) if (!held.looking) look(held).catch(() => {})
  }

  const hold = (paths: CertificatePaths): Held => {
    const key = JSON.stringify([paths.cert, paths.key, paths.ca])
    const known = sets.get(key)
    if (known) {
      if (!known.inUse) tryToJudge(known)
      return known
    }
    const held: Held = {
      key,
      paths,
      uses: new Map(),
      listeners: new Set(),
      inUse: undefined,
      fault: undefined,
      told: '',
      seen: '',
      seenAt: performance.now(),
      judged: undefined,
      success: 0,
      refused: 0,
      looking: undefined,
      timer: undefined,
    }
    sets.set(key, held)
    tryToJudge(held)
    // Read once more at the next look: files that were written in the very instant of the first reading look the same as before it.
    held.judged = undefined
    timer ??= setInterval(lookAround, everyMs).unref()
    return held
  }
  const release = (held: Held, use: CertificateUse): void => {
    const times = held.uses.get(use) ?? 0
    if (times > 1) held.uses.set(use, times - 1)
    else held.uses.delete(use)
    if (held.uses.size > 0) return
    clearTimeout(held.timer)
    sets.delete(held.key)
    if (sets.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  return {
    open: (use, paths) => {
      const held = hold(paths)
      held.uses.set(use, (held.uses.get(use) ?? 0) + 1)
      fresh.push(held)
      const mine = new Set<Listener>()
      let closed = false
      return {
        current: () => {
          if (!held.inUse) throw held.fault ?? nothing
          return held.inUse
        },
        subscribe: (listener) => {
          held.listeners.add(listener)
          mine.add(listener)
          return () => void held.listeners.delete(listener)
        },
        close: () => {
          if (closed) return
          closed = true
          for (const listener of mine) held.listeners.delete(listener)
          release(held, use)
        },
      }
    },
    ready: async () => {
      const waited = fresh
      fresh = []
      const bad = () => waited.filter(({ inUse, uses }) => !inUse && uses.size > 0)
      for (const end = performance.now() + patienceMs; bad().length > 0 && performance.now() < end; ) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        for (const held of bad()) await look(held)
      }
      const faults = new Set(bad().map(({ uses, fault }) => `${[...uses.keys()].join(', ')}: ${(fault ?? nothing).message}`))
      if (faults.size > 0) throw new StartRefused([...faults])
    },
    states: () =>
      [...sets.values()].flatMap(({ paths, uses, inUse, fault, success, refused }) =>
        [...uses.keys()].map((use) => ({ use, paths, set: inUse, fault: fault?.message, reloads: { success, refused } })),
      ),
    look: lookAtAll,
    close: () => {
      clearInterval(timer)
      timer = undefined
      for (const held of sets.values()) {
        clearTimeout(held.timer)
        held.uses.clear()
      }
      sets.clear()
    },
  }
}
