import { openRevocationList, type RevocationList } from '../adapters/revocation-list.ts'
import type { Settings } from '../config/schema.ts'
import type { Revocation, RevocationLevel, State } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'

/** Milliseconds between two purges: each looks at every kept token, and a flood of revocations must not become one of purges. */
const purgeEveryMs = 50
/** Where a purge takes long: of the thread's time, purges have one part in so many, and none waits for longer than this. */
const purgeShare = 20
const longestWaitMs = 500

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
export function concernedBy(revoked: ReadonlyMap<RevocationLevel, ReadonlySet<string>>): (principal: Principal) => boolean {
  // Looked up once: a hundred thousand principals are asked about.
  const none: ReadonlySet<string> = new Set()
  const of = (level: RevocationLevel): ReadonlySet<string> => revoked.get(level) ?? none
  const [tokens, subjects, agents, chains, tasks, clients] = [
    of('token'),
    of('subject'),
    of('agent'),
    of('chain'),
    of('task'),
    of('client'),
  ]
  return ({ tokenId, subject, rawSubject, actor, issued }) => {
    if ((tokenId !== undefined && tokens.has(tokenId)) || subjects.has(subject)) return true
    if (issued === undefined) return false
    const { task, client } = issued
    if (subjects.has(rawSubject) || agents.has(rawSubject) || chains.has(rawSubject)) return true
    if ((task !== undefined && tasks.has(task)) || (client !== undefined && clients.has(client))) return true
    if (actor !== undefined && agents.has(actor.subject)) return true
    for (let one = actor; one !== undefined; one = one.actor) if (chains.has(one.subject)) return true
    return false
  }
}

/** The list of revocations, which purges what is kept near. A principal that is refused gets nothing of that in any case. */
export async function openRevocations({ state, maxStalenessMs, standing, purge }: RevocationsNeeds): Promise<RevocationList> {
  const list = await openRevocationList({ store: state.revocations, feed: state.feed, maxStalenessMs, standing })
  let waiting = new Map<RevocationLevel, Set<string>>()
  let timer: NodeJS.Timeout | undefined
  let nextAt = Number.NEGATIVE_INFINITY

  const purgeNow = (): void => {
    timer = undefined
    const began = performance.now()
    const revoked = waiting
    waiting = new Map()
    purge(concernedBy(revoked))
    const took = performance.now() - began
    nextAt = began + Math.min(Math.max(purgeEveryMs, purgeShare * took), longestWaitMs)
  }
  list.onRevoked(({ level, target }: Revocation) => {
    const targets = waiting.get(level) ?? new Set()
    waiting.set(level, targets.add(target))
    timer ??= setTimeout(purgeNow, Math.max(0, nextAt - performance.now())).unref()
  })
  return {
    ...list,
    close: () => {
      clearTimeout(timer)
      list.close()
    },
  }
}
