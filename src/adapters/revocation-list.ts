import { setImmediate } from 'node:timers/promises'
import { clockSkew } from '../core/jwt.ts'
import {
  type ChangeFeed,
  type RevocablePrincipal,
  type Revocation,
  type RevocationCheck,
  type RevocationLevel,
  type RevocationStore,
  revocationLevels,
} from '../core/ports.ts'
import { followLog } from './followed-log.ts'
import { createRevocationTable, tableParts } from './revocation-table.ts'

const pruneMs = 60_000
/** Parts of the table that are pruned before others have their turn: about a millisecond's work with a million entries. */
const partsAtOnce = 32

export interface RevocationListOptions {
  readonly store: RevocationStore
  readonly feed: ChangeFeed
  /** Milliseconds without news after which every check is `unavailable` (`revocation.max_staleness`). */
  readonly maxStalenessMs: number
  /**
   * Whether what a validator admits is no token, and so has no instant at which it was issued: a revocation of its subject
   * lasts until it is lifted. Absent: no validator does so, and no lift helps anybody.
   */
  readonly standing?: ((validator: string) => boolean) | undefined
  /** Monotonic milliseconds: the clock of `ChangeFeed.heardAt`. */
  readonly clock?: () => number
}

/** A revocation that is known here. */
export interface KnownRevocation {
  /** Seconds since the epoch, rounded up. */
  readonly at: number
  readonly until: number
  /** Lifted for what has no instant of its own. */
  readonly lifted: boolean
}

/** The revocations in force, in memory. */
export interface RevocationList extends RevocationCheck {
  readonly level: NonNullable<RevocationCheck['level']>
  /**
   * Whether a credential that has no instant of its own is refused, such as the secret of a client: its level and target were
   * revoked, and that was not lifted since.
   */
  readonly standing: (level: RevocationLevel, target: string, nowMs: number) => 'clear' | 'revoked' | 'unavailable'
  /** What is known of a level and target, after whatever is new in state was read. @throws {Unavailable} */
  readonly known: (level: RevocationLevel, target: string) => Promise<KnownRevocation | undefined>
  /**
   * Durable, and in force on this replica, when it resolves.
   * @param revocation `until` is the end of what it concerns (`exp`): the entry is kept for twice the skew longer
   * @throws {Unavailable}
   */
  readonly revoke: (revocation: Revocation) => Promise<void>
  /** Hears of each revocation as it comes in force here, and of no lift. @returns a function that ends it */
  readonly onRevoked: (listener: (revocation: Revocation) => void) => () => void
  /** Entries in memory. */
  readonly size: () => number
  readonly close: () => void
}

const [token, subject, agent, task, chain, client] = revocationLevels.map((_, i) => i) as [number, number, number, number, number, number]
const indexOf = Object.fromEntries(revocationLevels.map((level, i) => [level, i])) as Readonly<Record<RevocationLevel, number>>
const anyInstant = Number.NEGATIVE_INFINITY

/**
 * Revocations kept in memory, so that a check is a few look-ups in one table, and none for levels at which nothing is
 * revoked. What was once heard of stays in force to its `until`, even where state has forgotten it since (a failover may lose
 * the last writes). So does a lift: but one that state has lost is unknown to a replica that starts later, which refuses.
 */
export async function openRevocationList(options: RevocationListOptions): Promise<RevocationList> {
  const { store, feed, maxStalenessMs } = options
  const clock = options.clock ?? (() => performance.now())
  const hasNoInstant = options.standing ?? (() => false)
  const table = createRevocationTable(revocationLevels.length)
  /** By level and target: lifts are acts of a person, and so are few. */
  const lifts = new Map<string, { readonly at: number; readonly until: number }>()
  const listeners = new Set<(revocation: Revocation) => void>()
  const liftKey = (level: number, target: string) => `${level}:${target}`

  function add(revocation: Revocation): void {
    const { target, at, until } = revocation
    const level = indexOf[revocation.level]
    if (revocation.lifted) {
      const known = lifts.get(liftKey(level, target))
      lifts.set(liftKey(level, target), { at: Math.max(at, known?.at ?? 0), until: Math.max(until, known?.until ?? 0) })
    } else if (table.put(level, target, at, until)) for (const listener of listeners) listener(revocation)
  }

  const followed = await followLog({
    // What state forgets stays in force, so that it makes no difference where the list is told anew.
    log: { list: async (after) => ({ anew: false, ...(await store.list(after)) }) },
    feed,
    kind: 'revocations',
    take: add,
    begins: () => {},
    ends: () => {},
    clock,
  })

  let closed = false
  async function prune(): Promise<void> {
    const now = Date.now() / 1000
    for (const [key, { until }] of lifts) if (until < now) lifts.delete(key)
    for (let part = 0; part < tableParts && !closed; part++) {
      table.prune(part, now)
      if (part % partsAtOnce === partsAtOnce - 1) await setImmediate()
    }
  }
  const pruning = setInterval(() => void prune(), pruneMs)
  pruning.unref()

  /** A lift ends what was revoked before its instant: on the same instant the revocation wins. */
  function isLifted(level: number, target: string, now: number): boolean {
    const lift = lifts.get(liftKey(level, target))
    return lift !== undefined && lift.until >= now && !(table.get(level, target)!.at >= lift.at)
  }

  const isStale = (at: number): boolean => at - followed.wholeUntil() > maxStalenessMs

  function refusedAt(principal: RevocablePrincipal, now: number): number {
    if (table.size() === 0) return -1
    if (table.count(token) > 0 && principal.tokenId !== undefined) {
      table.aim(principal.tokenId)
      if (table.covers(token, now, anyInstant)) return token
    }
    const { issued, rawSubject } = principal
    // The clock that issued it may be ahead of the one that revoked.
    const latest = principal.issuedAt - clockSkew
    if (table.count(subject) > 0) {
      table.aim(principal.subject)
      if (table.covers(subject, now, latest)) {
        const { validator } = principal
        if (validator === undefined || !hasNoInstant(validator) || !isLifted(subject, principal.subject, now)) return subject
      }
    }
    // Only our own tokens are revoked by what our issuer wrote into them: another issuer may write whatever it likes.
    if (issued === undefined) return -1
    if (rawSubject !== undefined && table.count(subject) + table.count(agent) + table.count(chain) > 0) {
      table.aim(rawSubject)
      if (table.covers(subject, now, latest)) return subject
      if (table.covers(agent, now, latest)) return agent
      if (table.covers(chain, now, latest)) return chain
    }
    // Who acts now is outermost; those it got the task from stand further in.
    if (table.count(agent) + table.count(chain) > 0) {
      for (let actor = principal.actor; actor !== undefined; actor = table.count(chain) > 0 ? actor.actor : undefined) {
        table.aim(actor.subject)
        if (actor === principal.actor && table.covers(agent, now, latest)) return agent
        if (table.covers(chain, now, latest)) return chain
      }
    }
    if (table.count(task) > 0 && issued.task !== undefined) {
      table.aim(issued.task)
      if (table.covers(task, now, latest)) return task
    }
    if (table.count(client) > 0 && issued.client !== undefined) {
      table.aim(issued.client)
      if (table.covers(client, now, latest)) return client
    }
    return -1
  }

  return {
    check: (principal, nowMs, at = clock()) => {
      if (isStale(at)) return 'unavailable'
      return refusedAt(principal, nowMs / 1000) < 0 ? 'clear' : 'revoked'
    },
    level: (principal, nowMs) => revocationLevels[refusedAt(principal, nowMs / 1000)],
    standing: (level, target, nowMs) => {
      if (isStale(clock())) return 'unavailable'
      table.aim(target)
      const now = nowMs / 1000
      return table.covers(indexOf[level], now, anyInstant) && !isLifted(indexOf[level], target, now) ? 'revoked' : 'clear'
    },
    known: async (level, target) => {
      await followed.catchUp()
      const entry = table.get(indexOf[level], target)
      const now = Date.now() / 1000
      return entry === undefined || entry.until < now ? undefined : { ...entry, lifted: isLifted(indexOf[level], target, now) }
    },
    revoke: async (revocation) => {
      // A token is admitted for the skew past its end, and must not come back for that minute. As long again, since a replica
      // whose clock is ahead takes the entry out of state before others are done with it.
      const { level, target, lifted } = revocation
      // What was lifted by a clock that is ahead of this one would take this revocation for the lifted one.
      const lift = lifted ? undefined : lifts.get(liftKey(indexOf[level], target))
      const kept = { ...revocation, at: Math.max(revocation.at, lift?.at ?? 0), until: revocation.until + 2 * clockSkew }
      await store.append(kept)
      add(kept)
    },
    onRevoked: (listener) => {
      const own = (revocation: Revocation) => listener(revocation)
      listeners.add(own)
      return () => void listeners.delete(own)
    },
    size: table.size,
    close: () => {
      closed = true
      clearInterval(pruning)
      followed.close()
    },
  }
}
