import assert from 'node:assert/strict'
import { sweepIntents } from '../../src/check/capture-sweep.ts'
import { createRetries } from '../../src/check/processor-retries.ts'
import { Unavailable } from '../../src/core/ports.ts'
import { until } from '../support/until.ts'
import { aReplica, eventText, intentsIn, memory, metadataOf, settled } from './processing-fixture.ts'

describe('intents that nobody followed to their end', () => {
  const at = 1_700_000_000_000
  const begun = async () => {
    const state = await memory()
    const died = aReplica(state, {}, 'dead')
    for (const decision_id of ['d1', 'd2']) {
      await died.processor.request({ metadata: metadataOf('alice', 'header', { decision_id }), method: 'POST', path: '/' })
    }
    return { state, died }
  }

  it('are told of once, by one of the replicas that sweep at once', async () => {
    const { state } = await begun()
    const sweepers = ['a', 'b', 'c'].map((name) => aReplica(state, { clock: () => at + 601_000 }, name))
    const counts = await Promise.all(sweepers.map(({ needs }) => sweepIntents(needs)))
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      2,
    )
    const events = await state.audit.tail(10)
    assert.deepEqual(events.map(eventText), Array(2).fill('orphan failure intent_expired sandbox by alice'))
    assert.deepEqual(events.map(({ decisionId }) => decisionId).sort(), ['d1', 'd2'])
    assert.deepEqual(await intentsIn(state), [])
  })

  it('are left alone before their time', async () => {
    const { state } = await begun()
    assert.equal(await sweepIntents(aReplica(state, { clock: () => at + 599_000 }).needs), 0)
    assert.equal((await intentsIn(state)).length, 2)
  })

  it('are left alone by the replica that still follows them', async () => {
    const { state, died } = await begun()
    const alive = { ...died.needs, clock: () => at + 601_000 }
    assert.equal(await sweepIntents(alive), 0)
    // They have more time now, on every replica.
    assert.equal(await sweepIntents(aReplica(state, { clock: () => at + 1_000_000 }).needs), 0)
    assert.equal(await sweepIntents(aReplica(state, { clock: () => at + 1_202_000 }).needs), 2)
  })

  it('stay where the audit trail does not take them, and are told of later', async () => {
    const { state } = await begun()
    const replica = aReplica(state, { clock: () => at + 601_000 })
    replica.failures.parts.add('audit')
    await assert.rejects(sweepIntents(replica.needs), Unavailable)
    assert.equal((await intentsIn(state)).length, 2)
    replica.failures.parts.clear()
    assert.equal(await sweepIntents({ ...replica.needs, clock: () => at + 663_000 }), 2)
    assert.equal((await state.audit.tail(10)).length, 2)
  })

  it('are told of as what became of them, where state did not take that for long', async () => {
    const state = await memory()
    const replica = aReplica(state)
    const steps = await Promise.all(
      ['d1', 'd2'].map((decision_id) =>
        replica.processor.request({ metadata: metadataOf('alice', 'header', { decision_id }), method: 'POST', path: '/' }),
      ),
    )
    for (const [i, part] of (['audit', 'swap'] as const).entries()) {
      const step = steps[i]!
      assert.ok(step.kind === 'follow')
      replica.failures.parts.add(part)
      await step.response.headers(201, new Map([['x-id', [`s${i}`]]]), true)
    }
    replica.failures.parts.clear()
    assert.equal(await sweepIntents({ ...replica.needs, clock: () => at + 601_000 }), 0)
    assert.deepEqual((await state.audit.tail(10)).map(eventText).sort(), [
      'orphan failure label_not_written sandbox:s1 by alice',
      'owner_captured success sandbox:s0 by alice',
    ])
    assert.deepEqual(await intentsIn(state), [])
  })

  it('are many', async () => {
    const state = await memory()
    for (let i = 0; i < 450; i++) {
      await state.records.write('capture', { id: `d${i}`, value: { subject: 'alice', resource: 'sandbox' }, until: 1 }, undefined)
    }
    assert.equal(await sweepIntents(aReplica(state).needs), 450)
    assert.deepEqual(await intentsIn(state), [])
  })
})

describe('what is owed to state', () => {
  const open = (options: Partial<Parameters<typeof createRetries>[0]> = {}) => {
    const told: string[] = []
    const retries = createRetries({
      onFault: (cause) => void told.push(String(cause)),
      onDropped: (kind, key) => void told.push(`${kind} ${key}`),
      firstMs: 5,
      ...options,
    })
    return { retries, told }
  }

  it('is tried until it succeeds, by itself', async () => {
    const { retries, told } = open()
    let tries = 0
    retries.add('orphan', 'a', async () => {
      if (++tries < 4) throw tries === 2 ? new TypeError('a defect') : new Unavailable('down')
    })
    assert.equal(retries.owed().orphan, 1)
    await until('the fourth attempt', () => retries.owed().orphan === 0)
    assert.equal(tries, 4)
    assert.deepEqual(told, ['TypeError: a defect'])
    await retries.close()
  })

  it('does not wait for a part of state that cannot be had', async () => {
    const { retries } = open({ firstMs: 60_000 })
    const tried: string[] = []
    for (const key of ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'])
      retries.add('orphan', key, async () => {
        tried.push(key)
        throw new Unavailable('its shard is down')
      })
    retries.add('orphan', 'works', async () => void tried.push('works'))
    await retries.turn()
    assert.deepEqual(tried.splice(0), ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])
    await retries.turn()
    assert.deepEqual(tried.slice(0, 3), ['i', 'works', 'a'])
    assert.equal(retries.owed().orphan, 9)
    await retries.close()
  })

  it('is bounded, each kind apart', async () => {
    const { retries, told } = open({ most: 2, firstMs: 60_000 })
    const job = async () => {}
    for (const key of ['a', 'b', 'b', 'c']) retries.add('intent', key, job)
    retries.add('removal', 'a', job)
    assert.deepEqual(retries.owed(), { orphan: 0, intent: 2, removal: 1 })
    assert.deepEqual(told, ['intent c'])
    await retries.close()
    assert.deepEqual(told, ['intent c'])
  })

  it('is tried once more at the end, and what is left is told of', async () => {
    const { retries, told } = open({ firstMs: 60_000 })
    let done = false
    retries.add('removal', 'works', async () => {
      done = true
    })
    retries.add('orphan', 'does not', async () => {
      throw new Unavailable('down')
    })
    await retries.close()
    assert.ok(done)
    assert.deepEqual(told, ['orphan does not'])
    retries.add('orphan', 'too late', async () => {})
    assert.deepEqual(told, ['orphan does not', 'orphan too late'])
    await settled()
  })
})
