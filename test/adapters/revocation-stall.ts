import { equal, ok } from 'node:assert/strict'
import { openRevocationList } from '../../src/adapters/revocation-list.ts'
import type { State } from '../../src/core/ports.ts'
import { until } from '../support/until.ts'

/** Watches for how long, at most, nothing else had its turn. @returns ends the watch; milliseconds */
function watchTurns(): () => number {
  let longest = 0
  let last = performance.now()
  let over = false
  const turn = () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
    if (!over) setImmediate(turn)
  }
  setImmediate(turn)
  return () => {
    over = true
    return Math.max(longest, performance.now() - last)
  }
}

/**
 * A list over a state that holds 50,000 revocations takes up one more; that must hold up the thread for less than 5 ms.
 * The best of up to 40 rounds counts, for a busy machine holds up threads by itself.
 */
export async function holdsUpFor(state: State): Promise<void> {
  const starting = watchTurns()
  const list = await openRevocationList({ store: state.revocations, feed: state.feed, maxStalenessMs: 5000 })
  const start = starting()
  try {
    equal(list.size(), 50_000)
    const rounds: number[] = []
    for (let round = 1; round <= 5 || (round <= 40 && Math.min(...rounds) >= 5); round++) {
      const watched = watchTurns()
      await state.revocations.append({ level: 'token', target: `more-${round}`, at: 1, until: 99_999_999_999 })
      await until('the one more', () => list.size() === 50_000 + round, 2000)
      rounds.push(watched())
    }
    const best = Math.min(...rounds)
    console.log(`      50,000 read with turns of ${start.toFixed(1)} ms at most; one more: ${best.toFixed(1)} ms`)
    ok(best < 5, `the thread was held up for ${rounds.map((ms) => ms.toFixed(1)).join(', ')} ms`)
  } finally {
    list.close()
  }
}
