import { setTimeout as sleep } from 'node:timers/promises'
import { Unavailable } from '../core/ports.ts'
import { type ClusterView, mapOf, type SeenNode, type SlotMap } from './redis-cluster-view.ts'
import type { RedisServer } from './redis-finder.ts'
import type { RedisLink, RedisNode } from './redis-link.ts'
import { slotOf } from './redis-slot.ts'

/** Milliseconds that nodes have to say that they were given a slot. */
const gatherMs = 100

/** A primary, or a node that is being given slots. */
export interface Member {
  readonly seen: SeenNode
  readonly link: RedisLink
  readonly node: RedisNode
  /** Resolves after the first attempt to connect. */
  readonly started: Promise<void>
}

/** The members of a cluster, and who has which slot. */
export interface Members {
  readonly map: () => SlotMap
  /** The primary that has a slot. */
  readonly ownerOf: (slot: number) => Member | undefined
  /** The node that a slot is being moved to. */
  readonly nextOf: (slot: number) => Member | undefined
  readonly get: (id: string) => Member | undefined
  readonly all: () => readonly Member[]
  /** Primaries with slots, in a fixed order. */
  readonly nodes: () => readonly RedisNode[]
  /** As RedisLink.layout. */
  readonly layout: () => number
  /** A key that begins like this, in a slot of that node that stays there. @throws {Unavailable} */
  readonly keyAt: (id: string, prefix: string) => string
  /** Takes what a node says of itself and of the others. Resolves when the map says what follows. */
  readonly hear: (view: ClusterView) => Promise<void>
  /** Asks a node for its view, once for all who want to know. @throws {Unavailable} */
  readonly look: (member: Member) => Promise<void>
  /** What a node said is not known to hold any more. */
  readonly lost: (id: string) => void
  /** No node of a living session says anything. */
  readonly silent: () => boolean
  /** Takes what was said by nodes that are not members. */
  readonly learn: (found: readonly ClusterView[]) => void
  readonly close: () => Promise<void>
}

export interface MembersNeeds {
  /** A link to a node; it is started here. */
  readonly open: (seen: SeenNode) => RedisLink
  /** Asks a node. @throws {Unavailable} */
  readonly view: (link: RedisLink, server: RedisServer) => Promise<ClusterView>
  /** Told of each map that is another than before. */
  readonly moved: (before: SlotMap, now: SlotMap) => void
}

/** Nobody is one, until something is learned. */
export function createMembers(needs: MembersNeeds): Members {
  const members = new Map<string, Member>()
  /** What the servers of living sessions say. */
  const views = new Map<string, ClusterView>()
  const looking = new Map<Member, Promise<void>>()
  /** What `keyAt` found in this map: the search takes long where a node has few slots, or none. */
  const keys = new Map<string, string | undefined>()
  let map = mapOf([])
  let layout = 0
  let nodes: readonly RedisNode[] = []
  let gathering: Promise<void> | undefined
  let closed = false

  function join(seen: SeenNode): void {
    const link = needs.open(seen)
    const [node] = link.nodes() as [RedisNode]
    let begin!: () => void
    const started = new Promise<void>((go) => {
      begin = go
    })
    members.set(seen.id, { seen, link, node, started })
    link.start().then(begin, begin)
  }

  function redraw(from: Iterable<ClusterView>): void {
    const next = mapOf(from)
    // Nobody knows: what was known stays, and is distrusted as its sessions end.
    if (closed || next.primaries.length === 0) return
    const before = map
    map = next
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
    if (before.signature === next.signature) return
    layout += 1
    keys.clear()
    needs.moved(before, next)
  }

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
  function gather(but: string): Promise<void> {
    const all = async () => {
      try {
        const others = [...members.values()].filter(({ seen }) => seen.id !== but)
        // One that hangs must not keep what the others say.
        await Promise.race([Promise.allSettled(others.map(look)), sleep(gatherMs, undefined, { ref: false })])
      } finally {
        gathering = undefined
        redraw(views.values())
      }
    }
    gathering ??= all()
    return gathering
  }

  function look(member: Member): Promise<void> {
    const underWay = looking.get(member)
    if (underWay !== undefined) return underWay
    const once = async () => {
      try {
        const view = await needs.view(member.link, member.seen)
        if (members.get(member.seen.id) === member && view.myself.id === member.seen.id) await hear(view)
      } finally {
        looking.delete(member)
      }
    }
    const made = once()
    looking.set(member, made)
    return made
  }

  function searchKey(id: string, prefix: string): string | undefined {
    // One that is being given its first slot has none.
    if (!map.primaries.some((node) => node.id === id)) return undefined
    for (let i = 0; i < 1_000_000; i++) {
      const key = `${prefix}:{${i}}`
      const slot = slotOf(key)
      if (map.ownerOf(slot)?.id === id && map.nextOf(slot) === undefined) return key
    }
    return undefined
  }

  const get = (seen: SeenNode | undefined) => seen && members.get(seen.id)
  return {
    map: () => map,
    ownerOf: (slot) => get(map.ownerOf(slot)),
    nextOf: (slot) => get(map.nextOf(slot)),
    get: (id) => members.get(id),
    all: () => [...members.values()],
    nodes: () => nodes,
    layout: () => layout,
    keyAt: (id, prefix) => {
      const begins = `${id} ${prefix}`
      if (!keys.has(begins)) keys.set(begins, searchKey(id, prefix))
      const key = keys.get(begins)
      if (key === undefined) throw new Unavailable('a primary of Redis Cluster has no slot that stays with it')
      return key
    },
    hear,
    look,
    lost: (id) => {
      if (views.delete(id)) redraw(views.values())
    },
    silent: () => views.size === 0,
    learn: redraw,
    close: async () => {
      closed = true
      await Promise.all([...members.values()].map(({ link }) => link.close()))
    },
  }
}
