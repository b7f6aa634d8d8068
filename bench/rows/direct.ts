import type { Peer, Running, StartOptions } from '../peer.ts'
import { job } from '../policy.ts'
import { type PosternOptions, startPostern } from '../postern.ts'
import type { Group, Messages, Row, Started } from '../row.ts'
import { fillWith, type GrpcTraffic, grpcTraffic } from '../traffic.ts'

/** What every row says of itself. */
interface Named {
  readonly id: string
  readonly group: Group
  readonly title: string
  readonly reference?: true
}

type Traffic = (messages: Messages) => GrpcTraffic

/** The captured request, over and over. */
export const captured: Traffic = ({ allowed }) => ({ messages: allowed, single: true })

/** A sandbox that nobody owns. */
export const denied: Traffic = ({ denied: messages }) => ({ messages, single: true, expect: 'deny' })

/** The captured request for numbered sandboxes: at random, or one after the other. */
export const numbered =
  (cardinality: number, order: 'random' | 'sequence'): Traffic =>
  ({ allowed }) => ({ messages: allowed, single: true, numbered: { cardinality, order } })

/** A row that asks a peer directly. */
export function peerRow(
  peer: Peer,
  { address, ...named }: Named & { readonly address: 'unix' | 'tcp' },
  more: Partial<StartOptions> = {},
): Row {
  return {
    ...named,
    ours: false,
    version: peer.version,
    peer,
    start: async ({ messages }, folder) => {
      const running = await peer.start({ address, folder, message: messages.allowed, ...more })
      return { ...running, run: grpcTraffic(running, captured(messages)) }
    },
  }
}

export interface PosternRow extends Named {
  readonly address: 'unix' | 'tcp'
  readonly options?: Partial<PosternOptions>
  /** What it is asked; the captured request unless said. */
  readonly traffic?: Traffic
  /** How many numbered sandboxes are asked for before the first turn, so that their labels are near. */
  readonly filled?: number
  readonly needs?: Row['needs']
  /** See Started. */
  readonly rest?: number
}

/** A row that asks Postern directly. */
export function posternRow({ address, options = {}, traffic = captured, filled = job.owners, needs, rest, ...named }: PosternRow): Row {
  return {
    ...named,
    ours: true,
    ...(needs === undefined ? {} : { needs }),
    start: async ({ build, messages }, folder) => {
      const running = await startPostern({ build, address, folder, ...options })
      return { ...posternStarted(running, messages, traffic, filled), ...(rest === undefined ? {} : { rest }) }
    },
  }
}

/** A Postern that is up, with its traffic and what is to be near before the first turn. */
export function posternStarted(running: Running, messages: Messages, traffic: Traffic, filled: number): Started {
  return {
    ...running,
    run: grpcTraffic(running, traffic(messages)),
    settle: async () => {
      if (filled > 0) await fillWith(running, numbered(filled, 'sequence')(messages), filled)
    },
  }
}
