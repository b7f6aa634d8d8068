import { covers, narrow } from '../../core/scopes.ts'
import type { GrantRequest } from '../grants.ts'
import { askedScopes, isScope } from './params.ts'
import { type Refusal, refuse } from './refusal.ts'

/**
 * What two lists of scopes have in common: those of each that the other covers. Everything in it is covered by both.
 */
export const commonScopes = (one: readonly string[], other: readonly string[]): string[] => [
  ...new Set([...narrow(other, one), ...narrow(one, other)]),
]

/**
 * The scopes of a token: those asked for, where every ceiling covers each of them; with none asked, what the ceilings have in
 * common. Never wider than any ceiling.
 * @param ceilings at least one; undefined among them: it does not limit
 */
export function grantScopes(
  params: GrantRequest['params'],
  ceilings: readonly [readonly string[], ...(readonly string[] | undefined)[]],
): readonly string[] | Refusal {
  const asked = askedScopes(params)
  if (asked === 'malformed') return refuse('invalid_scope', 'scope_not_allowed', 'scope is not a list of scopes with one space between')
  const limits = ceilings.filter((ceiling) => ceiling !== undefined)
  if (asked === undefined) return limits.reduce((some, limit) => commonScopes(some, limit)).filter(isScope)
  const wide = asked.find((scope) => !limits.every((limit) => limit.some((have) => covers(have, scope))))
  return wide === undefined ? asked : refuse('invalid_scope', 'scope_not_allowed', 'scope goes beyond what may be granted')
}
