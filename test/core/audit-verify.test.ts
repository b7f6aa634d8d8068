import { deepEqual, equal, ok } from 'node:assert/strict'
import { createMemoryStore, openMemoryState } from '../../src/adapters/memory-state.ts'
import { type SealedEvent, seal } from '../../src/core/audit-chain.ts'
import { createCut } from '../../src/core/audit-checkpoint.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import type { TrailFault } from '../../src/core/audit-trail-problem.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { linesOf, verifyLines } from '../support/audit.ts'

const event = (n: number): AuditEvent => ({
  id: `event-${n}`,
  time: new Date(1_800_000_000_000 + n).toISOString(),
  type: 'token_issued',
  outcome: 'success',
  realm: 'default',
  actor: 'user:alice',
  target: `jti-${n}`,
  reason: 'ok',
  detail: { n, scope: ['a', 'b'], text: 'grüße' },
})

/** Three processes: the first ends, the second resumes, the third interleaves with it. 1 + 9, 1 + 10, 1 + 10 lines. */
async function trail(): Promise<string[]> {
  const store = createMemoryStore()
  const open = () => openMemoryState({ realm: 'default', store })
  const first = await open()
  for (let n = 0; n < 9; n++) await first.audit.commit(event(n))
  await first.close()
  const [second, third] = [await open(), await open()]
  for (let n = 10; n < 30; n++) await [second, third][n % 2]!.audit.commit(event(n))
  const lines = await linesOf(second.audit, 'events')
  await second.close()
  await third.close()
  return lines
}

const read = (line: string): SealedEvent => JSON.parse(line) as SealedEvent
/** The line with another text, hashed anew, as somebody without a copy of the hash would. */
const rehashed = (line: string, more: Partial<AuditEvent>, place: Partial<SealedEvent['chain']> = {}): string => {
  const { chain, ...told } = read(line)
  return seal({ ...told, ...more }, { ...chain, ...place }).text
}

describe('verification of the audit trail', () => {
  let lines: string[]
  before(async () => {
    lines = await trail()
    equal(lines.length, 32)
  })

  it('finds nothing in a trail that nobody touched', () => {
    const { problems, heads, notes } = verifyLines({ events: lines })
    deepEqual([problems, notes], [[], []])
    deepEqual(
      heads.map(({ seq }) => seq),
      [10, 11, 11],
    )
  })

  /** What is done to the lines; at: the line that is named first. */
  interface Tampering {
    readonly title: string
    readonly change: (lines: string[]) => string[]
    readonly fault: TrailFault
    readonly line: number
    /** Of the event; undefined: whichever stands in that line. */
    readonly seq?: number
    readonly expected?: RegExp
  }

  const replaced = (at: number, change: (line: string) => string) => (all: string[]) =>
    all.map((line, i) => (i === at ? change(line) : line))
  const fields: (keyof AuditEvent)[] = ['id', 'time', 'type', 'outcome', 'realm', 'actor', 'target', 'reason', 'detail']
  const tamperings: Tampering[] = [
    ...fields.map(
      (field): Tampering => ({
        title: `${field} changed`,
        change: replaced(4, (line) => {
          const parsed = read(line)
          return seal({ ...parsed, [field]: field === 'detail' ? { n: 5 } : 'x', chain: undefined } as never, parsed.chain).text.replace(
            /"hash":"[0-9a-f]+"/,
            `"hash":"${parsed.chain.hash}"`,
          )
        }),
        fault: 'changed',
        line: 5,
        seq: 5,
        expected: /hash/,
      }),
    ),
    ...fields
      .filter((field) => field !== 'id')
      .map(
        (field): Tampering => ({
          title: `${field} changed and hashed anew`,
          change: replaced(4, (line) => rehashed(line, { [field]: field === 'detail' ? { n: 5 } : 'x' })),
          fault: 'changed',
          line: 6,
          seq: 6,
          expected: /prev to be [0-9a-f]{64}, the hash of link 5 \(event event-3\)/,
        }),
      ),
    {
      title: 'a member added',
      change: replaced(4, (line) => line.replace('"outcome"', '"note":"x","outcome"')),
      fault: 'changed',
      line: 5,
      seq: 5,
    },
    {
      title: 'a member spelled otherwise',
      change: replaced(4, (line) => line.replace('"ok"', '"o\\u006b"')),
      fault: 'changed',
      line: 5,
      seq: 5,
      expected: /canonical/,
    },
    { title: 'white space added', change: replaced(4, (line) => `${line} `), fault: 'changed', line: 5, seq: 5, expected: /canonical/ },
    {
      title: 'a line made unreadable',
      change: replaced(4, (line) => line.slice(0, -1)),
      fault: 'changed',
      line: 5,
      seq: 5,
      expected: /JSON/,
    },
    { title: 'a line made empty', change: replaced(4, () => ''), fault: 'changed', line: 5 },
    {
      title: 'a link taken away',
      change: replaced(4, (line) => JSON.stringify({ ...read(line), chain: undefined })),
      fault: 'inserted',
      line: 5,
      expected: /a link/,
    },
    {
      title: 'the first event removed',
      change: (all) => all.slice(1),
      fault: 'removed',
      line: 1,
      seq: 1,
      expected: /link 1 before link 2/,
    },
    { title: 'the first three removed', change: (all) => all.slice(3), fault: 'removed', line: 1, seq: 1, expected: /links 1 to 3/ },
    {
      title: 'one removed in the middle',
      change: (all) => all.toSpliced(4, 1),
      fault: 'removed',
      line: 5,
      seq: 5,
      expected: /link 5 before link 6/,
    },
    {
      title: 'three removed in the middle',
      change: (all) => all.toSpliced(4, 3),
      fault: 'removed',
      line: 5,
      seq: 5,
      expected: /links 5 to 7/,
    },
    {
      title: 'the end of an ended chain removed',
      change: (all) => all.toSpliced(9, 1),
      fault: 'truncated',
      line: 10,
      seq: 10,
      expected: /link 10 of [0-9a-f]+, for the chain/,
    },
    { title: 'a whole chain removed', change: (all) => all.slice(10), fault: 'truncated', line: 1, seq: 1, expected: /links 1 to 10/ },
    { title: 'audit_started of the second chain removed', change: (all) => all.toSpliced(10, 1), fault: 'removed', line: 11, seq: 1 },
    {
      title: 'two neighbours swapped',
      change: (all) => all.toSpliced(4, 2, all[5]!, all[4]!),
      fault: 'reordered',
      line: 6,
      seq: 5,
      expected: /link 5 before link 6/,
    },
    { title: 'the first two swapped', change: (all) => all.toSpliced(0, 2, all[1]!, all[0]!), fault: 'reordered', line: 2, seq: 1 },
    {
      title: 'two far apart swapped',
      change: (all) => all.toSpliced(7, 1, all[3]!).toSpliced(3, 1, all[7]!),
      fault: 'reordered',
      line: 5,
      seq: 5,
    },
    { title: 'one moved to the end', change: (all) => [...all.toSpliced(4, 1), all[4]!], fault: 'reordered', line: 32, seq: 5 },
    {
      title: 'a resumed link moved behind what resumes from it',
      change: (all) => [...all.toSpliced(9, 1), all[9]!],
      fault: 'reordered',
      line: 10,
      seq: 10,
    },
    { title: 'one duplicated', change: (all) => all.toSpliced(5, 0, all[4]!), fault: 'duplicated', line: 6, seq: 5 },
    { title: 'one duplicated at the end', change: (all) => [...all, all[4]!], fault: 'duplicated', line: 33, seq: 5 },
    { title: 'one inserted without a link', change: (all) => all.toSpliced(4, 0, JSON.stringify(event(99))), fault: 'inserted', line: 5 },
    {
      title: 'one inserted in the place of the next, before it',
      change: (all) => all.toSpliced(4, 0, rehashed(all[4]!, { id: 'forged' })),
      fault: 'inserted',
      line: 5,
      seq: 5,
    },
    {
      title: 'one inserted in the place of another, after it',
      change: (all) => all.toSpliced(5, 0, rehashed(all[4]!, { id: 'forged' })),
      fault: 'inserted',
      line: 6,
      seq: 5,
    },
    {
      title: 'one inserted that only follows',
      change: (all) => all.toSpliced(4, 0, rehashed(all[3]!, { id: 'forged' }, { seq: 500 })),
      fault: 'removed',
      line: 5,
    },
    {
      title: 'one inserted of a chain that never began',
      change: (all) => all.toSpliced(4, 0, rehashed(all[3]!, {}, { boot: 'f'.repeat(24) })),
      fault: 'removed',
      line: 5,
    },
    {
      title: 'a chain begun without audit_started',
      change: (all) => all.toSpliced(4, 0, rehashed(all[3]!, {}, { boot: 'f'.repeat(24), seq: 1 })),
      fault: 'inserted',
      line: 5,
    },
    {
      title: 'a line of the other log',
      change: replaced(4, (line) => rehashed(line, {}, { log: 'decisions' })),
      fault: 'inserted',
      line: 5,
    },
    { title: 'a chain of another realm', change: replaced(10, (line) => rehashed(line, { realm: 'other' })), fault: 'inserted', line: 11 },
    {
      title: 'what is resumed changed',
      change: replaced(10, (line) => rehashed(line, { detail: { ...read(line).detail, resumes: null } })),
      fault: 'changed',
      line: 11,
      seq: 1,
    },
  ]
  for (const { title, change, fault, line, seq, expected } of tamperings) {
    it(`names ${title}`, () => {
      const { problems } = verifyLines({ events: change([...lines]) })
      const [first] = problems
      ok(first, 'nothing was found')
      deepEqual([first.fault, first.line], [fault, line], JSON.stringify(problems, undefined, 1))
      if (seq !== undefined) equal(first.seq, seq)
      if (expected) ok(expected.test(first.expected), first.expected)
    })
  }

  it('names the event by its id, its chain and its number', () => {
    const changed = lines.map((line, i) => (i === 15 ? line.replace('user:alice', 'user:mallory') : line))
    const { chain, id } = read(lines[15]!)
    const [first] = verifyLines({ events: changed }).problems
    deepEqual([first?.log, first?.boot, first?.seq, first?.id], ['events', chain.boot, chain.seq, id])
  })

  it('names one that was put before the true one by its own id', () => {
    const forged = lines.toSpliced(4, 0, rehashed(lines[4]!, { id: 'forged' }))
    equal(verifyLines({ events: forged }).problems[0]?.id, 'forged')
    equal(verifyLines({ events: lines.toSpliced(5, 0, rehashed(lines[4]!, { id: 'forged' })) }).problems[0]?.id, 'forged')
  })

  it('finds any single byte that changed, in any line', () => {
    const bytes = Buffer.from(lines.join('\n'))
    const ends = new Set([...bytes.entries()].filter(([, byte]) => byte === 0x0a).map(([at]) => at))
    let tried = 0
    for (let at = 0; at < bytes.length; at += 1 + Math.floor(Math.random() * 5)) {
      if (ends.has(at)) continue
      const changed = Buffer.from(bytes)
      const other = bytes[at]! ^ (1 << Math.floor(Math.random() * 7))
      if (other === 0x0a) continue
      changed[at] = other
      const { problems } = verifyLines({ events: changed.toString().split('\n') })
      ok(problems.length > 0, `byte ${at}: ${String.fromCharCode(bytes[at]!)} became ${String.fromCharCode(other)}`)
      tried++
    }
    ok(tried > 3000)
  }).timeout(60_000)

  it('finds any line that is removed but the last of a chain that nobody resumed', () => {
    for (let at = 0; at < lines.length; at++) {
      const { problems } = verifyLines({ events: lines.toSpliced(at, 1) })
      equal(problems.length > 0, at < 30, `line ${at + 1}`)
    }
  })

  it('finds the end of the newest chains removed by an anchor', () => {
    const { heads } = verifyLines({ events: lines })
    const short = lines.slice(0, -1)
    deepEqual(verifyLines({ events: short }).problems, [])
    const { problems } = verifyLines({ events: short }, { anchors: heads })
    deepEqual(
      problems.map(({ fault, seq }) => [fault, seq]),
      [['truncated', 11]],
    )
    deepEqual(verifyLines({ events: lines }, { anchors: heads }).problems, [])
    const other = verifyLines({ events: lines }, { anchors: [{ ...heads[0]!, hash: 'f'.repeat(64) }] })
    equal(other.problems[0]?.fault, 'anchor')
    equal(verifyLines({}, { anchors: heads }).problems.length, 3)
  })

  it('takes lines from before the chain, as many as the first chain says, and only there', async () => {
    const store = createMemoryStore()
    const old = Array.from({ length: 3 }, (_, n) => JSON.stringify(event(n)))
    for (const [i, text] of old.entries()) store.realm('default').audit.events.lines.push({ cursor: String(i - 10), text })
    const state = await openMemoryState({ realm: 'default', store })
    await state.audit.commit(event(4))
    const all = await linesOf(state.audit, 'events')
    await state.close()
    equal(all.length, 5)
    deepEqual(verifyLines({ events: all }).problems, [])
    equal(verifyLines({ events: all.slice(1) }).problems[0]?.fault, 'removed')
    equal(verifyLines({ events: [old[0]!, ...all] }).problems[0]?.fault, 'inserted')
    deepEqual(
      verifyLines({ events: [...all.slice(1), all[0]!] }).problems.map(({ fault, line }) => [fault, line]),
      [
        ['removed', 3],
        ['inserted', 5],
      ],
    )
  })

  it('says how many lines are from before the chain, for nothing vouches for them', () => {
    const old = JSON.stringify(event(1))
    const { problems, notes } = verifyLines({ events: [old, old], decisions: [old] })
    deepEqual(problems, [])
    deepEqual(notes, [
      '2 lines of events are from before the chain: nothing shows whether they were changed',
      '1 line of decisions is from before the chain: nothing shows whether it was changed',
    ])
  })

  it('finds a line without a link before a chain whose beginning was removed', async () => {
    const store = createMemoryStore()
    const old = Array.from({ length: 3 }, (_, n) => JSON.stringify(event(n)))
    for (const [i, text] of old.entries()) store.realm('default').audit.events.lines.push({ cursor: String(i - 10), text })
    const state = await openMemoryState({ realm: 'default', store })
    for (let n = 4; n < 8; n++) await state.audit.commit(event(n))
    const before = await linesOf(state.audit, 'events')
    const cut = createCut()
    for (const line of before.slice(0, 5)) cut.take(line)
    const checkpoint = cut.checkpoint(undefined, { realm: 'default', log: 'events' }, 1_800_000_000_000) as unknown as JsonObject
    await state.audit.commitTo('events', { ...event(9), type: 'audit_checkpoint', detail: { checkpoint } })
    const all = await linesOf(state.audit, 'events')
    await state.close()
    const faults = (lines: readonly string[]) => verifyLines({ events: lines }).problems.map(({ fault, line }) => [fault, line])
    // The removal may have been interrupted anywhere.
    for (const removed of [0, 1, 3, 4, 5]) deepEqual(faults(all.slice(removed)), [], `${removed} removed`)
    deepEqual(faults([old[0]!, ...all.slice(5)]), [['inserted', 1]])
    deepEqual(faults([old[0]!, ...all.slice(4)]), [['inserted', 1]])
    deepEqual(faults([...old, old[0]!, ...all.slice(4)]), [['inserted', 1]])
  })

  it('blames nobody else when there is no room for more problems', () => {
    const many = lines.slice(0, 2).concat(Array.from({ length: 101 }, () => 'damaged'))
    const [first, second] = [lines[2]!, lines[3]!]
    const twin = rehashed(first, { target: 'other' })
    const { problems, more } = verifyLines({ events: [...many, twin, first, second] })
    equal(more, 2)
    deepEqual(new Set(problems.map(({ fault }) => fault)), new Set(['changed']))
    ok(problems.every(({ line }) => line <= 103))
  })
})
