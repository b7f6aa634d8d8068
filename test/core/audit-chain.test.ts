import { deepEqual, equal, ok } from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { canonical, eventOf, labelOf, noHash, type SealedEvent, seal } from '../../src/core/audit-chain.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import type { Json } from '../../src/core/json.ts'
import { readPage } from '../docs/markdown.ts'

const event: AuditEvent = {
  id: 'e1',
  time: '2026-01-01T00:00:00.000Z',
  type: 'owner_changed',
  outcome: 'success',
  realm: 'default',
  actor: 'admin "x"',
  detail: { z: 1, a: [true, null, 1e21], é: 'grüße\n', '\ud83d\ude00': '😀' },
}

/** What somebody would write who has read the reference alone. */
const recomputed = (line: string): string => {
  const { chain, ...rest } = JSON.parse(line) as SealedEvent
  const { hash, ...place } = chain
  ok(hash)
  const sorted = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(sorted)
      : typeof value === 'object' && value !== null
        ? Object.fromEntries(
            Object.entries(value)
              .sort(([a], [b]) => (a < b ? -1 : 1))
              .map(([name, each]) => [name, sorted(each)]),
          )
        : value
  return createHash('sha256')
    .update(JSON.stringify(sorted({ ...rest, chain: place })))
    .digest('hex')
}

describe('the audit chain', () => {
  it('writes canonical JSON as RFC 8785 does', () => {
    // Examples of sections 3.2.2 and 3.2.3.
    const numbers = JSON.parse('[333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001]') as Json
    equal(canonical(numbers), '[333333333.3333333,1e+30,4.5,0.002,1e-27]')
    equal(canonical('€$\u000f\nA\'B"\\\\"/'), '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"')
    const names = { '€': 1, '\r': 2, '\ufb33': 3, '1': 4, '😀': 5, '\u0080': 6, ö: 7 }
    deepEqual(
      [...canonical(names).matchAll(/:(\d)/g)].map(([, n]) => Number(n)),
      [2, 4, 6, 7, 1, 5, 3],
    )
    equal(canonical({ b: undefined, a: -0 } as never), '{"a":0}')
    equal(canonical('\ud800'), '"\ufffd"')
    // Names too, and they sort as what they become; of two that become one the last counts, as for a parser.
    equal(canonical({ '\ud800': 1, '\ue000': 2 }), '{"\ue000":2,"\ufffd":1}')
    equal(canonical({ '\ud800': 1, '\udc00': 2 }), '{"\ufffd":2}')
  })

  it('stores an event in canonical form, with a hash that anybody can recompute', () => {
    const { text, hash } = seal(event, { boot: 'b', log: 'events', prev: noHash, seq: 1 })
    const parsed = JSON.parse(text) as SealedEvent
    equal(text, canonical(parsed as unknown as Json))
    equal(parsed.chain.hash, hash)
    equal(recomputed(text), hash)
    deepEqual(eventOf(text), event)
    deepEqual(labelOf(text), { link: { boot: 'b', seq: 1, hash }, time: event.time, type: event.type })
  })

  it('writes whatever an event holds so that it reads as it was stored', () => {
    const any = (depth: number): unknown => {
      const kind = Math.floor(Math.random() * (depth > 3 ? 6 : 8))
      const letters = () =>
        Array.from({ length: Math.floor(Math.random() * 6) }, () => String.fromCharCode(Math.floor(Math.random() ** 3 * 0x10000))).join('')
      if (kind === 0) return letters()
      if (kind === 1) return (Math.random() - 0.5) * 10 ** Math.floor(Math.random() * 40 - 20)
      if (kind === 2) return Math.floor(Math.random() * 1e6)
      if (kind === 3) return [true, false, null][Math.floor(Math.random() * 3)]
      if (kind === 4) return [undefined, Number.NaN, 10n ** 30n, () => 1, Symbol('s')][Math.floor(Math.random() * 5)]
      if (kind === 5) return '__proto__'
      const size = Math.floor(Math.random() * 4)
      if (kind === 6) return Array.from({ length: size }, () => any(depth + 1))
      return Object.fromEntries(Array.from({ length: size }, () => [Math.random() < 0.1 ? '__proto__' : letters(), any(depth + 1)]))
    }
    for (let n = 0; n < 3000; n++) {
      const { text, hash } = seal({ ...event, detail: any(0) as never }, { boot: 'b', log: 'events', prev: noHash, seq: n + 1 })
      equal(canonical(JSON.parse(text) as Json), text)
      const { chain, ...told } = JSON.parse(text) as SealedEvent
      deepEqual(seal(told, chain), { text, hash })
    }
  })

  it('seals an event without an actor, and one with nothing that sorts before its chain', () => {
    const { actor, ...rest } = event
    ok(actor)
    const { text, hash } = seal(rest, { boot: 'b', log: 'decisions', prev: hash64('1'), seq: 2 })
    equal(text, canonical(JSON.parse(text) as Json))
    equal(recomputed(text), hash)
  })

  it('reads the label of lines that have no link, and of what is no event', () => {
    deepEqual(labelOf(JSON.stringify(event)), { link: undefined, time: event.time, type: event.type })
    deepEqual(labelOf('{'), { link: undefined, time: '', type: '' })
    equal(eventOf('null'), undefined)
  })

  it('is as the reference shows it', () => {
    const { blocks } = readPage('docs/reference/audit.md')
    const lines = blocks
      .find(({ info }) => info === 'json lines')!
      .text.trim()
      .split('\n')
    let prev = noHash
    for (const [i, line] of lines.entries()) {
      const { chain } = JSON.parse(line) as SealedEvent
      equal(chain.prev, prev)
      equal(chain.seq, i + 1)
      equal(chain.hash, recomputed(line))
      prev = chain.hash
    }
    const text = blocks.find(({ info }) => info === 'text hashed')!.text.trim()
    equal(createHash('sha256').update(text).digest('hex'), (JSON.parse(lines[0]!) as SealedEvent).chain.hash)
  })
})

const hash64 = (digit: string): string => digit.repeat(64)
