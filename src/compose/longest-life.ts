import type { Settings } from '../config/schema.ts'
import { clockSkew } from '../core/jwt.ts'

const dayMs = 86_400_000
/** More than any life that can be asked for, where the policy sets no ceiling. */
const endlessMs = 366 * dayMs

/**
 * Milliseconds for which a token may be believed after a key has signed it: the longest life that the policy allows to any of
 * ours (an edge token of the admin API may have a day), and the skew of verifiers.
 */
export function longestLifeMs({ broker, issuer }: Pick<Settings, 'broker' | 'issuer'>): number {
  const agents = broker.max_ttl === 0 ? endlessMs : broker.max_ttl
  const lives = [dayMs, broker.app_token_ttl, ...(broker.enabled ? [agents, broker.default_ttl] : [])]
  for (const { ttl, exchange } of issuer.clients) lives.push(ttl, exchange?.max_ttl ?? 0)
  for (const { ttl } of issuer.federation) lives.push(ttl)
  return Math.max(...lives) + clockSkew * 1000
}
