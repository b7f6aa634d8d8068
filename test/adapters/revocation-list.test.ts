import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { createMemoryStore, openMemoryState } from '../../src/adapters/memory-state.ts'
import { openRevocationList } from '../../src/adapters/revocation-list.ts'
import { concernedBy } from '../../src/compose/revocations.ts'
import {
  type Change,
  type Revocation,
  type RevocationPage,
  type RevocationStore,
  revocationLevels,
  Unavailable,
} from '../../src/core/ports.ts'
import type { Actor, Principal } from '../../src/core/principal.ts'
import { aPrincipal } from '../support/facts.ts'
import { until } from '../support/until.ts'
import type { Million } from './revocation-million.ts'

const now = 1_800_000_000
const nowMs = now * 1000
const principal = (more: Partial<Principal> = {}): Principal => aPrincipal({ issuedAt: now, expiresAt: now + 300, ...more })
const entry = (more: Partial<Revocation>): Revocation => ({ level: 'token', target: 'jti-1', at: now, until: now + 600, ...more })

/** A list over a store and a feed that the test moves. */
async function setUp(stored: Revocation[] = []) {
  const listeners = new Set<(change: Change) => void>()
  const at = { now: 0, heard: 0 }
  const state = { failing: false, reads: 0, cursors: [] as (string | undefined)[] }
  const store: RevocationStore = {
    list: async (after) => {
      state.reads += 1
      state.cursors.push(after)
      if (state.failing) throw new Unavailable('down')
      const start = Number(after ?? 0)
      const entries = stored.slice(start, start + 3)
      return { entries, cursor: String(start + entries.length), more: start + entries.length < stored.length } satisfies RevocationPage
    },
    append: async (revocation) => {
      if (state.failing) throw new Unavailable('down')
      stored.push(revocation)
    },
  }
  const feed = {
    subscribe: (listener: (change: Change) => void) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    heardAt: () => at.heard,
  }
  const list = await openRevocationList({ store, feed, maxStalenessMs: 5000, clock: () => at.now, standing: (name) => name === 'partners' })
  const tell = () => {
    for (const listener of listeners) listener({ kind: 'revocations' })
  }
  const move = (ms: number) => {
    at.now = ms
    at.heard = ms
  }
  return { list, stored, at, state, tell, move, listeners }
}

describe('revocation list', () => {
  let close = () => {}
  afterEach(() => close())
  const open = async (stored?: Revocation[]) => {
    const made = await setUp(stored)
    close = made.list.close
    return made
  }

  it('refuses a revoked token by its id, until the entry concerns nothing any more', async () => {
    const { list } = await open([entry({})])
    equal(list.check(principal({ tokenId: 'jti-1' }), nowMs), 'revoked')
    equal(list.check(principal({ tokenId: 'jti-2' }), nowMs), 'clear')
    equal(list.check(principal(), nowMs), 'clear')
    equal(list.check(principal({ tokenId: 'jti-1' }), (now + 600) * 1000), 'revoked')
    equal(list.check(principal({ tokenId: 'jti-1' }), (now + 601) * 1000), 'clear')
  })

  it('refuses what a subject was issued up to the instant and the skew', async () => {
    const { list } = await open([entry({ level: 'subject', target: 'alice' })])
    equal(list.check(principal({ issuedAt: now - 1000 }), nowMs), 'revoked')
    equal(list.check(principal({ issuedAt: now + 60 }), nowMs), 'revoked')
    equal(list.check(principal({ issuedAt: now + 61 }), nowMs), 'clear')
    equal(list.check(principal({ issuedAt: 0 }), nowMs), 'revoked')
    equal(list.check(principal({ subject: 'bob' }), nowMs), 'clear')
    equal(list.check(principal({ subject: 'agent:alice', rawSubject: 'alice' }), nowMs), 'clear')
  })

  it('does not take a token id for a subject', async () => {
    const { list } = await open([entry({ target: 'alice' }), entry({ level: 'subject', target: 'jti-9' })])
    equal(list.check(principal({ tokenId: 'jti-9' }), nowMs), 'clear')
  })

  it('keeps the later of two entries for one subject', async () => {
    const { list } = await open([
      entry({ level: 'subject', target: 'alice', at: now }),
      entry({ level: 'subject', target: 'alice', at: now - 500, until: now + 50 }),
    ])
    equal(list.check(principal({ issuedAt: now }), nowMs), 'revoked')
  })

  it('has its own revocation in force when it is acknowledged, and none that failed', async () => {
    const { list, state } = await open()
    const heard: Revocation[] = []
    list.onRevoked((revocation) => heard.push(revocation))
    await list.revoke(entry({ target: 'mine' }))
    equal(list.check(principal({ tokenId: 'mine' }), nowMs), 'revoked')
    deepEqual(heard, [entry({ target: 'mine', until: now + 720 })])
    state.failing = true
    await rejects(list.revoke(entry({ target: 'lost' })), Unavailable)
    equal(list.check(principal({ tokenId: 'lost' }), nowMs), 'clear')
  })

  it('refuses a token as long as any clock may take it for valid: to its end and the skew', async () => {
    const { list, stored } = await open()
    const expiresAt = now + 300
    await list.revoke(entry({ target: 'ends', until: expiresAt }))
    equal(list.check(principal({ tokenId: 'ends', expiresAt }), (expiresAt + 60) * 1000), 'revoked')
    // Whoever's clock is a minute ahead takes it out of state when it has passed, and another that starts then admits the token.
    deepEqual(
      stored.map(({ until }) => until),
      [expiresAt + 60 + 60],
    )
  })

  it('reads again when told, and says once what is new', async () => {
    const { list, stored, tell } = await open([entry({})])
    const heard: string[] = []
    list.onRevoked(({ target }) => heard.push(target))
    stored.push(entry({ target: 'jti-2' }))
    tell()
    await until('the second', () => list.check(principal({ tokenId: 'jti-2' }), nowMs) === 'revoked')
    deepEqual(heard, ['jti-2'])
  })

  it('reads only what is new, page after page, and goes on where a reading failed', async () => {
    const all = Array.from({ length: 7 }, (_, i) => entry({ target: `jti-${i}` }))
    const { list, stored, tell, state } = await open(all)
    equal(list.size(), 7)
    deepEqual(state.cursors, [undefined, '3', '6'])
    state.failing = true
    stored.push(entry({ target: 'jti-7' }))
    tell()
    await until('a failure', () => state.reads > 3)
    state.failing = false
    await until('the eighth', () => list.check(principal({ tokenId: 'jti-7' }), nowMs) === 'revoked')
    deepEqual([...new Set(state.cursors.slice(3))], ['7'])
  })

  it('is unavailable when nothing was heard for max_staleness', async () => {
    const { list, at } = await open()
    at.now = 5000
    equal(list.check(principal(), nowMs), 'clear')
    at.now = 5001
    equal(list.check(principal(), nowMs), 'unavailable')
    at.heard = 5001
    equal(list.check(principal(), nowMs), 'clear')
  })

  it('is unavailable while it knows of a change that it cannot read, though the feed is alive', async () => {
    const { list, state, tell, move } = await open()
    state.failing = true
    tell()
    await sleep(10)
    move(4000)
    equal(list.check(principal(), nowMs), 'clear')
    move(5001)
    equal(list.check(principal(), nowMs), 'unavailable')
    state.failing = false
    await until('the next reading', () => list.check(principal(), nowMs) === 'clear')
  })

  it('is unavailable until it was read for the first time', async () => {
    const failing: RevocationStore = { list: () => Promise.reject(new Unavailable('down')), append: async () => {} }
    const { feed, close: end } = await openMemoryState({ realm: 'default' })
    const list = await openRevocationList({ store: failing, feed, maxStalenessMs: 5000 })
    equal(list.check(principal(), nowMs), 'unavailable')
    list.close()
    await end()
  })

  it('stays available under a steady flood of changes', async () => {
    const { list, tell, move, state } = await open()
    for (let ms = 0; ms <= 12_000; ms += 500) {
      move(ms)
      tell()
      // Another change while the list is being read.
      tell()
      const reads = state.reads
      await until('a reading', () => state.reads > reads || undefined, 1000)
      equal(list.check(principal(), nowMs), 'clear')
    }
  })

  it('holds on to what state has forgotten', async () => {
    const { list, stored, tell, state } = await open([entry({})])
    stored.splice(0, 1, entry({ target: 'another' }))
    const reads = state.reads
    tell()
    await until('a reading', () => state.reads > reads)
    equal(list.check(principal({ tokenId: 'jti-1' }), nowMs), 'revoked')
  })

  describe('levels of tokens of our own', () => {
    const id = (name: string) => `spiffe://agents.local/agent/o/t/${name}`
    /** a acts for itself; b for a; c for b for a, by the client and task. */
    const [a, b, c] = [
      principal({ subject: `agent:${id('a')}`, rawSubject: id('a'), issued: { client: 'app-1', task: 'task-1' } }),
      principal({ subject: `agent:${id('a')}`, rawSubject: id('a'), actor: { subject: id('b') }, issued: { task: 'task-1' } }),
      principal({ subject: `agent:${id('a')}`, rawSubject: id('a'), actor: { subject: id('c'), actor: { subject: id('b') } }, issued: {} }),
    ]
    const { issued: _, ...foreign } = { ...c, issued: undefined }
    const cases: [level: Revocation['level'], target: string, refused: readonly (typeof a)[]][] = [
      ['subject', `agent:${id('a')}`, [a, b, c, foreign]],
      ['subject', id('a'), [a, b, c]],
      ['subject', id('b'), []],
      ['agent', id('a'), [a, b, c]],
      ['agent', id('b'), [b]],
      ['agent', id('c'), [c]],
      ['agent', `agent:${id('a')}`, []],
      ['chain', id('a'), [a, b, c]],
      ['chain', id('b'), [b, c]],
      ['chain', id('c'), [c]],
      ['task', 'task-1', [a, b]],
      ['client', 'app-1', [a]],
      ['client', 'task-1', []],
      ['task', 'app-1', []],
      ['token', id('a'), []],
    ]
    for (const [level, target, refused] of cases) {
      it(`${level} ${target} refuses ${refused.length} of four, up to its instant`, async () => {
        const { list } = await open([entry({ level, target })])
        const all = [a, b, c, foreign]
        deepEqual(
          all.map((one) => list.check(one, nowMs)),
          all.map((one) => (refused.includes(one) ? 'revoked' : 'clear')),
        )
        deepEqual(
          all.map((one) => list.level(one, nowMs)),
          all.map((one) => (refused.includes(one) ? level : undefined)),
        )
        for (const one of refused) {
          const at = (issuedAt: number, when = nowMs) => list.check({ ...one, issuedAt }, when)
          deepEqual(
            [at(0), at(now + 60), at(now + 61), at(now, (now + 600) * 1000), at(now, (now + 601) * 1000)],
            ['revoked', 'revoked', 'clear', 'revoked', 'clear'],
          )
        }
      })
    }

    it('say the first that refuses, and nothing while nothing does', async () => {
      const { list } = await open([
        entry({ level: 'client', target: 'app-1' }),
        entry({ level: 'subject', target: `agent:${id('a')}`, at: now - 500 }),
      ])
      equal(list.level({ ...a, issuedAt: now - 1000 }, nowMs), 'subject')
      equal(list.level(a, nowMs), 'client')
      equal(list.level(principal(), nowMs), undefined)
    })
  })

  describe('a lift', () => {
    const key = principal({
      validator: 'partners',
      subject: 'key:alice',
      tokenId: 'key-1',
      issuedAt: 0,
      expiresAt: Number.POSITIVE_INFINITY,
    })
    const old = principal({ subject: 'key:alice', issuedAt: now - 1000 })
    const withoutInstant = principal({ subject: 'key:alice', issuedAt: 0 })
    const lift = (at: number, more: Partial<Revocation> = {}) => entry({ level: 'subject', target: 'key:alice', at, lifted: true, ...more })
    const revoked = (at = now) => entry({ level: 'subject', target: 'key:alice', at })

    it('lets keys of the subject in again, and none of its tokens, with an instant or without', async () => {
      const { list, stored, tell } = await open([revoked()])
      deepEqual(
        [key, old, withoutInstant].map((one) => list.check(one, nowMs)),
        ['revoked', 'revoked', 'revoked'],
      )
      stored.push(lift(now + 1))
      tell()
      await until('the lift', () => list.check(key, nowMs) === 'clear', 1000)
      deepEqual(
        [old, withoutInstant].map((one) => list.check(one, nowMs)),
        ['revoked', 'revoked'],
      )
      deepEqual(await list.known('subject', 'key:alice'), { at: now, until: now + 600, lifted: true })
      equal(await list.known('subject', 'alice'), undefined)
    })

    for (const [name, entries, answer] of [
      ['yields to a revocation of the same instant', [revoked(now + 1), lift(now + 1)], 'revoked'],
      ['yields to a later revocation, in whatever order they come', [lift(now + 1), revoked(now + 1), revoked()], 'revoked'],
      ['holds though the revocation is told again', [revoked(), lift(now + 1), revoked()], 'clear'],
      ['holds where it is told first', [lift(now + 1), revoked()], 'clear'],
      ['ends when it is to end', [revoked(), lift(now + 1, { until: now - 1 })], 'revoked'],
      ['lifts its own level only', [revoked(), lift(now + 1, { level: 'agent' })], 'revoked'],
      ['lifts its own target only', [revoked(), lift(now + 1, { target: 'key:bob' })], 'revoked'],
      ['lifts no token', [entry({ target: 'key-1' }), lift(now + 1, { level: 'token', target: 'key-1' })], 'revoked'],
    ] as const) {
      it(name, async () => {
        const { list } = await open([...entries])
        equal(list.check(key, nowMs), answer)
      })
    }

    it('ends with the next revocation, though that comes from a clock that is behind', async () => {
      const { list, stored } = await open([revoked(now + 30), lift(now + 31)])
      equal(list.check(key, nowMs), 'clear')
      await list.revoke(revoked(now + 5))
      equal(list.check(key, nowMs), 'revoked')
      // In state too, for all others, and it can be lifted in its turn.
      deepEqual([stored.at(-1)?.at, (await list.known('subject', 'key:alice'))?.at], [now + 31, now + 31])
      await list.revoke(lift(now + 32))
      equal(list.check(key, nowMs), 'clear')
      await list.revoke(revoked(now + 40))
      deepEqual([list.check(key, nowMs), stored.at(-1)?.at], ['revoked', now + 40])
      await list.revoke(entry({ level: 'subject', target: 'key:bob', at: now + 5 }))
      equal(stored.at(-1)?.at, now + 5)
    })

    it('stays, as a revocation does, though state has forgotten it', async () => {
      const { list, stored, tell, state } = await open([revoked(), lift(now + 1)])
      stored.splice(0, 2)
      const reads = state.reads
      tell()
      await until('a reading', () => state.reads > reads)
      equal(list.check(key, nowMs), 'clear')
    })

    it('tells who has a secret and no instant whether it may be used: the client or agent that was revoked', async () => {
      const { list, stored, tell, move } = await open([entry({ level: 'client', target: 'app-1' })])
      deepEqual(
        [list.standing('client', 'app-1', nowMs), list.standing('client', 'app-2', nowMs), list.standing('agent', 'app-1', nowMs)],
        ['revoked', 'clear', 'clear'],
      )
      stored.push(entry({ level: 'client', target: 'app-1', at: now + 1, lifted: true }))
      tell()
      await until('the lift', () => list.standing('client', 'app-1', nowMs) === 'clear', 1000)
      // Its old tokens stay out.
      equal(list.check(principal({ issued: { client: 'app-1' } }), nowMs), 'revoked')
      move(0)
      const later = await open()
      later.at.now = 5001
      equal(later.list.standing('client', 'app-1', nowMs), 'unavailable')
    })
  })

  it('refuses exactly those whose downstream tokens are dropped, where all was issued before', async () => {
    const names = fc.constantFrom('a', 'b', 'c', 'agent:a')
    const anyone = fc
      .record({
        raw: names,
        prefix: fc.constantFrom('', 'agent:'),
        actors: fc.array(names, { maxLength: 4 }),
        tokenId: fc.option(names, { nil: undefined }),
        client: fc.option(names, { nil: undefined }),
        task: fc.option(names, { nil: undefined }),
        own: fc.boolean(),
      })
      .map(({ raw, prefix, actors, tokenId, client, task, own }) => {
        const actor = actors.reduceRight<Actor | undefined>((inner, subject) => ({ subject, ...(inner && { actor: inner }) }), undefined)
        const issued = { ...(client !== undefined && { client }), ...(task !== undefined && { task }) }
        return principal({
          subject: prefix + raw,
          rawSubject: raw,
          ...(actor && { actor }),
          ...(tokenId !== undefined && { tokenId }),
          ...(own && { issued }),
        })
      })
    const some = fc.array(fc.tuple(fc.constantFrom(...revocationLevels), names), { maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(anyone, some, async (one, revoked) => {
        const { list } = await setUp(revoked.map(([level, target]) => entry({ level, target })))
        const byLevel = new Map(revocationLevels.map((level) => [level, new Set(revoked.filter((r) => r[0] === level).map((r) => r[1]))]))
        equal(list.check(one, nowMs) === 'revoked', concernedBy(byLevel)(one))
        list.close()
      }),
      { numRuns: 400 },
    )
  })

  it('holds a million revocations: its memory, its turns, and the cost of a check', function () {
    this.timeout(60_000)
    const script = fileURLToPath(new URL('revocation-million.ts', import.meta.url))
    // Counting what runs would be measured with it.
    const { NODE_V8_COVERAGE: _, ...env } = process.env
    const { stdout, stderr, status } = spawnSync(process.execPath, [script], { encoding: 'utf8', env })
    equal(status, 0, stderr)
    const told = JSON.parse(stdout) as Million
    const { ns } = told
    const mb = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`
    console.log(
      `      1,000,000 of all levels: ${mb(told.grewBy)} more of the process (${mb(told.grewByAtMost)} at most), read in ${told.loadingMs.toFixed(0)} ms, longest turn ${told.longestTurnMs.toFixed(1)} ms, ${told.turnsOver5Ms} of ${told.turns} over 5 ms`,
    )
    console.log(
      `      a check of one of our own tokens: ${ns.none.toFixed(0)} ns with none, ${ns.thousand.toFixed(0)} with 1,000, ${ns.million.toFixed(0)} with 1,000,000`,
    )
    equal(told.entries, 1_000_000)
    ok(told.grewByAtMost < 100e6, mb(told.grewByAtMost))
    // A busy machine holds up threads by itself, but not most of their turns.
    ok(told.turnsOver5Ms < told.turns / 4, `${told.turnsOver5Ms} of ${told.turns} turns took over 5 ms`)
    ok(ns.million < 3 * ns.thousand + 500, `${ns.million} ns, and ${ns.thousand} ns with a thousand`)
    ok(ns.none < ns.thousand / 2, `${ns.none} ns with none`)
  })

  it('follows another handle of the same memory', async () => {
    const store = createMemoryStore()
    const [one, two] = [await openMemoryState({ realm: 'default', store }), await openMemoryState({ realm: 'default', store })]
    const list = await openRevocationList({ store: two.revocations, feed: two.feed, maxStalenessMs: 5000 })
    await one.revocations.append({ level: 'token', target: 'x', at: Date.now() / 1000, until: Date.now() / 1000 + 60 })
    await until('the revocation', () => list.check(principal({ tokenId: 'x' }), Date.now()) === 'revoked', 1000)
    list.close()
    await one.close()
    await two.close()
  })
})
