/** What a route demands of scopes; names may hold `{param}` of its path. */
export interface ScopeDemand {
  readonly mode: 'any' | 'all'
  readonly names: readonly string[]
}

/**
 * Whether a granted scope covers a wanted one. Scopes are `action:resource:identifier`; a `*` stands for
 * the whole of its part and of all parts after it, and only at the end: `invoke:sandbox:*` covers
 * `invoke:sandbox:s1`, `invoke:*` covers both, `*` covers everything, `*:sandbox:s1` covers nothing but itself.
 */
export function covers(granted: string, wanted: string): boolean {
  if (granted === wanted) return true
  if (!granted.endsWith('*')) return false
  let prefix = granted
  while (prefix.endsWith(':*')) prefix = prefix.slice(0, -2)
  if (prefix === '*') return true
  if (prefix.includes('*')) return false
  return prefix !== granted && wanted.startsWith(`${prefix}:`)
}

/** The wanted scopes that some granted one covers, in the order wanted. */
export const narrow = (granted: readonly string[], wanted: readonly string[]): string[] =>
  wanted.filter((scope) => granted.some((have) => covers(have, scope)))

/** Puts path parameters into a demanded scope. Every `{name}` is known to be a parameter since the policy was read. */
export const fillScope = (scope: string, params: ReadonlyMap<string, string>): string =>
  scope.includes('{') ? scope.replace(/\{([^}]+)\}/g, (_, name: string) => params.get(name) ?? '') : scope

/** Whether the granted scopes meet the demand; a filled-in parameter that holds `:`, `*` or white space is never covered. */
export function meetsScopes(demand: ScopeDemand, granted: readonly string[], params: ReadonlyMap<string, string>): boolean {
  const met = (name: string): boolean => {
    const wanted = fillScope(name, params)
    if (wanted !== name && (wanted.split(':').length !== name.split(':').length || /[*\s]/.test(wanted))) return false
    return granted.some((have) => covers(have, wanted))
  }
  return demand.mode === 'any' ? demand.names.some(met) : demand.names.every(met)
}
