import type { Change, ChangeFeed } from '../core/ports.ts'

/** The telling half of a change feed. */
export interface Changes {
  readonly subscribe: ChangeFeed['subscribe']
  readonly tell: (change: Change) => void
  /** Anything may have happened unseen: everything kept near is to be dropped or read again. */
  readonly tellAll: () => void
}

/** Listeners are called at once and in order of subscription; they must not throw. */
export function createChanges(): Changes {
  const listeners = new Set<(change: Change) => void>()
  const tell = (change: Change) => {
    for (const listener of listeners) listener(change)
  }
  return {
    subscribe: (listener) => {
      // A wrapper, so that one function may listen twice and each end only its own subscription.
      const own = (change: Change) => listener(change)
      listeners.add(own)
      return () => void listeners.delete(own)
    },
    tell,
    tellAll: () => {
      tell({ kind: 'labels' })
      tell({ kind: 'revocations' })
      tell({ kind: 'keys' })
      tell({ kind: 'api-keys' })
    },
  }
}
