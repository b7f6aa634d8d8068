import { Unavailable } from '../core/ports.ts'
import type { RedisServer } from './redis-finder.ts'
import { slots } from './redis-slot.ts'

/** A node, as one of the nodes sees it. */
export interface SeenNode extends RedisServer {
  readonly id: string
  readonly primary: boolean
  /** That node has not heard of it lately (`fail?`), or most have not (`fail`). */
  readonly failing: boolean
  /** `config-epoch`: of two that claim a slot, the higher one has it. */
  readonly epoch: number
  /** First and last slot of each range that it serves. */
  readonly ranges: readonly (readonly [from: number, to: number])[]
}

/** What one node of a cluster says of all of them. */
export interface ClusterView {
  readonly myself: SeenNode
  readonly nodes: readonly SeenNode[]
  /** Slots that it is giving to another node, by their number: the id of that node. */
  readonly moving: ReadonlyMap<number, string>
  /** It reaches most of the primaries: else it stops answering, since the others may have replaced it. */
  readonly quorate: boolean
  /** The same while nothing of all that changed. */
  readonly signature: string
}

/**
 * Reads the reply of CLUSTER NODES (https://redis.io/docs/latest/commands/cluster-nodes/).
 * @param asked where it was asked: nodes do not always know their own address
 * @param byName hosts are called by the name that they announce, where they do: certificates name those
 * @throws {Unavailable} where that cannot be understood
 */
export function readView(text: string, asked: RedisServer, byName: boolean): ClusterView {
  const nodes: SeenNode[] = []
  const moving = new Map<number, string>()
  let myself: SeenNode | undefined
  const signs: string[] = []
  for (const line of text.split('\n')) {
    if (line === '') continue
    const [id, address, flagged, primary, , , epoch, , ...owned] = line.trim().split(' ')
    const flags = flagged?.split(',') ?? []
    // `ip:port@cport`, `ip:port@cport,hostname`, and more after further commas since 7.2.
    const match = /^(.*):(\d+)(?:@\d+)?(?:,([^,]*))?(?:,.*)?$/.exec(address ?? '')
    if (id === undefined || match === null || epoch === undefined) throw new Unavailable('the reply of CLUSTER NODES cannot be understood')
    if (flags.includes('noaddr') || flags.includes('handshake')) continue
    const own = flags.includes('myself')
    const [, ip = '', port, name = ''] = match
    const ranges: [number, number][] = []
    for (const part of owned) {
      const move = /^\[(\d+)->-([^\]]+)\]$/.exec(part)
      if (move !== null) moving.set(Number(move[1]), move[2]!)
      const range = /^(\d+)(?:-(\d+))?$/.exec(part)
      if (range !== null) ranges.push([Number(range[1]), Number(range[2] ?? range[1])])
    }
    const node: SeenNode = {
      id,
      host: (byName && name !== '' && name !== '?' ? name : ip.replace(/^\[|\]$/g, '')) || asked.host,
      port: Number(port) || asked.port,
      primary: flags.includes('master'),
      failing: flags.includes('fail') || flags.includes('fail?'),
      epoch: Number(epoch),
      ranges,
    }
    nodes.push(node)
    if (own) myself = node
    signs.push([id, node.host, node.port, node.primary, node.failing, primary, epoch, owned.join(' ')].join())
  }
  if (myself === undefined) throw new Unavailable('the reply of CLUSTER NODES names no node as itself')
  const voting = nodes.filter(({ primary, ranges }) => primary && ranges.length > 0)
  const reached = voting.filter(({ failing }) => !failing).length
  return { myself, nodes, moving, quorate: reached > Math.floor(voting.length / 2), signature: signs.sort().join('\n') }
}

/** Who has which slot. */
export interface SlotMap {
  /** Primaries with slots, by id, in order. */
  readonly primaries: readonly SeenNode[]
  /** The primary that has a slot; undefined: none has. */
  readonly ownerOf: (slot: number) => SeenNode | undefined
  /** The node that a slot is being moved to. */
  readonly nextOf: (slot: number) => SeenNode | undefined
  /** How many slots no node has. */
  readonly unowned: number
  /** Slots that are being moved. */
  readonly moving: readonly number[]
  /** The same while every slot is where it was. */
  readonly signature: string
}

/**
 * Puts the views of several nodes together. What a node says of itself counts, and what others say only of nodes that were not
 * asked; of several that claim a slot, the one of the highest epoch has it, as among the nodes themselves.
 */
export function mapOf(views: Iterable<ClusterView>): SlotMap {
  const nodes = new Map<string, SeenNode>()
  const own = new Map<string, ClusterView>()
  for (const view of views) own.set(view.myself.id, view)
  for (const view of own.values())
    for (const node of view.nodes) {
      const known = nodes.get(node.id)
      if (known === undefined || node.epoch > known.epoch) nodes.set(node.id, node)
    }
  for (const [id, { myself }] of own) nodes.set(id, myself)
  // Painted from the lowest epoch to the highest.
  const claiming = [...nodes.values()].filter(({ primary, ranges }) => primary && ranges.length > 0)
  claiming.sort((a, b) => a.epoch - b.epoch || (a.id < b.id ? -1 : 1))
  const owners = new Uint16Array(slots)
  for (const [i, { ranges }] of claiming.entries()) for (const [from, to] of ranges) owners.fill(i + 1, from, to + 1)
  const ownerOf = (slot: number) => claiming[owners[slot]! - 1]
  const next = new Map<number, SeenNode>()
  for (const [id, { moving }] of own)
    for (const [slot, target] of moving) {
      const to = nodes.get(target)
      if (to !== undefined && ownerOf(slot)?.id === id) next.set(slot, to)
    }
  const having = new Set(owners)
  const unowned = having.has(0) ? owners.filter((owner) => owner === 0).length : 0
  const primaries = claiming.filter((_, i) => having.has(i + 1)).sort((a, b) => (a.id < b.id ? -1 : 1))
  const moving = [...next.keys()].sort((a, b) => a - b)
  // Runs of one owner: who, and from where on.
  const runs: string[] = []
  for (let slot = 0, last = -1; slot < slots; slot++) {
    if (owners[slot] === last) continue
    last = owners[slot]!
    runs.push(`${slot} ${ownerOf(slot)?.id ?? '-'}`)
  }
  const moves = moving.map((slot) => `${slot} ${next.get(slot)?.id}`)
  return { primaries, ownerOf, nextOf: (slot) => next.get(slot), unowned, moving, signature: [...runs, '', ...moves].join('\n') }
}
