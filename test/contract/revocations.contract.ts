import { deepEqual, equal } from 'node:assert/strict'
import { openRevocationList } from '../../src/adapters/revocation-list.ts'
import { type Revocation, revocationLevels, type State } from '../../src/core/ports.ts'
import { until } from '../support/until.ts'

const now = () => Math.floor(Date.now() / 1000)
const soon = 1000
const entry = (more: Partial<Revocation>): Revocation => ({ level: 'token', target: 'x', at: now(), until: now() + 600, ...more })

/** What every driver must do with revocations of all levels, and with lifts. */
export function revocationsContract(open: (realm: string) => Promise<State>): void {
  it('lists every level, and lifts beside them, as they were appended', async () => {
    const [one, two] = [await open('levels'), await open('levels')]
    const at = now() - 5
    const all = revocationLevels.flatMap((level) => [entry({ level, at }), entry({ level, at, until: now() + 700, lifted: true })])
    for (const revocation of all) await one.revocations.append(revocation)
    for (const state of [one, two]) deepEqual((await state.revocations.list()).entries, all)
  })

  it('keeps targets as they are', async () => {
    const { revocations } = await open('targets')
    const targets = ['', ' ', 'a\0b', 'é', 'e\u0301', '😀', '"\'\\', 'a\nb', 'x'.repeat(2048), 'SUBJECT', 'subject', 'lift:subject']
    // Names that a driver may use for itself.
    targets.push('level', 'target', 'at', 'until', 'token', '__proto__', '*', 'NaN')
    const entries = targets.flatMap((target) => [entry({ level: 'subject', target }), entry({ level: 'subject', target, lifted: true })])
    for (const one of entries) await revocations.append(one)
    deepEqual((await revocations.list()).entries, entries)
  })

  it('has a lift in force on another handle within a second, and a revocation after it', async () => {
    const [one, two] = [await open('lifts'), await open('lifts')]
    const list = async ({ revocations, feed }: State) =>
      openRevocationList({ store: revocations, feed, maxStalenessMs: 5000, standing: () => true })
    const [mine, other] = [await list(one), await list(two)]
    const at = now()
    const check = () => other.check({ validator: 'keys', subject: 'alice', issuedAt: 0 }, Date.now())
    try {
      for (let round = 0; round < 3; round++) {
        await mine.revoke(entry({ level: 'subject', target: 'alice', at: at + round }))
        await until('the revocation', () => check() === 'revoked', soon)
        await mine.revoke(entry({ level: 'subject', target: 'alice', at: at + round + 1, lifted: true }))
        await until('the lift', () => check() === 'clear', soon)
        deepEqual(await other.known('subject', 'alice'), {
          at: at + round,
          until: (await mine.known('subject', 'alice'))?.until,
          lifted: true,
        })
      }
      await one.revocations.append(entry({ level: 'subject', target: 'bob' }))
      // Whoever asks what is known is told of what this replica has not heard yet.
      equal((await other.known('subject', 'bob'))?.lifted, false)
    } finally {
      mine.close()
      other.close()
    }
  })
}
