/** What a test has started, to be stopped in reverse order. */
export interface Stops {
  /** Notes how to stop a thing, and gives the thing. */
  readonly started: <T extends { readonly stop: () => unknown }>(thing: T) => T
  readonly stop: () => Promise<void>
}

/** @param last runs after everything else has stopped */
export function createStops(last: () => unknown): Stops {
  const stops: (() => unknown)[] = [last]
  return {
    started: (thing) => {
      stops.push(thing.stop)
      return thing
    },
    stop: async () => {
      for (const one of stops.splice(0).reverse()) await one()
    },
  }
}
