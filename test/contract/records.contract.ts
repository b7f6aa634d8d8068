import { deepEqual, equal, notEqual, ok } from 'node:assert/strict'
import type { State } from '../../src/core/ports.ts'
import { type RecordKind, type RecordStore, recordKinds, type StoredRecord } from '../../src/core/record-store.ts'

const writers = 200

async function all({ list }: RecordStore, kind: RecordKind, most: number, meanwhile?: (page: number) => Promise<unknown>) {
  const found: StoredRecord[] = []
  let pages = 0
  for (let cursor: string | undefined; ; ) {
    const page = await list(kind, most, cursor)
    found.push(...page.records)
    pages += 1
    if (page.cursor === undefined) return { found, pages }
    await meanwhile?.(pages)
    cursor = page.cursor
  }
}
const ids = (records: readonly StoredRecord[]) => [...new Set(records.map(({ id }) => id))].sort()

/** What every driver must do with records. */
export function recordsContract(open: (realm: string) => Promise<State>): void {
  it('reads a record as it was written, with its end and its revision', async () => {
    const [{ records: one }, { records: two }] = [await open('rec'), await open('rec')]
    const value = { text: 'grüße ✓ "o\'clock"\n', n: 1.5, none: null, list: [1, [2], {}], deep: { __proto__: null, 'a.b': true } }
    const revision = await one.write('agent', { id: 'a1', value, until: 1_900_000_000 }, undefined)
    ok(revision)
    deepEqual(await two.read('agent', 'a1'), { id: 'a1', value: JSON.parse(JSON.stringify(value)), until: 1_900_000_000, revision })
    equal(await two.read('agent', 'A1'), undefined)
    equal(await two.read('agent', ''), undefined)
  })

  it('keeps records of every kind, each in a list of its own', async () => {
    const { records } = await open('rec-kinds')
    for (const kind of recordKinds) ok(await records.write(kind, { id: 'same', value: { kind }, until: 1 }, undefined), kind)
    for (const kind of recordKinds) {
      deepEqual((await records.read(kind, 'same'))?.value, { kind })
      deepEqual(ids((await records.list(kind, 10)).records), ['same'])
      equal((await records.expired(kind, 2, 10)).length, 1)
      equal(await records.remove(kind, 'same'), true)
    }
  })

  it('creates a record only where there is none, and replaces only what was seen', async () => {
    const { records } = await open('rec-cas')
    const write = (n: number, seen: string | undefined) => records.write('app', { id: 'a', value: { n }, until: 0 }, seen)
    const value = async () => (await records.read('app', 'a'))?.value
    equal(await write(0, 'never-was'), undefined)
    equal(await records.read('app', 'a'), undefined)
    const first = await write(1, undefined)
    ok(first)
    equal(await write(2, undefined), undefined)
    const second = await write(3, first)
    ok(second)
    notEqual(second, first)
    equal(await write(4, first), undefined)
    equal(await write(5, second.slice(0, -1)), undefined)
    equal(await write(6, ''), undefined)
    deepEqual(await value(), { n: 3 })
    // The same value again is another write.
    const third = await write(3, second)
    ok(third)
    notEqual(third, second)
  })

  it('lets one of many that write at once win, when they create and when they replace', async () => {
    const handles = [(await open('rec-race')).records, (await open('rec-race')).records, (await open('rec-race')).records]
    let seen: string | undefined
    for (const round of [0, 1]) {
      const asked = Array.from({ length: writers }, (_, n) =>
        handles[n % handles.length]!.write('launch-token', { id: 'one', value: { round, n }, until: 0 }, seen),
      )
      const answers = await Promise.all(asked)
      const winners = answers.flatMap((revision, n) => (revision === undefined ? [] : [{ revision, n }]))
      equal(winners.length, 1, `round ${round}: ${winners.length} of ${writers} won`)
      const [{ revision, n }] = winners as [(typeof winners)[number]]
      deepEqual(await handles[1]!.read('launch-token', 'one'), { id: 'one', value: { round, n }, until: 0, revision })
      seen = revision
    }
  }).timeout(60_000)

  it('loses no count that many keep by reading and replacing', async () => {
    const handles = [(await open('rec-count')).records, (await open('rec-count')).records]
    const add = async ({ read, write }: RecordStore): Promise<void> => {
      for (;;) {
        const before = await read('agent', 'count')
        const n = Number(before?.value['n'] ?? 0) + 1
        if ((await write('agent', { id: 'count', value: { n }, until: 0 }, before?.revision)) !== undefined) return
      }
    }
    await Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        for (let k = 0; k < 5; k++) await add(handles[i % 2]!)
      }),
    )
    deepEqual((await handles[0]!.read('agent', 'count'))?.value, { n: 40 })
  }).timeout(60_000)

  it('removes once, whoever asks, and only what was seen where that is said', async () => {
    const [{ records: one }, { records: two }] = [await open('rec-remove'), await open('rec-remove')]
    const first = await one.write('token', { id: 't', value: {}, until: 5 }, undefined)
    const second = await one.write('token', { id: 't', value: {}, until: 5 }, first)
    equal(await two.remove('token', 't', first), false)
    ok(await one.read('token', 't'))
    const answers = await Promise.all(Array.from({ length: writers }, (_, n) => (n % 2 ? one : two).remove('token', 't', second)))
    equal(answers.filter(Boolean).length, 1)
    equal(await two.read('token', 't'), undefined)
    deepEqual(await one.expired('token', 100, 10), [])
    equal(await one.remove('token', 't'), false)
    equal(await one.remove('token', 't', second), false)
    // What is gone is replaced by nobody who saw it, and may be made again.
    equal(await one.write('token', { id: 't', value: {}, until: 0 }, second), undefined)
    ok(await one.write('token', { id: 't', value: {}, until: 0 }, undefined))
    equal(await two.remove('token', 't'), true)
  })

  it('of one who replaces and one who removes what both saw, lets one win', async () => {
    const [{ records: one }, { records: two }] = [await open('rec-both'), await open('rec-both')]
    for (let n = 0; n < 20; n++) {
      const id = `r${n}`
      const seen = await one.write('launch-token', { id, value: {}, until: 0 }, undefined)
      const asked = [
        () => two.write('launch-token', { id, value: { used: true }, until: 0 }, seen),
        () => one.remove('launch-token', id, seen),
      ] as const
      const [written, removed] =
        n % 2 ? await Promise.all([asked[0](), asked[1]()]) : (await Promise.all([asked[1](), asked[0]()])).toReversed()
      equal((await one.read('launch-token', id)) !== undefined, removed === false)
      equal(written !== undefined, removed === false)
    }
  })

  it('keeps odd ids, kinds and realms apart', async () => {
    const [one, two] = [await open('rec-1'), await open('rec-2')]
    const odd = [
      'a',
      'A',
      'a:b',
      'a:b:until',
      '__proto__',
      '0',
      '-1',
      '%',
      '*',
      '?',
      '[a]',
      "o'clock",
      '"',
      '{}',
      '\\',
      '~',
      '!',
      'x'.repeat(256),
    ]
    const spiffe = 'spiffe://example.org/agent/orch-1/task-1/0190'
    for (const [n, id] of [...odd, spiffe].entries()) ok(await one.records.write('agent', { id, value: { n }, until: 0 }, undefined), id)
    for (const [n, id] of [...odd, spiffe].entries()) deepEqual((await one.records.read('agent', id))?.value, { n })
    deepEqual(ids((await all(one.records, 'agent', 7)).found), [...odd, spiffe].sort())
    equal(await one.records.read('token', 'a'), undefined)
    equal(await two.records.read('agent', 'a'), undefined)
    deepEqual((await all(one.records, 'token', 7)).found, [])
    deepEqual((await all(two.records, 'agent', 7)).found, [])
    equal(await two.records.remove('agent', 'a'), false)
    ok(await one.records.write('token', { id: 'a', value: { other: true }, until: 0 }, undefined))
    for (const id of odd) equal(await one.records.remove('agent', id), true)
    deepEqual(ids((await all(one.records, 'agent', 7)).found), [spiffe])
    deepEqual((await one.records.read('token', 'a'))?.value, { other: true })
  })

  it('lists in pages, each that stays at least once, whatever is written meanwhile', async () => {
    const { records } = await open('rec-list')
    const stay = Array.from({ length: 700 }, (_, i) => `stay-${String(i).padStart(4, '0')}`)
    const go = Array.from({ length: 300 }, (_, i) => `go-${String(i).padStart(4, '0')}`)
    // A list of which the order of creation is not that of the ids.
    const made = [...stay.toReversed(), ...go]
    // Long enough that no driver packs them all in one piece.
    const value = { text: 'x'.repeat(200) }
    for (let i = 0; i < made.length; i += 100)
      await Promise.all(made.slice(i, i + 100).map((id) => records.write('agent', { id, value, until: 0 }, undefined)))
    const { found, pages } = await all(records, 'agent', 100, async (page) => {
      await Promise.all(go.slice(page * 20, page * 20 + 20).map((id) => records.remove('agent', id)))
      await Promise.all(
        Array.from({ length: 20 }, (_, i) => records.write('agent', { id: `new-${page}-${i}`, value, until: 0 }, undefined)),
      )
      const id = stay[page * 31]!
      await records.write('agent', { id, value: { again: page }, until: 0 }, (await records.read('agent', id))?.revision)
    })
    const there = new Set(ids(found))
    deepEqual(
      stay.filter((id) => !there.has(id)),
      [],
    )
    ok(pages >= 5, `${pages} pages`)
    ok(found.every(({ id }) => /^(?:stay|go|new)-/.test(id)))
  }).timeout(60_000)

  it('lets others have their turn between the pages of a list, and between those that are swept', async () => {
    const { records } = await open('rec-turns')
    for (let i = 0; i < 60; i++) ok(await records.write('agent', { id: `t${i}`, value: {}, until: 1 }, undefined))
    let turns = 0
    let over = false
    const turn = () => {
      turns += 1
      if (!over) setImmediate(turn)
    }
    setImmediate(turn)
    try {
      const { pages } = await all(records, 'agent', 10)
      // A small list may come in one piece.
      ok(turns >= pages - 1, `${turns} turns, ${pages} pages`)
      turns = 0
      let swept = 0
      for (;;) {
        const found = await records.expired('agent', 2, 10)
        if (found.length === 0) break
        swept += 1
        for (const { id, revision } of found) await records.remove('agent', id, revision)
      }
      equal(swept, 6)
      ok(turns >= swept, `${turns} turns, ${swept} pages`)
    } finally {
      over = true
    }
  })

  it('tells those that have passed, and no others, a part at a time', async () => {
    const { records } = await open('rec-expired')
    const now = 1_800_000_000
    const untils = { past: 1, earlier: now - 1, just: now, later: now + 1, never: 0 }
    for (const [id, until] of Object.entries(untils)) ok(await records.write('token', { id, value: { until }, until }, undefined))
    const expired = async (at = now, most = 10) => ids(await records.expired('token', at, most))
    deepEqual(await expired(), ['earlier', 'past'])
    deepEqual(await expired(now + 0.5), ['earlier', 'just', 'past'])
    deepEqual(await expired(now + 100), ['earlier', 'just', 'later', 'past'])
    equal((await expired(now, 1)).length, 1)
    deepEqual(await records.expired('agent', now, 10), [])
    const [first] = await records.expired('token', 2, 10)
    deepEqual(first, await records.read('token', 'past'))
    // Given more time, and given an end.
    ok(await records.write('token', { id: 'past', value: {}, until: now + 50 }, first?.revision))
    ok(await records.write('token', { id: 'never', value: {}, until: 7 }, (await records.read('token', 'never'))?.revision))
    deepEqual(await expired(), ['earlier', 'never'])
    ok(await records.write('token', { id: 'earlier', value: {}, until: 0 }, (await records.read('token', 'earlier'))?.revision))
    await records.remove('token', 'never')
    deepEqual(await expired(), [])
    ok(await records.read('token', 'just'), 'what has passed stays until it is removed')
  })

  it('sweeps with several handles at once: each that has passed is removed by one of them', async () => {
    const handles = [(await open('rec-sweep')).records, (await open('rec-sweep')).records]
    const made = Array.from({ length: 250 }, (_, i) => `s${i}`)
    await Promise.all(made.map((id) => handles[0]!.write('agent', { id, value: {}, until: 1 }, undefined)))
    const removed: string[] = []
    await Promise.all(
      handles.map(async ({ expired, remove }) => {
        for (let found = await expired('agent', 2, 60); found.length > 0; found = await expired('agent', 2, 60))
          for (const { id, revision } of found) if (await remove('agent', id, revision)) removed.push(id)
      }),
    )
    deepEqual(removed.toSorted(), made.toSorted())
  }).timeout(60_000)

  it('keeps a large record whole', async () => {
    const { records } = await open('rec-large')
    const value = { text: 'ü😀'.repeat(100_000), list: Array.from({ length: 20_000 }, (_, i) => ({ i })) }
    const seen = await records.write('app', { id: 'large', value, until: 0 }, undefined)
    deepEqual((await records.read('app', 'large'))?.value, value)
    ok(await records.write('app', { id: 'large', value: {}, until: 0 }, seen))
    deepEqual((await records.read('app', 'large'))?.value, {})
  }).timeout(30_000)

  it('is not changed by who holds what was written or read', async () => {
    const { records } = await open('rec-held')
    const value = { list: [1] }
    await records.write('app', { id: 'a', value, until: 0 }, undefined)
    value.list.push(2)
    const read = (await records.read('app', 'a'))!
    deepEqual(read.value, { list: [1] })
    ;(read.value['list'] as number[]).push(3)
    deepEqual((await records.read('app', 'a'))?.value, { list: [1] })
  })

  it('is there after every handle closed', async () => {
    const first = await open('rec-again')
    const revision = await first.records.write('app', { id: 'stays', value: { n: 1 }, until: 9 }, undefined)
    await first.close()
    const second = await open('rec-again')
    deepEqual(await second.records.read('app', 'stays'), { id: 'stays', value: { n: 1 }, until: 9, revision })
    deepEqual(ids(await second.records.expired('app', 10, 10)), ['stays'])
  })
}
