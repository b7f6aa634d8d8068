import { deepEqual, equal, rejects } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { createMemoryStore, openMemoryState } from '../../src/adapters/memory-state.ts'
import { openRevocationList } from '../../src/adapters/revocation-list.ts'
import { type Change, type Revocation, type RevocationPage, type RevocationStore, Unavailable } from '../../src/core/ports.ts'
import type { Principal } from '../../src/core/principal.ts'
import { aPrincipal } from '../support/facts.ts'
import { until } from '../support/until.ts'

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
  const list = await openRevocationList({ store, feed, maxStalenessMs: 5000, clock: () => at.now })
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
    deepEqual(heard, [entry({ target: 'mine' })])
    state.failing = true
    await rejects(list.revoke(entry({ target: 'lost' })), Unavailable)
    equal(list.check(principal({ tokenId: 'lost' }), nowMs), 'clear')
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
