import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { Unavailable } from '../core/ports.ts'
import { asking } from './redis-asking.ts'
import { createMembers, type Member } from './redis-cluster-members.ts'
import { seedViews } from './redis-cluster-seeds.ts'
import { readView, type SeenNode } from './redis-cluster-view.ts'
import { RedisRefusal } from './redis-fault.ts'
import { type RedisServer, told } from './redis-finder.ts'
import { linkTo, type RedisLink } from './redis-link.ts'
import { type ClusterPlace, entryOptions, readServer } from './redis-options.ts'
import { slotOf } from './redis-slot.ts'
import { StateRefused } from './state-refused.ts'

/** Milliseconds, more or less, between two looks after what stands still. */
const tendMs = 250
const longestSeedMs = 1000
/** How often a command is sent elsewhere, or again, before it is given up; with the pauses, less than a command may take. */
const mostTurns = 6
const pauseMs = 50

export interface ClusterEvents {
  /** A key in whose slot all is that is not labels. */
  readonly home: string
  /** As RedisLinkEvents.invalidated, from whichever server. */
  readonly invalidated: (keys: readonly string[] | null) => void
  /** A session began: changes of labels may have been missed, and where it is the one of `home`, changes of anything. */
  readonly restored: (whole: boolean) => void
  /** Slots are somewhere else: changes of labels may have been missed. */
  readonly moved: () => void
  /** What is not labels may have changed: while its slot is moved nobody tells of it. */
  readonly homeMoving: () => void
  /** A key was read whose slot is being moved: what was read must not be kept. Called before the reader has it. */
  readonly unkept: (key: string) => void
  /** Reads at the server of `home`, so that those keys are tracked. */
  readonly prepare: (redis: Redis) => Promise<unknown>
  readonly onFault?: ((fault: string | undefined) => void) | undefined
}

/**
 * A Redis Cluster: a link to each primary, and keys by their slot. Every beat of a link asks its server for CLUSTER NODES, so
 * that a slot that moves, or a primary that was replaced, is noticed though nobody reads.
 *
 * What is heard of a slot is what its server tells, which proves with each beat that it still has it, and reaches most of the
 * others. While a slot is moved, nothing of it is kept: a key that was missing is made at the new server, and the old one
 * never tells. Where a slot is elsewhere than before, all near copies of labels are dropped. Replicas are never read.
 *
 * An ACL user needs `+cluster|nodes +asking` beside what redis-link.ts names.
 * @throws {StateRefused} for a place that cannot be understood
 */
export function createClusterLink(place: ClusterPlace, events: ClusterEvents): RedisLink {
  const seeds = place.cluster.map(readServer)
  if (seeds.length === 0) throw new StateRefused('Redis Cluster: expected host:port of at least one node')
  const homeSlot = slotOf(events.home)
  let seedFault: string | undefined = 'Redis Cluster: not connected yet'
  let said: string | undefined
  /** The first attempts are over. */
  let begun = false
  /** The keys of `home` are tracked where they are. */
  let homeKnown = false
  let homeTurn = 0
  let attempts = 0
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const viewOf = async (redis: Redis, server: RedisServer) => readView(String(await redis.call('CLUSTER', 'NODES')), server, place.tls)
  const members = createMembers({
    open: (seen) => open(seen),
    view: (link, server) => link.run((redis) => viewOf(redis, server)),
    moved: (before, now) => {
      if (before.ownerOf(homeSlot)?.id !== now.ownerOf(homeSlot)?.id || before.nextOf(homeSlot)?.id !== now.nextOf(homeSlot)?.id) {
        homeKnown = false
        void trackHome()
      }
      if (before.primaries.length > 0) events.moved()
      tellFault()
    },
  })

  const fault = (): string | undefined => {
    const nodes = members.nodes()
    if (nodes.length === 0) return seedFault
    const faults = nodes.flatMap(({ id }) => members.get(id)?.link.fault() ?? [])
    return faults.length === 0 ? undefined : `Redis Cluster, ${faults.length} of ${nodes.length} primaries: ${faults.join('; ')}`
  }
  const tellFault = () => {
    if (!begun || closed) return
    const now = fault()
    if (now !== said) events.onFault?.(now)
    said = now
  }

  /** A link to a node, as the member that it is about to be. */
  function open(seen: SeenNode): RedisLink {
    const { id } = seen
    const server = { host: seen.host, port: seen.port }
    /** The keys of `home` were read as this session began. */
    let prepared = false
    const isHome = () => members.ownerOf(homeSlot)?.link === link
    const link = linkTo(
      { what: () => `Redis at ${told(server)}`, find: () => server, options: (found) => entryOptions(place, found) },
      {
        invalidated: events.invalidated,
        prepare: async (redis) => {
          prepared = false
          if (!isHome() || members.nextOf(homeSlot) !== undefined) return
          // Where they are not here any more, whoever has them says so below.
          prepared = await events.prepare(redis).then(
            () => true,
            () => false,
          )
        },
        prove: async (redis) => {
          const view = await viewOf(redis, server)
          if (members.get(id)?.link !== link) throw new Unavailable('it has no slots any more')
          // Before anything of it counts: the address may be that of another cluster by now.
          if (view.myself.id !== id) throw new Unavailable('it is another node than before')
          await members.hear(view)
          if (!view.myself.primary) throw new Unavailable('it is a replica: expected a primary')
          if (!view.quorate) throw new Unavailable('it does not reach most of the primaries, which may have replaced it')
        },
        restored: () => {
          const home = isHome()
          if (home) homeKnown = prepared
          events.restored(home)
          if (home && !prepared) void trackHome()
        },
        onFault: (now) => {
          if (now !== undefined && members.get(id)?.link === link) members.lost(id)
          tellFault()
        },
      },
      id,
      (prefix) => members.keyAt(id, prefix),
    )
    return link
  }

  /** Has the keys of `home` tracked where they are now. */
  async function trackHome(): Promise<void> {
    homeTurn += 1
    const turn = homeTurn
    const member = members.ownerOf(homeSlot)
    if (member === undefined || member.link.fault() !== undefined) return
    try {
      await run(events.prepare)
    } catch {
      // Asked again before long.
      return
    }
    if (turn !== homeTurn || members.ownerOf(homeSlot) !== member || closed) return
    homeKnown = true
    events.restored(true)
  }

  async function seed(): Promise<void> {
    const found = await seedViews(place, seeds, members.map().primaries)
    if (closed || !members.silent()) return
    seedFault = found.fault
    members.learn(found.views)
    tellFault()
  }

  const tend = async (): Promise<void> => {
    if (members.silent()) {
      await seed()
      attempts += 1
    } else attempts = 0
    if (closed) return
    if (!homeKnown) void trackHome()
    if (members.nextOf(homeSlot) !== undefined) events.homeMoving()
    timer = setTimeout(() => void tend(), Math.min(longestSeedMs, tendMs * 2 ** attempts) * (0.5 + Math.random() / 2))
    timer.unref()
  }

  const run = async <T>(commands: (redis: Redis) => Promise<T>, key?: string): Promise<T> => {
    const slot = key === undefined ? homeSlot : slotOf(key)
    for (let turn = 1; ; turn++) {
      const owner = members.ownerOf(slot)
      if (owner === undefined) throw new Unavailable(fault() ?? `no primary of Redis Cluster has slot ${slot}`)
      try {
        const result = await owner.link.run(commands)
        if (key !== undefined && members.nextOf(slot) !== undefined) events.unkept(key)
        return result
      } catch (error) {
        if (!(error instanceof RedisRefusal) || turn > mostTurns) throw error
        if (error.code === 'MOVED') {
          await members.look(owner)
          const now = members.ownerOf(slot)
          if (now === owner) await sleep(pauseMs)
          else await now?.started
        } else if (error.code === 'ASK') {
          const asked = await askNext(owner, slot, commands)
          if (asked === undefined) continue
          if (key !== undefined) events.unkept(key)
          return asked.result
        } else if (error.code === 'TRYAGAIN') await sleep(pauseMs)
        else throw error
      }
    }
  }

  /** @returns undefined where it is to be asked anew from the beginning */
  async function askNext<T>(owner: Member, slot: number, commands: (redis: Redis) => Promise<T>) {
    if (members.nextOf(slot) === undefined) await members.look(owner)
    const next = members.nextOf(slot)
    if (next === undefined) return undefined
    await next.started
    try {
      return { result: await next.link.run((redis) => commands(asking(redis))) }
    } catch (error) {
      if (!(error instanceof RedisRefusal) || !['MOVED', 'ASK', 'TRYAGAIN'].includes(error.code)) throw error
      await members.look(owner)
      await sleep(pauseMs)
      return undefined
    }
  }

  const slotAt = (key: string | undefined) => (key === undefined ? homeSlot : slotOf(key))
  return {
    start: async () => {
      await seed()
      await Promise.all(members.all().map(({ started }) => started))
      begun = true
      tellFault()
      void tend()
    },
    run,
    nodes: members.nodes,
    layout: members.layout,
    survey: async () => {
      await Promise.all(members.all().map(members.look))
      return members.layout()
    },
    nodesOf: (key) => {
      const slot = slotAt(key)
      return [members.ownerOf(slot), members.nextOf(slot)].flatMap((member) => member?.node ?? [])
    },
    heardAt: (key) => {
      if (key === undefined && !homeKnown) return Number.NEGATIVE_INFINITY
      return members.ownerOf(slotAt(key))?.link.heardAt() ?? Number.NEGATIVE_INFINITY
    },
    fault,
    close: async () => {
      closed = true
      clearTimeout(timer)
      await members.close()
    },
  }
}
