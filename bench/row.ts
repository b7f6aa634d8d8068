import type { TokenMaker } from './callers.ts'
import type { Peer } from './peer.ts'
import type { Build } from './postern.ts'

/** How long a turn takes, in seconds. */
export interface Times {
  readonly warmup: number
  readonly seconds: number
}

/** Called at the instants where measuring begins and ends, while the load goes on. */
export interface Instants {
  readonly onBegin: () => void
  readonly onEnd: () => void
}

/** What the load generator saw in the time measured. */
export interface Load {
  readonly requests: number
  readonly failed: number
  /** Answered otherwise than the row expects. */
  readonly wrong: number
  readonly rate: number
  readonly latency_us: { readonly p50: number; readonly p90: number; readonly p99: number }
}

/** A row whose servers are up. */
export interface Started {
  /** All processes whose CPU time and memory count. */
  readonly pids: () => readonly number[]
  /** Those of them that are the authorizer's, where Envoy is before it. */
  readonly authorizer?: () => readonly number[]
  readonly run: (times: Times, instants: Instants) => Promise<Load>
  /** Seconds without load before resident memory is taken. */
  readonly rest?: number
  /** Once, before the first turn: fills caches that a turn shall find full. */
  readonly settle?: () => Promise<void>
  readonly stop: () => Promise<void>
}

/** What rows start their servers with. */
export interface Bench {
  readonly build: Build
  /** Binaries; absent where the rows chosen need none. */
  readonly envoy?: string
  readonly redis?: string
  readonly messages: Messages
  readonly tokens: TokenMaker
}

/** Files for the load generator, made for this run. */
export interface Messages {
  /** The captured request: one raw message. */
  readonly allowed: string
  /** As captured, for a sandbox that nobody owns: one raw message. */
  readonly denied: string
  /** Makes a file of the captured request with tokens in Authorization and none verified by Envoy. */
  readonly withTokens: (name: string, tokens: readonly string[]) => string
}

/** One line of the table. */
export interface Row {
  readonly id: string
  readonly group: Group
  readonly title: string
  readonly version?: string
  /** Postern, whose speed the table is about. */
  readonly ours: boolean
  /** What the other rows of the group are compared with: measured whenever one of them is. */
  readonly reference?: true
  /** The peer to build first; where that fails the row says why, and the others go on. */
  readonly peer?: Peer
  /** Programs that it needs beside Node. */
  readonly needs?: readonly ('envoy' | 'redis')[]
  /** @param folder an empty one of its own */
  readonly start: (bench: Bench, folder: string) => Promise<Started>
}

/** Rows of one group are alive together and take their turns in the same rounds. */
export const groups = {
  servers: 'The servers, asked directly',
  work: 'Postern at other work',
  size: 'What grows with the policy',
  labels: 'Owner labels',
  memory: 'Memory',
  envoy: 'Through Envoy, HTTP/1.1',
} as const

export type Group = keyof typeof groups
