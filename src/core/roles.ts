/** What a route demands of a principal's roles: any of them, or all. */
export interface RoleDemand {
  readonly mode: 'any' | 'all'
  readonly names: readonly string[]
  /** For each name, the presented roles that give it: itself, and all that inherit it. */
  readonly givenBy: readonly ReadonlySet<string>[]
}

/** Every role of the policy, with those it includes by inheritance, itself among them. */
export type RoleClosure = ReadonlyMap<string, ReadonlySet<string>>

/**
 * Follows `inherits` to its end.
 * @param inherits role → the roles it inherits directly
 * @returns the closure, or the first cycle as a list of names
 */
export function closeRoles(inherits: ReadonlyMap<string, readonly string[]>): RoleClosure | { readonly cycle: readonly string[] } {
  const closed = new Map<string, ReadonlySet<string>>()
  const visit = (role: string, trail: readonly string[]): readonly string[] | undefined => {
    if (closed.has(role)) return undefined
    if (trail.includes(role)) return [...trail.slice(trail.indexOf(role)), role]
    const all = new Set([role])
    for (const parent of inherits.get(role) ?? []) {
      const cycle = visit(parent, [...trail, role])
      if (cycle) return cycle
      for (const name of closed.get(parent) ?? []) all.add(name)
    }
    closed.set(role, all)
    return undefined
  }
  for (const role of inherits.keys()) {
    const cycle = visit(role, [])
    if (cycle) return { cycle }
  }
  return closed
}

/** Which presented roles give `role`: computed once, when the policy is read, so that a check is a few set look-ups. */
export function givers(closure: RoleClosure, role: string): ReadonlySet<string> {
  const names = new Set([role])
  for (const [name, includes] of closure) if (includes.has(role)) names.add(name)
  return names
}

/** A route's demand, with inheritance worked in. */
export const demandRoles = (closure: RoleClosure, mode: 'any' | 'all', names: readonly string[]): RoleDemand => ({
  mode,
  names,
  givenBy: names.map((name) => givers(closure, name)),
})

/** Whether the presented roles meet the demand. */
export function meetsRoles(demand: RoleDemand, presented: readonly string[]): boolean {
  const given = (by: ReadonlySet<string>): boolean => presented.some((role) => by.has(role))
  return demand.mode === 'any' ? demand.givenBy.some(given) : demand.givenBy.every(given)
}
