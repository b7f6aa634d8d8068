/** The workloads that may ask, by their SPIFFE IDs; they may change while the service runs. */
export interface AllowList {
  readonly has: (spiffeId: string) => boolean
  readonly size: () => number
  /** Told after each change. @returns a function that ends it */
  readonly subscribe: (listener: () => void) => () => void
}

/** A list, and how it is replaced. */
export interface ChangingAllowList extends AllowList {
  readonly replace: (spiffeIds: readonly string[]) => void
}

export function allowList(spiffeIds: readonly string[]): ChangingAllowList {
  let ids: ReadonlySet<string> = new Set(spiffeIds)
  const listeners = new Set<() => void>()
  return {
    has: (id) => ids.has(id),
    size: () => ids.size,
    subscribe: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    replace: (next) => {
      const before = ids
      ids = new Set(next)
      if (before.size === ids.size && next.every((id) => before.has(id))) return
      for (const listener of [...listeners]) listener()
    },
  }
}
