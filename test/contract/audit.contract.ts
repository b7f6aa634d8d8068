import { deepEqual, equal, ok } from 'node:assert/strict'
import { startAuditRetention } from '../../src/adapters/audit-retention.ts'
import { createIds } from '../../src/adapters/ids.ts'
import type { SealedEvent } from '../../src/core/audit-chain.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import type { State } from '../../src/core/ports.ts'
import { linesOf, verifyTrail } from '../support/audit.ts'

const newId = createIds()
const event = (n: number, more: Partial<AuditEvent> = {}): AuditEvent => ({
  id: `event-${n}`,
  time: new Date(1_800_000_000_000 + n).toISOString(),
  type: 'owner_changed',
  outcome: 'success',
  realm: 'default',
  detail: { n, text: 'grüße ✓ "o\'clock"\n' },
  ...more,
})
const decision = (n: number, more: Partial<AuditEvent> = {}): AuditEvent =>
  event(n, { id: `decision-${n}`, type: 'decision', outcome: 'deny', ...more })
const parsed = (lines: readonly string[]): SealedEvent[] => lines.map((line) => JSON.parse(line) as SealedEvent)

const retention = (state: State, realm: string, lines: number, turn: number) =>
  startAuditRetention({
    audit: state.audit,
    claim: state.replays.claim,
    realm,
    kept: (log) => (log === 'decisions' ? { lines } : {}),
    signer: undefined,
    newId,
    // Each turn another interval, so that none has been claimed before.
    everyMs: 600_000 + turn,
    onCut: () => {},
    onFault: (cause) => {
      throw cause
    },
  })

/** What every driver must do with the audit trail. */
export function auditContract(open: (realm: string) => Promise<State>): void {
  it('chains each log from the first event that is written, and nothing before', async () => {
    const { audit } = await open('chain')
    deepEqual(audit.heads(), [])
    equal(await audit.size('events'), 0)
    await audit.commit(event(1))
    deepEqual(
      audit.heads().map(({ log, seq }) => [log, seq]),
      [['events', 2]],
    )
    for (let n = 2; n < 700; n++) audit.append(n % 2 === 0 ? event(n) : decision(n))
    await audit.commit(event(700))
    const [events, decisions] = [parsed(await linesOf(audit, 'events', 100)), parsed(await linesOf(audit, 'decisions', 7))]
    deepEqual([events[0]?.type, events[0]?.realm, decisions[0]?.type], ['audit_started', 'chain', 'audit_started'])
    equal(events.length, 352)
    equal(await audit.size('decisions'), 350)
    const { problems, heads } = await verifyTrail(audit)
    deepEqual(problems, [])
    deepEqual(heads, audit.heads())
  })

  it('reads a log both ways, from any place', async () => {
    const { audit } = await open('paged')
    for (let n = 0; n < 20; n++) await audit.commit(event(n))
    const all = await audit.read('events', { limit: 100 })
    equal(all.length, 21)
    deepEqual(await audit.read('events', { limit: 5, after: all[9]!.cursor }), all.slice(10, 15))
    deepEqual(await audit.read('events', { limit: 5, newestFirst: true }), all.slice(-5).reverse())
    deepEqual(await audit.read('events', { limit: 3, after: all[9]!.cursor, newestFirst: true }), all.slice(6, 9).reverse())
    deepEqual(await audit.read('events', { limit: 5, after: all.at(-1)!.cursor }), [])
    deepEqual(await audit.read('events', { limit: 5, after: all[0]!.cursor, newestFirst: true }), [])
  })

  it('resumes the chain after every handle closed, and lets several handles write at once', async () => {
    const realm = 'resumed'
    const first = await open(realm)
    await first.audit.commit(event(1))
    await first.audit.commit(decision(2))
    const [head] = first.audit.heads()
    await first.close()
    const handles = await Promise.all([open(realm), open(realm), open(realm)])
    await handles[0]!.audit.commit(event(3))
    const started = parsed(await linesOf(handles[0]!.audit, 'events'))[2]!
    deepEqual([started.type, started.chain.prev, started.chain.seq], ['audit_started', head!.hash, 1])
    deepEqual(started.detail?.['resumes'], { boot: head!.boot, seq: head!.seq, hash: head!.hash })
    await Promise.all(
      handles.flatMap(({ audit }, which) =>
        Array.from({ length: 100 }, (_, n) => audit.commit((n % 2 === 0 ? event : decision)(1000 * (which + 1) + n))),
      ),
    )
    const { problems, heads, lines } = await verifyTrail(handles[1]!.audit)
    deepEqual(problems, [])
    equal(heads.length, 8)
    equal(lines.events + lines.decisions, 2 + 2 + 1 + 300 + 6)
    equal((await handles[2]!.audit.tail(1000)).length, 303)
  })

  it('removes the oldest decisions alone, under a checkpoint that keeps the chain verifiable', async () => {
    const realm = 'flood'
    const [state, other] = [await open(realm), await open(realm)]
    const { audit } = state
    await audit.commit(event(0))
    await other.audit.commit(decision(99_999))
    for (let n = 0; n < 3000; n++) audit.append(decision(n))
    await audit.tail(1)
    const kept = retention(state, realm, 1000, 1)
    ok((await kept.run()) > 1900)
    equal(await kept.run(), 0)
    ok((await audit.size('decisions')) <= 1001)
    equal(await audit.size('events'), 2)
    deepEqual((await verifyTrail(audit)).problems, [])
    // The other handle's chain lost its end: it goes on.
    await other.audit.commit(decision(3000))
    for (let n = 3001; n < 4000; n++) audit.append(decision(n))
    await audit.tail(1)
    deepEqual((await verifyTrail(audit)).problems, [])
    await kept.close()
    const again = retention(state, realm, 50, 2)
    ok((await again.run()) > 1900)
    await again.close()
    deepEqual((await verifyTrail(audit)).problems, [])
    const tail = await audit.tail(20_000)
    deepEqual(
      tail.filter(({ type }) => type !== 'decision').map(({ id }) => id),
      ['event-0'],
    )
    equal(tail.filter(({ type }) => type === 'decision').at(-1)?.id, 'decision-3999')
    // Without its checkpoint the same removal shows.
    const lines = await linesOf(audit, 'decisions')
    const { createVerification } = await import('../../src/core/audit-verify.ts')
    const verification = createVerification()
    for (const line of lines) if (!line.includes('"audit_checkpoint"')) verification.take('decisions', line)
    equal(verification.finish().problems[0]?.fault, 'removed')
  }).timeout(30_000)

  it('lets one of two replicas remove what is too old, and stays verifiable where both do', async () => {
    const realm = 'both'
    const [one, two] = [await open(realm), await open(realm)]
    for (let n = 0; n < 600; n++) [one, two][n % 2]!.audit.append(decision(n))
    await Promise.all([one.audit.tail(1), two.audit.tail(1)])
    const shared = [retention(one, realm, 300, 1), retention(two, realm, 300, 1)]
    const removed = await Promise.all(shared.map((each) => each.run()))
    equal(removed.filter((count) => count > 0).length, 1)
    deepEqual((await verifyTrail(one.audit)).problems, [])
    const apart = [retention(one, realm, 100, 2), retention(two, realm, 120, 3)]
    await Promise.all(apart.map((each) => each.run()))
    deepEqual((await verifyTrail(two.audit)).problems, [])
    for (const each of [...shared, ...apart]) await each.close()
    const last = retention(one, realm, 20, 4)
    await last.run()
    await last.close()
    ok((await one.audit.size('decisions')) <= 22)
    deepEqual((await verifyTrail(two.audit)).problems, [])
  })
}
