import { rotated } from '../statistics.ts'
import { hosts } from './envoys.ts'

export type Way = keyof typeof hosts
export const ways = Object.keys(hosts) as Way[]

/** Microseconds until the first byte, of the first and of the second request to each new sandbox. */
export interface Times {
  readonly first: readonly number[]
  readonly second: readonly number[]
}
export type Round = Readonly<Record<Way, Times>>

export interface MeasureOptions {
  readonly rounds: number
  /** New sandboxes of each way in a round. */
  readonly sandboxes: number
  /** Sandboxes of each way that are not counted. */
  readonly warmup: number
  /** Makes a sandbox with its labels; gives its id. */
  readonly make: () => Promise<string>
  /** Between rounds: forgets the sandboxes of the last one. */
  readonly forget: () => Promise<void>
  readonly ask: (host: string, path: string) => Promise<number>
  readonly said: (round: number) => void
}

/** Each way once for one sandbox after the other, in another order each time: what slows the machine slows all of them. */
export async function measure({ rounds, sandboxes, warmup, make, forget, ask, said }: MeasureOptions): Promise<Round[]> {
  const done: Round[] = []
  for (let round = 0; round <= rounds; round++) {
    const times: Record<Way, { first: number[]; second: number[] }> = {
      direct: { first: [], second: [] },
      hop: { first: [], second: [] },
      lookup: { first: [], second: [] },
    }
    for (let i = 0; i < (round === 0 ? warmup : sandboxes); i++) {
      for (const way of rotated(ways, i)) {
        const path = `/v1/sandboxes/${await make()}/run`
        times[way].first.push(await ask(hosts[way], path))
        times[way].second.push(await ask(hosts[way], path))
      }
    }
    if (round > 0) done.push(times)
    await forget()
    said(round)
  }
  return done
}
