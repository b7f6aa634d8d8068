/** A service that is up. */
export interface Service {
  /** Looks at the policy's files at once, in every process, and not at the next turn of the watch. */
  readonly reload: () => void
  /** Drains: health says NOT_SERVING, calls in flight end, then everything closes, in reverse order. Bounded; safe to call twice. */
  readonly close: () => Promise<void>
}
