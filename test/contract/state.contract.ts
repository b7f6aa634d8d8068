import { deepEqual, equal, notEqual, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import { type Change, keyVersion, type Revocation, type RevocationStore, type State, type StoredKey } from '../../src/core/ports.ts'
import { until } from '../support/until.ts'
import { apiKeysContract } from './api-keys.contract.ts'
import { auditContract } from './audit.contract.ts'
import { labelsContract } from './labels.contract.ts'
import { recordsContract } from './records.contract.ts'
import { revocationsContract } from './revocations.contract.ts'

/** One place where state is kept, that any number of handles may open. */
export interface Place {
  readonly open: (realm: string) => Promise<State>
  /** Writes the label past every handle, as a platform or an operator would; absent where there is no other way in. */
  readonly writeStraight?: (realm: string, resource: string, id: string, name: string, value: string) => Promise<void>
  /** Puts something at a resource's place that are no labels; absent where that cannot be. */
  readonly writeOdd?: (realm: string, resource: string, id: string) => Promise<void>
  /** Makes the labels end by themselves in so many milliseconds; absent where nothing expires. */
  readonly expire?: (realm: string, resource: string, id: string, ms: number) => Promise<void>
  /** Whether what was written is there after all handles closed. */
  readonly survives: boolean
  readonly close: () => Promise<void>
}

const soon = 1000
const now = () => Math.floor(Date.now() / 1000)
const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])
const key = (kid: string, algorithm: StoredKey['algorithm'] = 'ES256'): StoredKey => ({
  kid,
  algorithm,
  createdAt: 1,
  activeAt: 2,
  privateKey: `pem ${kid}`,
})
const event = (n: number): AuditEvent => ({
  id: `event-${n}`,
  time: '2026-01-01T00:00:00.000Z',
  type: 'owner_changed',
  outcome: 'success',
  realm: 'default',
  detail: { n, text: 'grüße' },
})
const revocation = (target: string, more: Partial<Revocation> = {}): Revocation => ({
  level: 'token',
  target,
  at: now(),
  until: now() + 600,
  ...more,
})

const decision = (n: number): AuditEvent => ({
  id: `decision-${String(n).padStart(6, '0')}`,
  time: new Date(1_800_000_000_000 + n).toISOString(),
  type: 'decision',
  outcome: 'deny',
  realm: 'default',
})

/** All pages after a cursor. */
async function listAll(revocations: RevocationStore, after?: string): Promise<{ entries: Revocation[]; cursor: string; longest: number }> {
  const entries: Revocation[] = []
  let longest = 0
  for (let cursor = after; ; ) {
    const page = await revocations.list(cursor)
    entries.push(...page.entries)
    longest = Math.max(longest, page.entries.length)
    if (!page.more) return { entries, cursor: page.cursor, longest }
    notEqual(page.cursor, cursor)
    cursor = page.cursor
  }
}
const targets = (entries: readonly Revocation[]) => entries.map(({ target }) => target)

/** What every driver of the port State must do. */
export function stateContract(name: string, prepare: () => Promise<Place>): void {
  describe(`state: ${name}`, () => {
    let place: Place
    let opened: State[] = []
    const open = async (realm = 'default') => {
      const state = await place.open(realm)
      opened.push(state)
      return state
    }

    before(async function () {
      this.timeout(120_000)
      place = await prepare()
    })
    afterEach(async () => {
      await Promise.all(opened.map((state) => state.close()))
      opened = []
    })
    after(() => place?.close())

    it('answers without a fault', async () => {
      const state = await open()
      equal(state.fault(), undefined)
      ok(performance.now() - state.feed.heardAt() < soon)
    })

    it('reads what was written, whole, and nothing of what was there before', async () => {
      const { labels } = await open()
      await labels.write('sandbox', 'w1', new Map([...owned('alice'), ['tier', 'gold']]))
      await labels.write('sandbox', 'w1', owned('bob'))
      deepEqual((await labels.read('sandbox', 'w1'))?.labels, owned('bob'))
    })

    it('does not know a resource that was never written, is of another kind, or has no labels', async () => {
      const { labels } = await open()
      await labels.write('sandbox', 'u1', owned('alice'))
      await labels.write('sandbox', 'u2', owned('alice'))
      await labels.write('sandbox', 'u2', new Map())
      equal(await labels.read('sandbox', 'never'), undefined)
      equal(await labels.read('session', 'u1'), undefined)
      equal(await labels.read('sandbox', 'u2'), undefined)
    })

    it('removes, and says whether there was something', async () => {
      const { labels } = await open()
      await labels.write('sandbox', 'r1', owned('alice'))
      equal(await labels.remove('sandbox', 'r1'), true)
      equal(await labels.remove('sandbox', 'r1'), false)
      equal(await labels.read('sandbox', 'r1'), undefined)
    })

    it('keeps odd ids and values apart and as they are', async () => {
      const { labels } = await open()
      const ids = ['x'.repeat(128), 'a:b', 'a:b:c', 'ünï/cødé 😀', "o'clock", '__proto__', 'a%3Ab', ' ']
      for (const [i, id] of ids.entries())
        await labels.write(
          'sandbox',
          id,
          new Map([
            ['agentcube.io/owner', `owner ${i} ✓\n"`],
            ['__proto__', ''],
            ['1', 'one'],
          ]),
        )
      for (const [i, id] of ids.entries()) {
        const read = (await labels.read('sandbox', id))?.labels
        deepEqual([...(read ?? [])].sort(), [
          ['1', 'one'],
          ['__proto__', ''],
          ['agentcube.io/owner', `owner ${i} ✓\n"`],
        ])
      }
    })

    it('keeps two realms on one store apart', async () => {
      const [one, two] = [await open('one'), await open('two')]
      const heard: Change[] = []
      await two.labels.read('sandbox', 's')
      await one.labels.write('sandbox', 's', owned('alice'))
      two.feed.subscribe((change) => heard.push(change))
      await one.labels.write('sandbox', 's', owned('carol'))
      await one.revocations.append(revocation('realm-one'))
      await one.keys.replace([], [key('one')])
      await one.audit.commit(event(1))
      equal(await two.labels.read('sandbox', 's'), undefined)
      deepEqual((await two.revocations.list()).entries, [])
      deepEqual(await two.keys.list(), [])
      deepEqual(await two.audit.tail(10), [])
      await sleep(300)
      deepEqual(heard, [])
    })

    it('tells a handle of what another handle changed, within a second', async () => {
      const [one, two] = [await open(), await open()]
      await two.labels.write('sandbox', 'f1', owned('alice'))
      await two.labels.read('sandbox', 'f1')
      await two.labels.read('sandbox', 'f2')
      await sleep(250)
      const heard: Change[] = []
      two.feed.subscribe((change) => heard.push(change))
      const told = (what: Change) =>
        until(
          JSON.stringify(what),
          () => heard.some((change) => JSON.stringify(change) === JSON.stringify(what) || change.kind === 'labels'),
          soon,
        )
      await one.labels.write('sandbox', 'f1', owned('bob'))
      await told({ kind: 'label', source: undefined, resource: 'sandbox', id: 'f1' })
      heard.length = 0
      await one.labels.write('sandbox', 'f2', owned('bob'))
      await told({ kind: 'label', source: undefined, resource: 'sandbox', id: 'f2' })
      await two.labels.read('sandbox', 'f1')
      heard.length = 0
      await one.labels.remove('sandbox', 'f1')
      await told({ kind: 'label', source: undefined, resource: 'sandbox', id: 'f1' })
      for (const round of [1, 2]) {
        // A driver may arm its feed anew after each change: one that comes in between is told with it.
        await sleep(100)
        heard.length = 0
        await one.revocations.append(revocation(`told-${round}`))
        await until('revocations', () => heard.some(({ kind }) => kind === 'revocations'), soon)
      }
      for (const round of [1, 2]) {
        await sleep(100)
        heard.length = 0
        await one.keys.replace((await one.keys.list()).map(keyVersion), [key(`told-${round}`)])
        await until('keys', () => heard.some(({ kind }) => kind === 'keys'), soon)
      }
    })

    it('tells of its own writes by the time they are acknowledged, and no more after the subscription ended', async () => {
      const state = await open()
      await state.labels.read('sandbox', 'own')
      const heard: Change[] = []
      const end = state.feed.subscribe((change) => heard.push(change))
      await state.labels.write('sandbox', 'own', owned('alice'))
      ok(heard.some((change) => change.kind === 'label' && change.id === 'own'))
      end()
      heard.length = 0
      await state.labels.write('sandbox', 'own', owned('bob'))
      await sleep(50)
      deepEqual(heard, [])
    })

    it('reads and tells what was written past every handle', async function () {
      if (place.writeStraight === undefined) return this.skip()
      const state = await open()
      await state.labels.read('sandbox', 'straight')
      const heard: Change[] = []
      state.feed.subscribe((change) => heard.push(change))
      await place.writeStraight('default', 'sandbox', 'straight', 'agentcube.io/owner', 'alice')
      await until('the change', () => heard.some((change) => change.kind === 'label' && change.id === 'straight'), soon)
      deepEqual((await state.labels.read('sandbox', 'straight'))?.labels, owned('alice'))
    })

    it('tells when labels expire', async function () {
      if (place.expire === undefined) return this.skip()
      const state = await open()
      await state.labels.write('sandbox', 'brief', owned('alice'))
      await place.expire('default', 'sandbox', 'brief', 100)
      ok((await state.labels.read('sandbox', 'brief')) !== undefined)
      const heard: Change[] = []
      state.feed.subscribe((change) => heard.push(change))
      await until('the change', () => heard.some((change) => change.kind === 'label' && change.id === 'brief'), 100 + soon)
      equal(await state.labels.read('sandbox', 'brief'), undefined)
    })

    it('lists the revocations in force, and forgets the others', async () => {
      const { revocations } = await open('lists')
      const subject = revocation('alice', { level: 'subject', until: Number.POSITIVE_INFINITY })
      await revocations.append(revocation('old', { at: now() - 100, until: now() - 10 }))
      await revocations.append(revocation('jti 1 – ü'))
      await revocations.append(subject)
      const listed = [...(await revocations.list()).entries].sort((a, b) => (a.target < b.target ? -1 : 1))
      deepEqual(
        listed.map(({ level, target }) => [level, target]),
        [
          ['subject', 'alice'],
          ['token', 'jti 1 – ü'],
        ],
      )
      deepEqual(listed[0], subject)
    })

    it('has a revocation in the list of every handle once it is acknowledged', async () => {
      const [one, two] = [await open(), await open()]
      await two.revocations.list()
      await one.revocations.append(revocation('everywhere'))
      ok(targets((await two.revocations.list()).entries).includes('everywhere'))
    })

    it('lists only what was appended since, by whichever handle', async () => {
      const [one, two] = [await open('since'), await open('since')]
      const none = await one.revocations.list()
      deepEqual([none.entries, none.more], [[], false])
      await two.revocations.append(revocation('first'))
      await one.revocations.append(revocation('second'))
      const both = await listAll(one.revocations, none.cursor)
      deepEqual(targets(both.entries), ['first', 'second'])
      const nothing = await listAll(one.revocations, both.cursor)
      deepEqual(nothing.entries, [])
      await two.revocations.append(revocation('expired', { at: now() - 100, until: now() - 10 }))
      await two.revocations.append(revocation('third'))
      deepEqual(targets((await listAll(one.revocations, nothing.cursor)).entries), ['third'])
      deepEqual(targets((await listAll(one.revocations)).entries), ['first', 'second', 'third'])
    })

    it('tells an entry again that is to last longer', async () => {
      const { revocations } = await open('longer')
      const [short, long] = [revocation('jti', { at: 1 }), revocation('jti', { at: 1, until: now() + 6000 })]
      await revocations.append(short)
      await revocations.append(revocation('other'))
      const { cursor } = await listAll(revocations)
      await revocations.append(long)
      deepEqual((await listAll(revocations, cursor)).entries, [long])
      // The shorter one takes nothing away.
      await revocations.append(short)
      equal(Math.max(...(await listAll(revocations)).entries.filter(({ target }) => target === 'jti').map((e) => e.until)), long.until)
    })

    it('lists a long list in pages, whole and in order', async () => {
      const { revocations } = await open('pages')
      const all = Array.from({ length: 2500 }, (_, i) => `jti-${i}`)
      for (let i = 0; i < all.length; i += 100)
        await Promise.all(all.slice(i, i + 100).map((target) => revocations.append(revocation(target))))
      const { entries, longest } = await listAll(revocations)
      deepEqual(targets(entries), all)
      ok(longest <= 1000, `${longest} at once`)
    }).timeout(30_000)

    it('keeps labels, revocations, keys and audit after every handle closed', async function () {
      if (!place.survives) return this.skip()
      const first = await place.open('durable')
      await first.labels.write('sandbox', 'd', owned('alice'))
      await first.revocations.append(revocation('durable'))
      await first.keys.replace([], [key('durable'), key('page:durable', 'RS256')])
      await first.audit.commit(event(1))
      first.audit.append(event(2))
      await first.close()
      const again = await open('durable')
      deepEqual((await again.labels.read('sandbox', 'd'))?.labels, owned('alice'))
      deepEqual(targets((await again.revocations.list()).entries), ['durable'])
      deepEqual(await again.keys.list(), [key('durable'), key('page:durable', 'RS256')])
      deepEqual(await again.audit.tail(10), [event(1), event(2)])
    })

    it('lets one of twenty replace the keys', async () => {
      const handles = await Promise.all([open('race'), open('race'), open('race'), open('race')])
      const won = await Promise.all(Array.from({ length: 20 }, (_, i) => handles[i % 4]!.keys.replace([], [key(`k${i}`)])))
      equal(won.filter(Boolean).length, 1)
      const [kept] = await handles[0].keys.list()
      equal(kept?.kid, `k${won.indexOf(true)}`)
      equal(await handles[1].keys.replace(['k-none'], []), false)
      const seen = keyVersion(kept!)
      equal(await handles[1].keys.replace([seen, seen], [{ ...kept!, retiredAt: 9 }, key('next')]), true)
      deepEqual(
        await handles[2].keys.list(),
        [{ ...kept!, retiredAt: 9 }, key('next')].sort((a, b) => (a.kid < b.kid ? -1 : 1)),
      )
    })

    it('keeps all that is said of a key, of every algorithm', async () => {
      const { keys } = await open('key-kinds')
      const all = [
        { ...key('a', 'EdDSA'), retiredAt: 2_000_000_000, keepFor: 86_460 },
        { ...key('b', 'ES256'), keepFor: 31_622_460 },
        key('rs256:c', 'RS256'),
      ]
      equal(await keys.replace([], all), true)
      deepEqual(await keys.list(), all)
      equal(await keys.replace(all.map(keyVersion), all.slice(1)), true)
      deepEqual(await keys.list(), all.slice(1))
    })

    it('lets nobody replace keys that changed since they saw them, though their ids are the same', async () => {
      const [one, two] = [await open('key-times'), await open('key-times')]
      const waiting = { ...key('k'), activeAt: 2_000_000_000 }
      equal(await one.keys.replace([], [waiting]), true)
      const seen = (await two.keys.list()).map(keyVersion)
      const begun = { ...waiting, activeAt: 1_900_000_000 }
      equal(await one.keys.replace(seen, [begun]), true)
      equal(await two.keys.replace(seen, [{ ...waiting, retiredAt: 2_100_000_000 }]), false)
      deepEqual(await two.keys.list(), [begun])
      for (const later of [
        { ...begun, retiredAt: 2_000_000_000 },
        { ...begun, retiredAt: 2_000_000_000, keepFor: 60 },
      ]) {
        const before = (await one.keys.list()).map(keyVersion)
        equal(await one.keys.replace(before, [later]), true)
        equal(await two.keys.replace(before, [begun]), false)
        deepEqual(await two.keys.list(), [later])
      }
      const before = (await one.keys.list()).map(keyVersion)
      const race = Array.from({ length: 10 }, (_, i) =>
        (i % 2 ? one : two).keys.replace(before, [{ ...begun, activeAt: 1_900_000_001 + i }]),
      )
      const won = await Promise.all(race)
      equal(won.filter(Boolean).length, 1)
      deepEqual(await one.keys.list(), [{ ...begun, activeAt: 1_900_000_001 + won.indexOf(true) }])
    })

    it('lets a proof be claimed once, by whichever handle', async () => {
      const [one, two] = [await open('claims'), await open('claims')]
      equal(await one.replays.claim('proof', now() + 60), true)
      equal(await one.replays.claim('proof', now() + 60), false)
      equal(await two.replays.claim('proof', now() + 120), false)
      equal(await two.replays.claim('another', now() + 60.5), true)
      const won = await Promise.all(Array.from({ length: 20 }, (_, i) => [one, two][i % 2]!.replays.claim('race', now() + 60)))
      equal(won.filter(Boolean).length, 1)
    })

    it('keeps the claims of two realms apart', async () => {
      equal(await (await open('claims-1')).replays.claim('proof', now() + 60), true)
      equal(await (await open('claims-2')).replays.claim('proof', now() + 60), true)
    })

    it('forgets a claim once it has expired, and not before', async () => {
      const { replays } = await open('claims-end')
      const end = Date.now() / 1000 + 1.2
      equal(await replays.claim('brief', end), true)
      equal(await replays.claim('over', now() - 1), true)
      equal(await replays.claim('brief', end), false)
      await until('the claim to expire', async () => replays.claim('brief', now() + 60), 5000)
      ok(Date.now() / 1000 >= end, `${end - Date.now() / 1000} s early`)
      equal(await replays.claim('brief', now() + 60), false)
    })

    it('keeps claims after every handle closed', async function () {
      if (!place.survives) return this.skip()
      const first = await place.open('claims-durable')
      equal(await first.replays.claim('proof', now() + 60), true)
      await first.close()
      equal(await (await open('claims-durable')).replays.claim('proof', now() + 60), false)
    })

    it('gives one secret of a name to all who ask, at once or later', async () => {
      const [one, two] = [await open('secrets'), await open('secrets')]
      const given = await Promise.all(Array.from({ length: 10 }, (_, i) => [one, two][i % 2]!.secrets.shared('s', `candidate-${i}`)))
      equal(new Set(given).size, 1)
      ok(given[0]?.startsWith('candidate-'))
      equal(await two.secrets.shared('s', 'later'), given[0])
      equal(await one.secrets.shared('t', 'other name'), 'other name')
      equal(await (await open('secrets-2')).secrets.shared('s', 'other realm'), 'other realm')
    })

    apiKeysContract(open)
    labelsContract(open, () => place.writeOdd)
    recordsContract(open)
    revocationsContract(open)

    it('keeps the order of the audit trail, appended or committed', async () => {
      const { audit } = await open('audit')
      for (let n = 0; n < 50; n++) audit.append(event(n))
      await audit.commit(event(50))
      audit.append(event(51))
      const tail = await audit.tail(1000)
      deepEqual(
        tail.map(({ detail }) => detail?.['n']),
        Array.from({ length: 52 }, (_, n) => n),
      )
      deepEqual(await audit.tail(2), [event(50), event(51)])
      deepEqual(await audit.tail(0), [])
    })

    auditContract(open)

    it('tells decisions and other events in the order of their time', async () => {
      const { audit } = await open('merged')
      const at = (n: number): AuditEvent => ({ ...event(n), time: new Date(1_800_000_000_000 + n).toISOString() })
      const events = [decision(1), at(2), decision(3), decision(4), at(5), at(6), decision(7)]
      for (const each of events) audit.append(each)
      deepEqual(await audit.tail(100), events)
      deepEqual(await audit.tail(3), events.slice(-3))
      await audit.commit(at(8))
      deepEqual(await audit.tail(2), [decision(7), at(8)])
    })

    it('has appended events in state within a second, by itself', async () => {
      const [one, two] = [await open('prompt'), await open('prompt')]
      one.audit.append(event(7))
      await until('the event', async () => (await two.audit.tail(1)).length === 1, soon)
    })

    it('leaves neither timer nor handle open', async () => {
      const busy = () =>
        process
          .getActiveResourcesInfo()
          .filter((kind) => kind !== 'Immediate')
          .sort()
          .join()
      await sleep(150)
      const before = busy()
      const state = await place.open('closing')
      await state.labels.write('sandbox', 'c', owned('alice'))
      state.audit.append(event(1))
      await state.close()
      await until('everything to be closed', () => busy() === before, 2000)
    })
  })
}
