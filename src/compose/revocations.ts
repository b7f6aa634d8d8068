import { openRevocationList, type RevocationList } from '../adapters/revocation-list.ts'
import type { Settings } from '../config/schema.ts'
import type { Revocation, RevocationLevel, State } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'

/** Milliseconds between two purges: each looks at every kept token, and a flood of revocations must not become one of purges. */
const purgeEveryMs = 50

export interface RevocationsNeeds {
  readonly state: Pick<State, 'revocations' | 'feed'>
  readonly maxStalenessMs: number
  /** As {@link RevocationListOptions.standing}. */
  readonly standing: (validator: string) => boolean
  /** Drops what is kept near of the principals that a revocation concerns. */
  readonly purge: (concerns: (principal: Principal) => boolean) => void
}

/**
 * Validators that admit credentials which say nothing of when they were issued. What an edge hands on is among them: the
 * token behind its headers is never seen here.
 */
export const standingValidators = ({ identity }: Pick<Settings, 'identity'>): ReadonlySet<string> =>
  new Set(
    identity
      .filter(({ type }) => type === 'api-keys' || type === 'mtls' || type === 'shared-token' || type === 'edge-trust')
      .map(({ name }) => name),
  )

/**
 * Whether revocations concern a principal, whatever their instants: dropping a token too many costs a new one.
 * @param revoked targets by level
 */
export const concernedBy =
  (revoked: ReadonlyMap<RevocationLevel, ReadonlySet<string>>) =>
  ({ tokenId, subject, rawSubject, actor, issued }: Principal): boolean => {
    const names = (level: RevocationLevel, target: string | undefined) => target !== undefined && revoked.get(level)?.has(target) === true
    if (names('token', tokenId) || names('subject', subject)) return true
    if (issued === undefined) return false
    if (names('subject', rawSubject) || names('agent', rawSubject) || names('chain', rawSubject)) return true
    if (names('agent', actor?.subject) || names('task', issued.task) || names('client', issued.client)) return true
    for (let one = actor; one !== undefined; one = one.actor) if (names('chain', one.subject)) return true
    return false
  }

/** The list of revocations, which purges what is kept near. A principal that is refused gets nothing of that in any case. */
export async function openRevocations({ state, maxStalenessMs, standing, purge }: RevocationsNeeds): Promise<RevocationList> {
  const list = await openRevocationList({ store: state.revocations, feed: state.feed, maxStalenessMs, standing })
  let waiting = new Map<RevocationLevel, Set<string>>()
  let timer: NodeJS.Timeout | undefined
  let purgedAt = Number.NEGATIVE_INFINITY

  const purgeNow = (): void => {
    timer = undefined
    purgedAt = performance.now()
    const revoked = waiting
    waiting = new Map()
    purge(concernedBy(revoked))
  }
  list.onRevoked(({ level, target }: Revocation) => {
    const targets = waiting.get(level) ?? new Set()
    waiting.set(level, targets.add(target))
    timer ??= setTimeout(purgeNow, Math.max(0, purgedAt + purgeEveryMs - performance.now())).unref()
  })
  return {
    ...list,
    close: () => {
      clearTimeout(timer)
      list.close()
    },
  }
}
