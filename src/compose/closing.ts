/** What has been opened, to be closed in reverse order: once, whoever asks how often. */
export interface Closing {
  readonly add: (end: () => unknown) => void
  /** Whether closing has begun. */
  readonly begun: () => boolean
  readonly close: () => Promise<void>
}

/** @param around told when closing begins, and when all is closed */
export function createClosing(around: { readonly begins: () => void; readonly ends: () => void }): Closing {
  const ends: (() => unknown)[] = []
  let closed: Promise<void> | undefined
  const closeAll = async (): Promise<void> => {
    around.begins()
    for (const end of ends.splice(0).reverse()) await end()
    around.ends()
  }
  return {
    add: (end) => void ends.push(end),
    begun: () => closed !== undefined,
    close: () => {
      closed ??= closeAll()
      return closed
    },
  }
}
