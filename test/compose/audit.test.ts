import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { createIds } from '../../src/adapters/ids.ts'
import { openMemoryState } from '../../src/adapters/memory-state.ts'
import { judgeBy } from '../../src/cli/audit-verify.ts'
import { composeAudit, keptOf } from '../../src/compose/audit.ts'
import type { Loaded } from '../../src/config/read.ts'
import type { JsonObject } from '../../src/core/json.ts'
import type { State } from '../../src/core/ports.ts'
import { type KeyRing, openKeyRing } from '../../src/issuer/key-ring.ts'
import { linesOf, verifyLines, verifyTrail } from '../support/audit.ts'
import { until } from '../support/until.ts'

const newId = createIds()
const day = 86_400_000
const loaded = { settings: { realm: 'default', audit: { decisions: 'denials', retain: 30 * day } } } as unknown as Loaded

describe('the audit trail of a service', () => {
  let state: State
  const ends: (() => unknown)[] = []
  beforeEach(async () => {
    state = await openMemoryState({ realm: 'default' })
    ends.push(() => state.close())
  })
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })
  const fill = async (count: number) => {
    for (let n = 0; n < count; n++) {
      state.audit.append({ id: newId(), time: new Date().toISOString(), type: 'decision', outcome: 'deny', realm: 'default' })
      if (n % 5000 === 4999) await state.audit.tail(1)
    }
    await state.audit.tail(1)
  }
  const compose = (ring: KeyRing | undefined) => {
    const told: { readonly line: object; readonly text: string }[] = []
    const faults: unknown[] = []
    const write = (line: object, text: string) => void told.push({ line, text })
    const parts = composeAudit({
      state,
      issuer: ring && { ring: () => ring },
      loaded: () => loaded,
      log: { info: write, warn: write } as never,
      newId,
      onFault: (cause) => faults.push(cause),
      primary: true,
    })
    ends.push(parts.close)
    return { parts, told, faults }
  }

  it('bounds memory by checkpoints that the key set of the issuer verifies', async () => {
    const times = { publishBeforeMs: 900_000, rotateEveryMs: day, keepForMs: day }
    const ring = await openKeyRing({ store: state.keys, feed: state.feed, ...times } as never)
    ends.push(ring.close)
    await fill(15_000)
    const { told, faults } = compose(ring)
    await until('the removal', async () => (await state.audit.size('decisions')) <= 10_001, 4000)
    const judge = judgeBy(JSON.parse(JSON.stringify(ring.jwks())) as JsonObject)
    deepEqual((await verifyTrail(state.audit, { judge })).problems, [])
    ok(told.some(({ line }) => 'lines' in line && line.lines === 5001))
    deepEqual(faults, [])
    const lines = await linesOf(state.audit, 'decisions')
    equal(verifyLines({ decisions: lines.slice(1) }, { judge }).problems[0]?.fault, 'removed')
    equal(verifyLines({ decisions: lines }, { judge: judgeBy({ keys: [] }) }).problems[0]?.fault, 'checkpoint')
    // One of another kind, though by a key of ours.
    const other = ring.sign({ realm: 'default' }, 'JWT')
    equal(judge(other), 'bad')
  }).timeout(20_000)

  it('bounds memory without keys, too', async () => {
    await fill(12_000)
    compose(undefined)
    await until('the removal', async () => (await state.audit.size('decisions')) <= 10_001, 4000)
    deepEqual((await verifyTrail(state.audit)).problems, [])
    equal((await verifyTrail(state.audit, { judge: () => 'good' })).problems[0]?.fault, 'checkpoint')
  }).timeout(20_000)

  it('tells what it found, and an anchor of each chain', async () => {
    await fill(10)
    const { parts, told } = compose(undefined)
    await until('the count', () => parts.metrics().loaded === 11, 1000)
    match(JSON.stringify(told), /"events":11/)
    const [head] = parts.metrics().heads
    deepEqual([head?.log, head?.seq], ['decisions', 11])
    deepEqual(parts.metrics().anchors, [head])
    await fill(1)
    equal(parts.metrics().heads[0]?.seq, 12)
    // Its hash is a label: it stays for a while.
    deepEqual(parts.metrics().anchors, [head])
  })

  it('keeps decisions for 90 days and all else for ever, where nothing is said', () => {
    deepEqual(keptOf('redis', undefined)('decisions'), { ms: 90 * day, lines: 1_000_000 })
    deepEqual(keptOf('file', undefined)('events'), { ms: undefined, lines: undefined })
    deepEqual(keptOf('file', day)('events'), { ms: day, lines: undefined })
    deepEqual(keptOf('memory', undefined)('events'), { ms: undefined, lines: 10_000 })
  })
})
