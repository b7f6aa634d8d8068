/** What the runner knows of a server that is measured: how it is had, and how it is started. */

/** A server that answers `Check`. */
export interface Running {
  /** `unix:/path` or `host:port`. */
  readonly target: string
  /** Its processes: all whose CPU time counts. */
  readonly pids: () => readonly number[]
  /** Ends it, and resolves when it has ended. */
  readonly stop: () => Promise<void>
  /** A command prefix without which the target cannot be reached: it runs in a network namespace of its own. */
  readonly inside?: readonly string[]
}

export interface StartOptions {
  readonly address: 'unix' | 'tcp'
  /** An existing folder for sockets and generated files. */
  readonly folder: string
  /** The path of a raw CheckRequest, with `iat` and `exp` rewritten; it must be allowed. */
  readonly message: string
  /** Routes in its table; 50 unless said. */
  readonly routes?: number
  /** Resources in its memory whose owner is known; 10,000 unless said. */
  readonly owners?: number
}

export interface Peer {
  readonly name: string
  readonly version: string
  /**
   * Builds it, or finds what was built before.
   * @throws Error with one sentence where it cannot be had on this machine
   */
  readonly prepare: () => Promise<void>
  /** @returns when it answers */
  readonly start: (options: StartOptions) => Promise<Running>
}
