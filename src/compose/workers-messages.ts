import type { MetricsSnapshot } from '../adapters/metrics-sum.ts'

/** What the primary tells a worker. A `connection` comes with its socket. */
export type ToWorker =
  /** The first message: what the worker's policy must agree with (`unchangingOf`), and what makes its fingerprints those of all. */
  | { readonly kind: 'begin'; readonly unchanging: string; readonly fingerprintKey: string }
  | { readonly kind: 'connection'; readonly id: number }
  | { readonly kind: 'metrics'; readonly id: number }
  /** Answer with a `pong`. */
  | { readonly kind: 'ping' }
  /** Look at the policy's files now. */
  | { readonly kind: 'reload' }
  /** Serve out what is in flight, and end. */
  | { readonly kind: 'drain' }

/** What a worker tells the primary. */
export type ToPrimary =
  | { readonly kind: 'serving' }
  /** It will not start, as StartRefused says it. */
  | { readonly kind: 'refused'; readonly sentences: readonly string[]; readonly fault: 'policy' | 'environment' }
  /** The revision of a realm that is in force there. */
  | { readonly kind: 'policy'; readonly realm: string; readonly revision: string }
  | { readonly kind: 'pong' }
  /** It has the socket, and the primary may let go of its own copy. */
  | { readonly kind: 'taken'; readonly id: number }
  | { readonly kind: 'closed'; readonly id: number }
  | { readonly kind: 'metrics'; readonly id: number; readonly snapshot: MetricsSnapshot }
