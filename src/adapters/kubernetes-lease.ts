import { isJsonObject, type Json, type JsonObject } from '../core/json.ts'
import type { KubernetesClient } from './kubernetes-client.ts'
import { explained, isConflict, KubernetesFailure } from './kubernetes-failure.ts'
import { pathOf, resourceName } from './kubernetes-object.ts'

/** Times of an election, in milliseconds, as those of Kubernetes' own components: 15 s, 10 s, 2 s. */
export interface LeaseTimes {
  /** Who has not renewed for so long leads no more: anybody else may. */
  readonly durationMs: number
  /** The leader stops by itself when it could not renew for so long: shorter, so that it has stopped before another begins. */
  readonly deadlineMs: number
  /** Between two attempts. */
  readonly retryMs: number
}

export const usualLeaseTimes: LeaseTimes = { durationMs: 15_000, deadlineMs: 10_000, retryMs: 2000 }

export interface LeaseOptions {
  readonly client: Pick<KubernetesClient, 'call'>
  readonly namespace: string
  readonly name: string
  /** Who this is: another one for each process. */
  readonly holder: string
  readonly times?: LeaseTimes
  /** Told of each attempt that failed, but for those that lost to another. */
  readonly onFault: (cause: unknown) => void
  /** Monotonic milliseconds. */
  readonly clock?: () => number
}

/** Leadership that was won. */
export interface Term {
  /** How often the lease has changed hands. */
  readonly transitions: number
  /** Aborted when leadership is lost. */
  readonly signal: AbortSignal
  /** Whether this process leads for certain: false as soon as the deadline has passed, whatever else happens. */
  readonly leads: () => boolean
  /** Gives leadership up, so that another may take it at once. Only after the last write. */
  readonly release: () => Promise<void>
}

/** One leader among several processes, by a Lease (coordination.k8s.io/v1). */
export interface Lease {
  /** Waits until this process leads. @returns undefined where `signal` was aborted meanwhile */
  readonly acquire: (signal: AbortSignal) => Promise<Term | undefined>
  /** Who leads, as last seen. */
  readonly holder: () => string | undefined
}

const resource = { group: 'coordination.k8s.io', version: 'v1', plural: 'leases' }

/** What is read of a Lease. */
interface Seen {
  readonly holder: string
  readonly transitions: number
  readonly durationMs: number
  readonly acquireTime: Json | undefined
  readonly renewTime: Json | undefined
  readonly object: JsonObject
}

/**
 * Takes part in an election. That another's lease has run out is judged by this process's own clock, from the moment at which the
 * lease was last seen to change: clocks of different hosts are never compared.
 */
export function kubernetesLease(options: LeaseOptions): Lease {
  const { client, namespace, name, holder, times = usualLeaseTimes, onFault, clock = () => performance.now() } = options
  let seen: Seen | undefined
  let changedAt = 0

  const note = (object: JsonObject): Seen => {
    const read = readLease(object)
    if (seen === undefined || seen.renewTime !== read.renewTime || seen.holder !== read.holder) changedAt = clock()
    seen = read
    return read
  }
  /** A call that says which right it lacks. */
  const ask = async (verb: 'get' | 'create' | 'update', body?: JsonObject): Promise<JsonObject> => {
    try {
      return await client.call({
        method: ({ get: 'GET', create: 'POST', update: 'PUT' } as const)[verb],
        path: verb === 'create' ? pathOf(resource, namespace) : pathOf(resource, namespace, name),
        timeoutMs: times.deadlineMs / 2,
        ...(body && { body }),
      })
    } catch (cause) {
      throw explained(cause, { verb, resource: resourceName(resource), namespace, ...(verb !== 'create' && { name }) })
    }
  }
  const get = async (): Promise<Seen | undefined> => {
    try {
      return note(await ask('get'))
    } catch (cause) {
      if (cause instanceof KubernetesFailure && cause.status === 404) return undefined
      throw cause
    }
  }
  const specOf = (before: Seen | undefined, holderIdentity: string): JsonObject => {
    const now = microTime()
    const same = before?.holder === holderIdentity
    return {
      holderIdentity,
      leaseDurationSeconds: holderIdentity === '' ? 1 : Math.max(1, Math.round(times.durationMs / 1000)),
      acquireTime: same ? (before.acquireTime ?? now) : now,
      renewTime: now,
      leaseTransitions: same || holderIdentity === '' ? (before?.transitions ?? 0) : before ? before.transitions + 1 : 0,
    }
  }
  /** Replaces the lease where it still is what was read: the API refuses another resourceVersion with 409. */
  const put = async (before: Seen, holderIdentity: string): Promise<Seen> =>
    note(await ask('update', { ...before.object, spec: specOf(before, holderIdentity) }))
  const create = async (): Promise<Seen> =>
    note(
      await ask('create', {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name, namespace },
        spec: specOf(undefined, holder),
      }),
    )
  const free = (lease: Seen): boolean =>
    lease.holder === '' || lease.holder === holder || clock() - changedAt > Math.max(lease.durationMs, times.durationMs)

  /** @returns when the attempt began, where it won: from then on the deadline counts */
  const attempt = async (): Promise<number | undefined> => {
    const at = clock()
    try {
      const lease = await get()
      if (lease && !free(lease)) return undefined
      await (lease ? put(lease, holder) : create())
      return at
    } catch (cause) {
      // Another was faster.
      if (!isConflict(cause)) onFault(cause)
      return undefined
    }
  }

  const lead = (since: number): Term => {
    const lost = new AbortController()
    let renewedAt = since
    let released = false
    let timer: NodeJS.Timeout | undefined
    let renewing: Promise<void> = Promise.resolve()
    const leads = (): boolean => !lost.signal.aborted && clock() - renewedAt < times.deadlineMs
    const renew = async (): Promise<void> => {
      const at = clock()
      try {
        const lease = (seen?.holder === holder ? seen : await get()) as Seen | undefined
        if (lease && lease.holder !== holder) lost.abort()
        else {
          await (lease ? put(lease, holder) : create())
          renewedAt = at
        }
      } catch (cause) {
        // It is read anew before the next attempt: who has it now, and whether it is there at all, is seen then.
        seen = undefined
        if (!isConflict(cause)) onFault(cause)
      }
    }
    const tick = async (): Promise<void> => {
      renewing = renew()
      await renewing
      if (released) return
      if (!leads()) lost.abort()
      if (!lost.signal.aborted) timer = setTimeout(() => void tick(), times.retryMs)
    }
    timer = setTimeout(() => void tick(), times.retryMs)
    // A renewal that hangs does not keep a leader in office.
    const watchdog = setInterval(() => {
      if (!leads()) {
        lost.abort()
        clearInterval(watchdog)
      }
    }, times.retryMs / 4)
    return {
      transitions: seen?.transitions ?? 0,
      signal: lost.signal,
      leads,
      release: async () => {
        released = true
        clearTimeout(timer)
        clearInterval(watchdog)
        await renewing
        if (!leads()) return
        lost.abort()
        try {
          const lease = await get()
          if (lease?.holder === holder) await put(lease, '')
        } catch (cause) {
          // It runs out by itself.
          if (!isConflict(cause)) onFault(cause)
        }
      },
    }
  }

  return {
    holder: () => seen?.holder,
    acquire: async (signal) => {
      while (!signal.aborted) {
        const since = await attempt()
        if (since !== undefined) return lead(since)
        await pause(times.retryMs * (1 + Math.random() * 0.2), signal)
      }
      return undefined
    },
  }
}

function readLease(object: JsonObject): Seen {
  const spec = isJsonObject(object['spec']) ? object['spec'] : {}
  const { holderIdentity, leaseDurationSeconds, leaseTransitions, acquireTime, renewTime } = spec
  return {
    holder: typeof holderIdentity === 'string' ? holderIdentity : '',
    transitions: typeof leaseTransitions === 'number' ? leaseTransitions : 0,
    durationMs: typeof leaseDurationSeconds === 'number' ? leaseDurationSeconds * 1000 : 0,
    acquireTime,
    renewTime,
    object,
  }
}

/** `MicroTime` of the API: RFC 3339 with six digits of a second. */
const microTime = (): string => new Date().toISOString().replace(/Z$/, '000Z')

/** Waits, at most until the signal. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
