import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { type AuditRetention, type AuditRetentionOptions, startAuditRetention } from '../../src/adapters/audit-retention.ts'
import { createIds } from '../../src/adapters/ids.ts'
import { createMemoryStore, type MemoryStore, openMemoryState } from '../../src/adapters/memory-state.ts'
import { type SealedEvent, seal } from '../../src/core/audit-chain.ts'
import { chainRest, createCut, readCheckpoint } from '../../src/core/audit-checkpoint.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import type { AuditLogName } from '../../src/core/audit-log.ts'
import type { VerificationOptions } from '../../src/core/audit-verify.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { verifySignature } from '../../src/core/jws.ts'
import { type State, Unavailable } from '../../src/core/ports.ts'
import { linesOf, verifyLines, verifyTrail } from '../support/audit.ts'

const day = 86_400_000
const newId = createIds()
const event = (at: number, type: 'decision' | 'owner_changed' = 'owner_changed'): AuditEvent => ({
  id: newId(at),
  time: new Date(at).toISOString(),
  type,
  outcome: 'success',
  realm: 'default',
})

/** A key that signs checkpoints as the issuer's do, and who judges them by it. */
function signer(kid = 'k') {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const publicKey: KeyObject = createPublicKey(privateKey)
  const encode = (part: JsonObject) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const signed = (payload: JsonObject, typ: string) => {
    const input = `${encode({ alg: 'ES256', typ, kid })}.${encode(payload)}`
    return `${input}.${sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
  }
  const judge: VerificationOptions['judge'] = (jws) => (verifySignature(jws, 'ES256', publicKey) ? 'good' : 'bad')
  return { sign: signed, signs: (asked: string) => asked === kid, judge }
}

describe('retention of the audit trail', () => {
  let state: State
  let store: MemoryStore
  const started: AuditRetention[] = []
  const issuer = signer()
  const { sign, judge } = issuer
  let now = 1_800_000_000_000
  beforeEach(async () => {
    store = createMemoryStore()
    state = await openMemoryState({ realm: 'default', store, clock: () => now })
  })
  afterEach(async () => {
    for (const each of started.splice(0)) await each.close()
    await state.close()
  })
  const start = (more: Partial<AuditRetentionOptions> = {}): AuditRetention => {
    const retention = startAuditRetention({
      audit: state.audit,
      claim: () => true,
      realm: 'default',
      kept: () => ({ ms: 10 * day }),
      signer: issuer,
      newId,
      everyMs: 3_600_000,
      onCut: () => {},
      onFault: (cause) => {
        throw cause
      },
      clock: () => now,
      ...more,
    })
    started.push(retention)
    return retention
  }
  /** Some events a day. */
  const fill = async (days: number, log: AuditLogName = 'events') => {
    for (let n = 0; n < days; n++) {
      now += day
      for (let m = 0; m < 5; m++) await state.audit.commit(event(now + m, log === 'events' ? 'owner_changed' : 'decision'))
    }
  }

  it('removes what is older than it is kept, of both logs, first under a checkpoint that is signed', async () => {
    await fill(15)
    await fill(15, 'decisions')
    const retention = start()
    ok((await retention.run()) > 100)
    const { problems, lines } = await verifyTrail(state.audit, { judge })
    deepEqual(problems, [])
    // Ten days of five events; the oldest day may be there in part.
    ok(lines.decisions >= 50 && lines.decisions <= 70, `${lines.decisions}`)
    for (const log of ['events', 'decisions'] as const) {
      const last = JSON.parse((await linesOf(state.audit, log)).at(-1)!) as SealedEvent
      equal(last.type, 'audit_checkpoint')
      match(String(last.detail?.['signature']), /^[\w-]+\.[\w-]+\.[\w-]+$/)
      ok(readCheckpoint(last.detail)!.removed > 20)
    }
    equal(await retention.run(), 0)
  })

  it('stays verifiable over many turns, and remembers no chain for ever', async () => {
    const sizes: number[] = []
    for (let turn = 0; turn < 12; turn++) {
      // Each time another process, which writes for some days.
      await state.close()
      state = await openMemoryState({ realm: 'default', store, clock: () => now })
      await fill(4)
      started.splice(0)
      const each = start()
      await each.run()
      await each.close()
      deepEqual((await verifyTrail(state.audit, { judge })).problems, [])
      const checkpoints = (await linesOf(state.audit, 'events')).filter((line) => line.includes('"type":"audit_checkpoint"'))
      if (checkpoints.length > 0) sizes.push(readCheckpoint((JSON.parse(checkpoints.at(-1)!) as SealedEvent).detail)!.chains.length)
    }
    ok(sizes.length > 8)
    // A chain of four days rests, and the next begins: a dozen days or so are remembered.
    ok(Math.max(...sizes) < 20, sizes.join())
  })

  it('keeps for ever what no setting ends', async () => {
    await fill(100)
    equal(await start({ kept: () => ({}) }).run(), 0)
  })

  it('removes nothing unless it can be signed, and nothing beside what a checkpoint says', async () => {
    await fill(20)
    const before = await state.audit.size('events')
    const faults: unknown[] = []
    const unready = start({
      onFault: (cause) => faults.push(cause),
      signer: {
        ...issuer,
        sign: () => {
          throw new Unavailable('no keys yet')
        },
      },
    })
    equal(await unready.run(), 0)
    ok(faults[0] instanceof Unavailable)
    equal(await state.audit.size('events'), before)
    // A turn that took too long leaves the lines where they are; the next one removes them.
    let late = 0
    const slow = start({ clock: () => now + 30_000 * late++ })
    await slow.run()
    ok((await state.audit.size('events')) > before)
    deepEqual((await verifyTrail(state.audit, { judge })).problems, [])
    ok((await start().run()) > 0)
    deepEqual((await verifyTrail(state.audit, { judge })).problems, [])
  })

  it('signs the newest checkpoint anew when another key begins to sign', async () => {
    await fill(20)
    await start().run()
    const size = await state.audit.size('events')
    equal(await start().run(), 0)
    equal(await state.audit.size('events'), size)
    const next = signer('next')
    // Another process, which has not written the first: it finds it, since the log was cut.
    await start({ signer: next }).run()
    await start({ signer: { ...next, signs: () => true } }).run()
    const lines = await linesOf(state.audit, 'events')
    const checkpoints = lines.filter((line) => line.includes('"type":"audit_checkpoint"')).map((line) => JSON.parse(line) as SealedEvent)
    equal(checkpoints.length, 2)
    deepEqual({ ...readCheckpoint(checkpoints[1]?.detail), iat: 0 }, { ...readCheckpoint(checkpoints[0]?.detail), iat: 0 })
    // The first is by a key that nobody has any more.
    const known: VerificationOptions['judge'] = (jws) => (jws === checkpoints[1]?.detail?.['signature'] ? next.judge!(jws) : 'unknown_key')
    deepEqual((await verifyTrail(state.audit, { judge: known })).problems, [])
    equal((await verifyTrail(state.audit, { judge: () => 'unknown_key' })).problems[0]?.fault, 'checkpoint')
  })

  it('is found out where somebody without the key removes more, and hashes the rest anew', async () => {
    await fill(20)
    await start().run()
    const lines = await linesOf(state.audit, 'events')
    deepEqual(verifyLines({ events: lines }, { judge }).problems, [])
    equal(verifyLines({ events: lines.slice(5) }, { judge }).problems[0]?.fault, 'removed')
    // A chain of their own making over the events that they leave.
    let prev = '0'.repeat(64)
    const forged = lines.slice(5).map((line, i) => {
      const { chain, ...told } = JSON.parse(line) as SealedEvent
      const { text, hash } = seal(told, { ...chain, prev, seq: i + 1 })
      prev = hash
      return text
    })
    ok(verifyLines({ events: forged }, { judge }).problems.length > 0)
    // A checkpoint of their own making.
    const own = signer()
    const at = lines.findIndex((line) => line.includes('"type":"audit_checkpoint"'))
    const checkpoint = JSON.parse(lines[at]!) as SealedEvent
    const payload = readCheckpoint(checkpoint.detail)!
    const cut = createCut()
    for (const line of lines.slice(0, 5)) cut.take(line)
    const more = cut.checkpoint(payload, payload, now)
    const bad = (detail: JsonObject) => {
      const { chain, ...told } = checkpoint
      return verifyLines({ events: [...lines.slice(5, at), seal({ ...told, detail }, chain).text] }, { judge }).problems.map(
        ({ fault }) => fault,
      )
    }
    ok(bad({ signature: own.sign(more as never, 't') }).includes('checkpoint'))
    ok(bad({ checkpoint: more as never }).includes('checkpoint'))
    ok(bad({ signature: sign({ ...more, log: 'decisions' } as never, 't') }).includes('checkpoint'))
    deepEqual(bad({ signature: sign(more as never, 't') }), [])
  })

  it('bounds decisions by their number', async () => {
    for (let n = 0; n < 500; n++) state.audit.append(event(now + n, 'decision'))
    await state.audit.tail(1)
    const retention = start({ kept: (log) => (log === 'decisions' ? { lines: 100 } : {}) })
    equal(await retention.run(), 401)
    equal(await state.audit.size('decisions'), 101)
    equal(await retention.run(), 0)
  })

  it('goes on in one turn until nothing is over, for as long as a turn may take', async () => {
    const all = 350_000
    const text = seal(event(now, 'decision'), { boot: 'b', log: 'decisions', prev: '0'.repeat(64), seq: 1 }).text
    let [first, checkpoints] = [0, 0]
    const audit: AuditRetentionOptions['audit'] = {
      read: async (log, { limit, after, newestFirst }) => {
        if (log === 'events' || newestFirst) return []
        const from = after === undefined ? first : Number(after) + 1
        return Array.from({ length: Math.min(limit, all - from) }, (_, n) => ({ cursor: String(from + n), text }))
      },
      size: async () => all - first,
      cut: async (_log, upTo) => {
        first = Number(upTo) + 1
        now += pause
      },
      commitTo: async () => void checkpoints++,
    }
    let pause = 0
    const kept: AuditRetentionOptions['kept'] = (log) => (log === 'decisions' ? { lines: 50_000 } : {})
    equal(await start({ audit, kept }).run(), 300_000)
    deepEqual([all - first, checkpoints], [50_000, 3])
    // Somebody else's turn comes: what is left is for the next.
    first = 0
    pause = 150
    const slowly = await start({ audit, kept }).run()
    ok(slowly > 100_000 && slowly < 300_000, String(slowly))
  })

  it('does not stop at a line that says no time', async () => {
    await fill(20)
    const { lines } = store.realm('default').audit.events
    lines[0] = { ...lines[0]!, text: 'damaged' }
    lines[3] = { ...lines[3]!, text: lines[3]!.text.replace(/"time":"[^"]*"/, '"time":""') }
    ok((await start().run()) > 40)
    equal(await start({ kept: () => ({}) }).run(), 0)
  })

  it('leaves a turn that another replica has', async () => {
    await fill(20)
    equal(await start({ claim: () => false }).run(), 0)
  })

  it('goes on by itself', async () => {
    await fill(20)
    const retention = start({ everyMs: 20, clock: () => now++ })
    await new Promise((resolve) => setTimeout(resolve, 200))
    await retention.close()
    ok((await state.audit.size('events')) < 80)
  })
})

describe('checkpoints', () => {
  it('forget a chain only when nothing that is kept can name it', () => {
    const at = 1_800_000_000
    const line = (boot: string, seconds: number) =>
      seal(
        { id: 'x', time: new Date(seconds * 1000).toISOString(), type: 'decision', outcome: 'deny', realm: 'r' },
        { boot, log: 'events', prev: '0'.repeat(64), seq: 7 },
      ).text
    const cut = (boot: string, seconds: number) => {
      const made = createCut()
      made.take(line(boot, seconds))
      return made
    }
    const place = { realm: 'r', log: 'events' } as const
    const first = cut('a', at).checkpoint(undefined, place, at * 1000)
    const boots = (seconds: number) =>
      cut('b', seconds)
        .checkpoint(first, place, (at + 10 * chainRest) * 1000)
        .chains.map(({ boot }) => boot)
    deepEqual(boots(at + chainRest), ['a', 'b'])
    deepEqual(boots(at + 2 * chainRest + 1), ['b'])
    // Written by a clock that was years ahead: the other chain goes on today.
    const ahead = cut('b', at + 1000 * chainRest).checkpoint(first, place, (at + 60) * 1000)
    deepEqual(
      ahead.chains.map(({ boot }) => boot),
      ['a', 'b'],
    )
  })
})

describe('the first chains of a log with old lines', () => {
  it('count those alone, though another begins at the same time', async () => {
    const { createAuditState } = await import('../../src/adapters/audit-state.ts')
    const { createMemoryAudit, memoryAudit } = await import('../../src/adapters/memory-audit.ts')
    const kept = createMemoryAudit()
    const store = memoryAudit(kept)
    const old = Array.from({ length: 1500 }, (_, n) => ({ key: String(n), text: JSON.stringify(event(n)) }))
    await store.write('events', old)
    const quick = createAuditState({ realm: 'default', store })
    let raced = false
    const slow = createAuditState({
      realm: 'default',
      store: {
        ...store,
        size: async (log) => {
          if (!raced) await quick.commit(event(1))
          raced = true
          return store.size(log)
        },
      },
    })
    await slow.commit(event(2))
    ok(raced)
    const { problems, lines } = await verifyTrail(slow)
    deepEqual([problems, lines.events], [[], 1504])
    await quick.close()
    await slow.close()
  })
})

describe('a trail whose state fails', () => {
  it('begins another chain where nobody knows what was written, so that no place is held twice', async () => {
    const { createAuditState } = await import('../../src/adapters/audit-state.ts')
    const { createMemoryAudit, memoryAudit } = await import('../../src/adapters/memory-audit.ts')
    const kept = createMemoryAudit()
    const memory = memoryAudit(kept)
    let outcome: 'good' | 'lost answer' | 'nothing' = 'good'
    const audit = createAuditState({
      realm: 'default',
      store: {
        ...memory,
        write: async (log, lines) => {
          if (outcome !== 'nothing') await memory.write(log, lines)
          if (outcome !== 'good') throw new Unavailable('no answer')
        },
      },
    })
    const at = 1_800_000_000_000
    await audit.commit(event(at))
    audit.append(event(at + 1))
    outcome = 'lost answer'
    const lost = event(at + 2)
    await rejects(audit.commit(lost), Unavailable)
    outcome = 'nothing'
    await rejects(audit.commit(event(at + 3)), Unavailable)
    outcome = 'good'
    await audit.commit(event(at + 4))
    const { problems, heads, lines } = await verifyTrail(audit)
    deepEqual(problems, [])
    deepEqual(
      heads.map(({ seq }) => seq),
      [4, 5],
    )
    equal(lines.events, 9)
    // What was tried again was written twice, and is told once; what was done before its writer was told of a failure is there.
    const tail = await audit.tail(10)
    equal(new Set(tail.map(({ id }) => id)).size, tail.length)
    deepEqual(
      tail.map(({ time }) => Date.parse(time) - at),
      [0, 1, 2, 3, 4],
    )
    equal(tail[2]?.id, lost.id)
    await audit.close()
  })
})
