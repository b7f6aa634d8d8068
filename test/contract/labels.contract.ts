import { deepEqual, equal, ok } from 'node:assert/strict'
import { sameLabels } from '../../src/core/ownership.ts'
import { type Change, type LabelFilter, type LabelStore, mostLabelsAtOnce, type State, type StoredLabels } from '../../src/core/ports.ts'
import { until } from '../support/until.ts'

const soon = 1000
const ownerLabel = 'agentcube.io/owner'
const owned = (subject: string, ...more: (readonly [string, string])[]) => new Map([[ownerLabel, subject], ...more])
const sandbox = (id: string, subject: string): StoredLabels => ({ resource: 'sandbox', id, labels: owned(subject) })
const numbered = (count: number, of: (n: number) => StoredLabels) => Array.from({ length: count }, (_, n) => of(n))

async function listed(
  { list }: LabelStore,
  filter: LabelFilter,
  most: number,
  meanwhile?: (page: number) => Promise<unknown>,
  from?: string,
) {
  const found: StoredLabels[] = []
  let longest = 0
  let pages = 0
  for (let cursor = from; ; ) {
    const page = await list(filter, most, cursor)
    found.push(...page.entries)
    longest = Math.max(longest, page.entries.length)
    pages += 1
    if (page.cursor === undefined) return { found, longest, pages }
    await meanwhile?.(pages)
    cursor = page.cursor
  }
}
const names = (found: readonly StoredLabels[]) => [...new Set(found.map(({ resource, id }) => `${resource}:${id}`))].sort()

async function writeAll(labels: LabelStore, entries: readonly StoredLabels[]): Promise<void> {
  for (let i = 0; i < entries.length; i += mostLabelsAtOnce) await labels.writeMany(entries.slice(i, i + mostLabelsAtOnce), 'replace')
}

/**
 * What every driver must do with labels, beside what state.contract.ts says of reading and writing one.
 * @param writeOdd puts something at a resource's place that are no labels; absent where that cannot be
 */
export function labelsContract(
  open: (realm: string) => Promise<State>,
  writeOdd: () => ((realm: string, resource: string, id: string) => Promise<void>) | undefined,
): void {
  it('lets one of a hundred that swap from unknown at once win, whichever handle they ask', async () => {
    const handles = [(await open('swap-race')).labels, (await open('swap-race')).labels, (await open('swap-race')).labels]
    for (const round of [0, 1, 2]) {
      const id = `s${round}`
      const won = await Promise.all(
        Array.from({ length: 100 }, (_, n) => handles[n % handles.length]!.swap('sandbox', id, undefined, owned(`subject-${n}`))),
      )
      equal(won.filter(Boolean).length, 1)
      for (const { read } of handles) deepEqual((await read('sandbox', id))?.labels, owned(`subject-${won.indexOf(true)}`))
    }
  })

  it('lets one of a hundred that swap from the same record win', async () => {
    const handles = [(await open('swap-next')).labels, (await open('swap-next')).labels]
    let seen = owned('nobody', ['round', 'x'])
    await handles[0]!.write('sandbox', 's', seen)
    for (const round of ['a', 'b', 'c']) {
      const next = Array.from({ length: 100 }, (_, n) => owned(`subject-${n}`, ['round', round]))
      const won = await Promise.all(next.map((labels, n) => handles[n % 2]!.swap('sandbox', 's', seen, labels)))
      equal(won.filter(Boolean).length, 1)
      seen = next[won.indexOf(true)]!
      deepEqual((await handles[1]!.read('sandbox', 's'))?.labels, seen)
    }
  })

  it('swaps what has the same content, in whatever order it stands, and nothing else', async () => {
    const { swap, read, write } = (await open('swap-content')).labels
    const [one, two, three] = [['a', '1'] as const, ['b', '2'] as const, ['c', ''] as const]
    await write('sandbox', 's', new Map([one, two, three]))
    for (const seen of [
      undefined,
      new Map(),
      new Map([one, two]),
      new Map([one, two, ['c', 'x']]),
      new Map([one, two, ['d', '']]),
      new Map([one, two, three, ['d', '']]),
    ])
      equal(await swap('sandbox', 's', seen, owned('mallory')), false, JSON.stringify(seen && [...seen]))
    deepEqual((await read('sandbox', 's'))?.labels, new Map([one, two, three]))
    equal(await swap('sandbox', 's', new Map([three, one, two]), owned('alice')), true)
    deepEqual((await read('sandbox', 's'))?.labels, owned('alice'))
  })

  it('swaps nothing in where something was seen that is not there any more', async () => {
    const { swap, read } = (await open('swap-gone')).labels
    equal(await swap('sandbox', 'never', owned('alice'), owned('bob')), false)
    equal(await swap('sandbox', 'never', new Map(), owned('bob')), false)
    equal(await read('sandbox', 'never'), undefined)
  })

  it('forgets a resource that is swapped for nothing', async () => {
    const { swap, read, write } = (await open('swap-empty')).labels
    await write('sandbox', 's', owned('alice'))
    equal(await swap('sandbox', 's', owned('bob'), new Map()), false)
    equal(await swap('sandbox', 's', owned('alice'), new Map()), true)
    equal(await read('sandbox', 's'), undefined)
    equal(await swap('sandbox', 's', undefined, new Map()), true)
    equal(await read('sandbox', 's'), undefined)
  })

  it('keeps annotations, marks and any text as members of a record', async () => {
    const { swap, read, writeMany } = (await open('members')).labels
    const odd = owned(
      'sha256-abc',
      [`annotation:${ownerLabel}`, 'grüße ✓ "o\'clock"\n\u2028'],
      ['mark:deleting', '0197-x 1800000000'],
      ['mark:source', 'kubernetes:c1/1b2c'],
      ['__proto__', 'p'],
      ['', 'nameless'],
      ['7', ''],
    )
    equal(await swap('sandbox', 'o', undefined, odd), true)
    ok(sameLabels((await read('sandbox', 'o'))!.labels, odd))
    equal(await swap('sandbox', 'o', new Map([...odd].reverse()), new Map([...odd, ['b', 'c']])), true)
    deepEqual(await writeMany([{ resource: 'sandbox', id: 'o2', labels: odd }], 'absent'), [true])
    ok(sameLabels((await read('sandbox', 'o2'))!.labels, odd))
  })

  it('writes a thousand at once, and leaves alone what is known where it is told to', async () => {
    const { labels } = await open('many')
    const old = numbered(mostLabelsAtOnce, (n) => sandbox(`ünï-${n}`, `old-${n}`)).filter((_, n) => n % 3 === 0)
    ok((await labels.writeMany(old, 'absent')).every(Boolean))
    const next = numbered(mostLabelsAtOnce, (n) => ({ resource: 'sandbox', id: `ünï-${n}`, labels: owned(`new-${n}`, ['n', String(n)]) }))
    deepEqual(
      await labels.writeMany(next, 'absent'),
      next.map((_, n) => n % 3 !== 0),
    )
    deepEqual((await labels.read('sandbox', 'ünï-3'))?.labels, owned('old-3'))
    deepEqual((await labels.read('sandbox', 'ünï-4'))?.labels, next[4]!.labels)
    ok((await labels.writeMany(next, 'replace')).every(Boolean))
    for (const n of [0, 3, 998, 999]) deepEqual((await labels.read('sandbox', `ünï-${n}`))?.labels, next[n]!.labels)
    deepEqual(await labels.writeMany([], 'replace'), [])
    deepEqual(await labels.writeMany([{ resource: 'sandbox', id: 'ünï-4', labels: new Map() }], 'absent'), [false])
    deepEqual(await labels.writeMany([{ resource: 'sandbox', id: 'ünï-4', labels: new Map() }], 'replace'), [true])
    equal(await labels.read('sandbox', 'ünï-4'), undefined)
  }).timeout(20_000)

  it('tells every handle of a swap and of many writes within a second', async () => {
    const [one, two] = [await open('told'), await open('told')]
    await one.labels.write('sandbox', 'kept', owned('alice'))
    for (const id of ['kept', 'fresh', 'm1', 'm2']) {
      await one.labels.read('sandbox', id)
      await two.labels.read('sandbox', id)
    }
    const heard = [new Set<string>(), new Set<string>()]
    const note = (n: number) => (change: Change) => heard[n]!.add(change.kind === 'label' ? change.id : change.kind)
    one.feed.subscribe(note(0))
    two.feed.subscribe(note(1))
    const told = async (...ids: string[]) => {
      // The one that wrote knows already.
      ok(ids.every((id) => heard[0]!.has(id) || heard[0]!.has('labels')))
      await until(ids.join(), () => ids.every((id) => heard[1]!.has(id) || heard[1]!.has('labels')), soon)
    }
    equal(await one.labels.swap('sandbox', 'kept', owned('alice'), owned('bob')), true)
    await told('kept')
    equal(await one.labels.swap('sandbox', 'fresh', undefined, owned('bob')), true)
    await told('fresh')
    await one.labels.writeMany([sandbox('m1', 'a'), sandbox('m2', 'b')], 'absent')
    await told('m1', 'm2')
  })

  it('lists nothing where there is nothing', async () => {
    const { labels } = await open('list-empty')
    deepEqual(names((await listed(labels, {}, 10)).found), [])
    await labels.write('sandbox', 's', owned('alice'))
    await labels.remove('sandbox', 's')
    deepEqual(names((await listed(labels, {}, 10)).found), [])
  })

  it('lists each record of its realm once it stays, while others come and go', async () => {
    const [one, two] = [await open('list'), await open('list')]
    const other = await open('list-2')
    await other.labels.write('sandbox', 'not-mine', owned('alice'))
    const stay = numbered(1500, (n) => sandbox(`stay-${n}`, `owner-${n % 7}`))
    await writeAll(one.labels, stay)
    await writeAll(
      one.labels,
      numbered(300, (n) => sandbox(`goes-${n}`, 'alice')),
    )
    const { found } = await listed(two.labels, {}, 100, async (page) => {
      await one.labels.writeMany(
        numbered(20, (n) => sandbox(`comes-${page}-${n}`, 'bob')),
        'replace',
      )
      for (let n = 0; n < 20; n++) await one.labels.remove('sandbox', `goes-${page * 20 + n}`)
      await one.labels.write('sandbox', `stay-${page}`, owned(`owner-${page % 7}`))
    })
    const all = new Set(names(found))
    for (const { id } of stay) ok(all.has(`sandbox:${id}`), id)
    ok(![...all].some((name) => name.includes('not-mine')))
    for (const { id, labels } of found) if (id.startsWith('stay-')) deepEqual(labels, owned(`owner-${Number(id.slice(5)) % 7}`))
  }).timeout(30_000)

  it('lists only the resource and the member that are asked for', async () => {
    const { labels } = await open('list-filter')
    const all: StoredLabels[] = [
      ...numbered(250, (n) => ({ resource: n % 2 ? 'sandbox' : 'session', id: `id:${n}`, labels: owned(n % 5 ? 'bob' : 'alice') })),
      { resource: 'sand', id: 'box:1', labels: owned('alice') },
      { resource: 'sandbox-x', id: '*', labels: owned('alice') },
      { resource: 'sandbox', id: 'other-member', labels: owned('bob', ['agentcube.io/shared-with', 'alice']) },
    ]
    await writeAll(labels, all)
    const expected = (filter: LabelFilter) =>
      names(
        all.filter(
          (each) =>
            (filter.resource ?? each.resource) === each.resource &&
            (filter.member === undefined || each.labels.get(filter.member[0]) === filter.member[1]),
        ),
      )
    for (const filter of [
      {},
      { resource: 'sandbox' },
      { resource: 'session', member: [ownerLabel, 'alice'] },
      { member: [ownerLabel, 'alice'] },
      { member: [ownerLabel, 'ali'] },
      { member: ['agentcube.io/shared-with', 'alice'] },
      { resource: 'sand*' },
      { resource: 'sandbo?' },
      { resource: '[a-z]andbox' },
      { resource: 'none' },
    ] satisfies LabelFilter[])
      deepEqual(names((await listed(labels, filter, 50)).found), expected(filter), JSON.stringify(filter))
  })

  it('begins a list anew after what is no cursor', async () => {
    const { labels } = await open('list-cursor')
    await writeAll(
      labels,
      numbered(5, (n) => sandbox(`s${n}`, 'alice')),
    )
    for (const cursor of ['', 'x', '!', 'NaN', '-1'])
      equal(names((await listed(labels, { resource: 'sandbox' }, 1000, undefined, cursor)).found).length, 5, cursor)
  })

  it('lists a long list in pages that are bounded', async () => {
    const { labels } = await open('list-long')
    await writeAll(
      labels,
      numbered(50_000, (n) => sandbox(`s${n}`, `owner-${n % 1000}`)),
    )
    const all = await listed(labels, { resource: 'sandbox' }, 1000)
    equal(names(all.found).length, 50_000)
    // SCAN tells some more than COUNT where several keys share a bucket.
    ok(all.longest <= 2000, `${all.longest} at once`)
    const some = await listed(labels, { member: [ownerLabel, 'owner-7'] }, 1000)
    equal(names(some.found).length, 50)
    ok(some.pages >= 25, `${some.pages} pages`)
  }).timeout(60_000)

  it('takes what are no labels for a record that nobody can read, and lets it be replaced', async function () {
    const write = writeOdd()
    if (write === undefined) return this.skip()
    const { labels } = await open('odd')
    for (const id of ['a', 'b', 'c']) await write('odd', 'sandbox', id)
    deepEqual(await labels.read('sandbox', 'a'), { labels: new Map() })
    equal(await labels.swap('sandbox', 'a', undefined, owned('mallory')), false)
    equal(await labels.swap('sandbox', 'a', owned('x'), owned('mallory')), false)
    deepEqual(await labels.writeMany([sandbox('a', 'mallory')], 'absent'), [false])
    deepEqual((await listed(labels, {}, 10)).found.map(({ id, labels: { size } }) => [id, size]).sort(), [
      ['a', 0],
      ['b', 0],
      ['c', 0],
    ])
    equal(await labels.swap('sandbox', 'a', new Map(), owned('alice')), true)
    deepEqual((await labels.read('sandbox', 'a'))?.labels, owned('alice'))
    deepEqual(await labels.writeMany([sandbox('b', 'bob')], 'replace'), [true])
    deepEqual((await labels.read('sandbox', 'b'))?.labels, owned('bob'))
    equal(await labels.remove('sandbox', 'c'), true)
  })
}
