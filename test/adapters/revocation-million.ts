/** Run by revocation-list.test.ts in a process of its own, so that its memory can be told: a million revocations in a list. Prints JSON. */
import { openRevocationList, type RevocationList } from '../../src/adapters/revocation-list.ts'
import { type RevocationStore, revocationLevels } from '../../src/core/ports.ts'

/** What is measured; bytes, milliseconds, and nanoseconds a check. */
export interface Million {
  readonly entries: number
  readonly grewBy: number
  readonly grewByAtMost: number
  readonly loadingMs: number
  readonly longestTurnMs: number
  readonly turnsOver5Ms: number
  readonly turns: number
  readonly ns: Readonly<Record<'none' | 'thousand' | 'million', number>>
}

const now = 1_800_000_000
const idOf = (i: number) => `0199f3c2-7b1e-7${i.toString(16).padStart(8, '0')}-4c1d-${(i * 7919).toString(16).padStart(12, '0')}`

/** Makes its entries as they are read, so that it takes no memory itself. */
const storeOf = (count: number): RevocationStore => ({
  list: async (after = '0') => {
    const start = Number(after)
    const end = Math.min(count, start + 1000)
    const entries = Array.from({ length: end - start }, (_, i) => ({
      level: revocationLevels[(start + i) % revocationLevels.length]!,
      target: idOf(start + i),
      at: now,
      until: now + 1e9,
    }))
    return { entries, cursor: String(end), more: end < count }
  },
  append: async () => {},
})
const feed = { subscribe: () => () => {}, heardAt: () => Number.POSITIVE_INFINITY }
const open = (count: number) => openRevocationList({ store: storeOf(count), feed, maxStalenessMs: 5000 })

/** A token of our own with all that can be revoked of it, and nothing of it revoked. */
const principals = Array.from({ length: 500 }, (_, i) => {
  const rawSubject = `spiffe://agents.local/agent/orchestrator-7/task-${i}/${idOf(-i)}`
  return {
    tokenId: `x${idOf(i)}`,
    subject: `agent:${rawSubject}`,
    rawSubject,
    issuedAt: now,
    actor: { subject: `spiffe://agents.local/agent/orchestrator-7/task-1/${i}` },
    issued: { client: 'orchestrator', task: `task-${i}` },
  }
})

/** The best of some rounds, for others work on this machine too. */
function costOf(list: RevocationList): number {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 25; round++) {
    const begun = performance.now()
    for (let n = 0; n < 10; n++)
      for (const principal of principals)
        if (list.check(principal, now * 1000, 0) !== 'clear') throw new Error('refused what nobody revoked')
    best = Math.min(best, ((performance.now() - begun) / 10 / principals.length) * 1e6)
  }
  return best
}

const none = await open(0)
const thousand = await open(1000)
const ns = { none: costOf(none), thousand: costOf(thousand), million: 0 }
const before = process.memoryUsage().rss
let most = 0
let turns = 0
let longest = 0
let over = 0
let loading = true
let last = performance.now()
const turn = () => {
  const at = performance.now()
  longest = Math.max(longest, at - last)
  if (at - last > 5) over += 1
  last = at
  turns += 1
  none.check(principals[turns % principals.length]!, now * 1000)
  if (turns % 100 === 0) most = Math.max(most, process.memoryUsage().rss - before)
  if (loading) setImmediate(turn)
}
setImmediate(turn)
const begun = performance.now()
const million = await open(1_000_000)
loading = false
const loadingMs = performance.now() - begun
const grewBy = process.memoryUsage().rss - before
ns.million = costOf(million)
const told: Million = {
  entries: million.size(),
  grewBy,
  grewByAtMost: Math.max(most, grewBy),
  loadingMs,
  longestTurnMs: longest,
  turnsOver5Ms: over,
  turns,
  ns,
}
console.log(JSON.stringify(told))
for (const list of [none, thousand, million]) list.close()
