import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { Unavailable } from '../core/ports.ts'
import { asking } from './redis-asking.ts'
import { seedViews } from './redis-cluster-seeds.ts'
import { type ClusterView, mapOf, readView, type SeenNode } from './redis-cluster-view.ts'
import { RedisRefusal } from './redis-fault.ts'
import { type RedisServer, told } from './redis-finder.ts'
import { linkTo, type RedisLink, type RedisNode } from './redis-link.ts'
import { type ClusterPlace, entryOptions, readServer } from './redis-options.ts'
import { slotOf } from './redis-slot.ts'
import { StateRefused } from './state-refused.ts'

/** Milliseconds, more or less, between two looks after what stands still. */
const tendMs = 250
const longestSeedMs = 1000
/** How often a command is sent elsewhere, or again, before it is given up; with the pauses, less than a command may take. */
const mostTurns = 6
const pauseMs = 50
/** Milliseconds that nodes have to say that they were given a slot. */
const gatherMs = 100

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

/** A primary, or a node that is being given slots. */
interface Member {
  readonly seen: SeenNode
  readonly link: RedisLink
  readonly node: RedisNode
  readonly started: Promise<void>
  looking: Promise<unknown> | undefined
  /** The keys of `home` were read in this session. */
  prepared: boolean
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
  const members = new Map<string, Member>()
  /** What the servers of living sessions say. */
  const views = new Map<string, ClusterView>()
  let map = mapOf([])
  let layout = 0
  let nodes: readonly RedisNode[] = []
  let known: readonly RedisServer[] = []
  let seedFault: string | undefined = 'Redis Cluster: not connected yet'
  let said: string | undefined
  /** The first attempts are over. */
  let begun = false
  let homeKnown = false
  let homeTurn = 0
  let gathering: Promise<unknown> | undefined
  let attempts = 0
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const memberOf = (slot: number): Member | undefined => {
    const owner = map.ownerOf(slot)
    return owner && members.get(owner.id)
  }
  const fault = (): string | undefined => {
    if (map.primaries.length === 0) return seedFault
    const faults = nodes.flatMap(({ id }) => members.get(id)?.link.fault() ?? [])
    return faults.length === 0 ? undefined : `Redis Cluster, ${faults.length} of ${nodes.length} primaries: ${faults.join('; ')}`
  }
  const tellFault = () => {
    if (!begun) return
    const now = fault()
    if (now !== said && !closed) events.onFault?.(now)
    said = now
  }

  function join(seen: SeenNode): Member {
    const { id } = seen
    const server = { host: seen.host, port: seen.port }
    const link = linkTo(
      { what: () => `Redis at ${told(server)}`, find: () => server, options: (found) => entryOptions(place, found) },
      {
        invalidated: events.invalidated,
        prepare: async (redis) => {
          member.prepared = false
          if (memberOf(homeSlot) !== member) return
          await events.prepare(redis)
          member.prepared = true
        },
        prove: async (redis) => {
          const view = readView(String(await redis.call('CLUSTER', 'NODES')), server, place.tls)
          if (members.get(id) !== member) throw new Unavailable('it has no slots any more')
          await hear(view)
          if (view.myself.id !== id) throw new Unavailable('it is another node of the cluster than before')
          if (!view.myself.primary) throw new Unavailable('it is a replica: expected a primary')
          if (!view.quorate) throw new Unavailable('it does not reach most of the primaries, which may have replaced it')
        },
        restored: () => {
          const home = memberOf(homeSlot) === member
          if (home) homeKnown = member.prepared
          events.restored(home)
          if (home && !homeKnown) void trackHome()
        },
        onFault: (now) => {
          if (now !== undefined && members.get(id) === member && views.delete(id)) redraw(views.values())
          tellFault()
        },
      },
      id,
      (prefix) => keyAt(id, prefix),
    )
    const [node] = link.nodes() as [RedisNode]
    let begin!: () => void
    const started = new Promise<void>((go) => {
      begin = go
    })
    const member: Member = { seen, link, node, started, looking: undefined, prepared: false }
    members.set(id, member)
    link.start().then(begin, begin)
    return member
  }

  /** A key that begins like this, in a slot of that node that stays there. */
  function keyAt(id: string, prefix: string): string {
    for (let i = 0; i < 1_000_000; i++) {
      const key = `${prefix}:{${i}}`
      const slot = slotOf(key)
      if (map.ownerOf(slot)?.id === id && map.nextOf(slot) === undefined) return key
    }
    throw new Unavailable('a primary of Redis Cluster has no slot that stays with it')
  }

  /** Takes what a node says of itself and of the others. */
  async function hear(view: ClusterView): Promise<void> {
    const { id } = view.myself
    if (views.get(id)?.signature === view.signature) return
    if (view.quorate) views.set(id, view)
    else if (!views.delete(id)) return
    if (gathering !== undefined) return
    // A node gave slots away: who has them now says so when it is asked, and so long what was known holds.
    if (mapOf(views.values()).unowned > map.unowned) await gather(id)
    redraw(views.values())
  }

  /** Asks all others for their views. */
  function gather(but?: string): Promise<unknown> {
    const all = async () => {
      try {
        // One that hangs must not keep what the others say.
        await Promise.race([
          Promise.allSettled([...members.values()].filter(({ seen }) => seen.id !== but).map(look)),
          sleep(gatherMs, undefined, { ref: false }),
        ])
      } finally {
        gathering = undefined
        redraw(views.values())
      }
    }
    gathering ??= all()
    return gathering
  }

  function redraw(from: Iterable<ClusterView>): void {
    const next = mapOf(from)
    // Nobody knows: what was known stays, and is distrusted as its sessions end.
    if (closed || next.primaries.length === 0) return
    const before = map
    map = next
    known = [...next.primaries]
    const wanted = new Map(next.primaries.map((node) => [node.id, node]))
    for (const slot of next.moving) {
      const to = next.nextOf(slot)
      if (to) wanted.set(to.id, to)
    }
    for (const [id, { seen, link }] of members) {
      const now = wanted.get(id)
      if (now?.host === seen.host && now.port === seen.port) continue
      members.delete(id)
      views.delete(id)
      void link.close()
    }
    for (const [id, node] of wanted) if (!members.has(id)) join(node)
    nodes = next.primaries.flatMap(({ id }) => members.get(id)?.node ?? [])
    if (before.signature !== next.signature) {
      layout += 1
      if (before.ownerOf(homeSlot)?.id !== next.ownerOf(homeSlot)?.id || before.nextOf(homeSlot)?.id !== next.nextOf(homeSlot)?.id) {
        homeKnown = false
        void trackHome()
      }
      if (before.primaries.length > 0) events.moved()
    }
    tellFault()
  }

  /** Has the keys of `home` tracked where they are now. */
  async function trackHome(): Promise<void> {
    homeTurn += 1
    const turn = homeTurn
    const member = memberOf(homeSlot)
    if (member === undefined || member.link.fault() !== undefined) return
    try {
      await run(events.prepare)
    } catch {
      // Asked again before long.
      return
    }
    if (turn !== homeTurn || memberOf(homeSlot) !== member || closed) return
    homeKnown = true
    events.restored(true)
  }

  async function seed(): Promise<void> {
    const found = await seedViews(place, [...seeds, ...known])
    if (closed || views.size > 0) return
    seedFault = found.fault
    redraw(found.views)
    tellFault()
  }

  const tend = async (): Promise<void> => {
    if (views.size === 0) {
      await seed()
      attempts += 1
    } else attempts = 0
    if (closed) return
    if (!homeKnown) void trackHome()
    if (map.nextOf(homeSlot) !== undefined) events.homeMoving()
    timer = setTimeout(() => void tend(), Math.min(longestSeedMs, tendMs * 2 ** attempts) * (0.5 + Math.random() / 2))
    timer.unref()
  }

  /** Asks a server for its view, once for all who want to know. */
  function look(member: Member): Promise<unknown> {
    const once = async () => {
      try {
        const reply = await member.link.run((redis) => redis.call('CLUSTER', 'NODES'))
        if (members.get(member.seen.id) === member) await hear(readView(String(reply), member.seen, place.tls))
      } finally {
        member.looking = undefined
      }
    }
    member.looking ??= once()
    return member.looking
  }

  const run = async <T>(commands: (redis: Redis) => Promise<T>, key?: string): Promise<T> => {
    const slot = key === undefined ? homeSlot : slotOf(key)
    for (let turn = 1; ; turn++) {
      const owner = memberOf(slot)
      if (owner === undefined) throw new Unavailable(fault() ?? `no primary of Redis Cluster has slot ${slot}`)
      try {
        const result = await owner.link.run(commands)
        if (key !== undefined && map.nextOf(slot) !== undefined) events.unkept(key)
        return result
      } catch (error) {
        if (!(error instanceof RedisRefusal) || turn > mostTurns) throw error
        if (error.code === 'MOVED') {
          await look(owner)
          const now = memberOf(slot)
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
    if (map.nextOf(slot) === undefined) await look(owner)
    const next = map.nextOf(slot)
    const member = next && members.get(next.id)
    if (member === undefined) return undefined
    await member.started
    try {
      return { result: await member.link.run((redis) => commands(asking(redis))) }
    } catch (error) {
      if (!(error instanceof RedisRefusal) || !['MOVED', 'ASK', 'TRYAGAIN'].includes(error.code)) throw error
      await look(owner)
      await sleep(pauseMs)
      return undefined
    }
  }

  return {
    start: async () => {
      await seed()
      await Promise.all([...members.values()].map(({ started }) => started))
      begun = true
      tellFault()
      void tend()
    },
    run,
    nodes: () => nodes,
    layout: () => layout,
    survey: async () => {
      await Promise.all([...members.values()].map(look))
      return layout
    },
    nodesOf: (key) => {
      const slot = key === undefined ? homeSlot : slotOf(key)
      return [map.ownerOf(slot), map.nextOf(slot)].flatMap((seen) => (seen && members.get(seen.id)?.node) ?? [])
    },
    heardAt: (key) => {
      if (key === undefined && !homeKnown) return Number.NEGATIVE_INFINITY
      return memberOf(key === undefined ? homeSlot : slotOf(key))?.link.heardAt() ?? Number.NEGATIVE_INFINITY
    },
    fault,
    close: async () => {
      closed = true
      clearTimeout(timer)
      await Promise.all([...members.values()].map(({ link }) => link.close()))
    },
  }
}
