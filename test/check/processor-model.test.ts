import assert from 'node:assert/strict'
import fc from 'fast-check'
import { sweepIntents } from '../../src/check/capture-sweep.ts'
import { isMarkedBy } from '../../src/core/capture-claim.ts'
import { type Labels, marks } from '../../src/core/ownership.ts'
import type { State } from '../../src/core/ports.ts'
import type { ResponseFollower, ResponseStep } from '../../src/core/processing.ts'
import { aReplica, eventText, intentsIn, label, memory, metadataOf, type Replica, settled, storedIn } from './processing-fixture.ts'

const people = ['alice', 'bob', 'carol'] as const
const ids = ['s1', 's2'] as const
const parts = ['read', 'swap', 'records', 'audit'] as const

type Person = (typeof people)[number]
type Command =
  | { readonly kind: 'create' | 'remove'; readonly replica: number; readonly by: Person; readonly id: string }
  /** Of the requests that are under way, one has its response. */
  | { readonly kind: 'respond'; readonly which: number; readonly status: number | 'lost' }
  | { readonly kind: 'fail'; readonly replica: number; readonly parts: readonly (typeof parts)[number][]; readonly after: boolean }
  | { readonly kind: 'heal'; readonly replica: number }
  | { readonly kind: 'die'; readonly replica: number }
  | { readonly kind: 'sweep'; readonly replica: number }

const replica = fc.nat(2)
const request = fc.record({
  kind: fc.constantFrom('create' as const, 'create' as const, 'remove' as const),
  replica,
  by: fc.constantFrom(...people),
  id: fc.constantFrom(...ids),
})
const respond = fc.record({
  kind: fc.constant('respond' as const),
  which: fc.nat(5),
  status: fc.constantFrom(201, 201, 201, 204, 204, 202, 404, 409, 500, 'lost' as const),
})
const command: fc.Arbitrary<Command> = fc.oneof(
  { arbitrary: request, weight: 6 },
  { arbitrary: respond, weight: 8 },
  { arbitrary: fc.record({ kind: fc.constant('fail' as const), replica, parts: fc.subarray([...parts]), after: fc.boolean() }), weight: 3 },
  { arbitrary: fc.record({ kind: fc.constant('heal' as const), replica }), weight: 2 },
  { arbitrary: fc.record({ kind: fc.constant('die' as const), replica }), weight: 1 },
  { arbitrary: fc.record({ kind: fc.constant('sweep' as const), replica }), weight: 1 },
)

interface UnderWay {
  readonly kind: 'create' | 'remove'
  readonly decisionId: string
  readonly by: Person
  readonly id: string
  readonly replica: Replica
  readonly response: ResponseFollower
}

/** What is known to be true of the world, however Postern fares. */
class World {
  readonly state: State
  /** Who was ever told by an upstream to have made an id. */
  readonly makers = new Map<string, Set<string>>()
  /** Removals that an upstream has answered with success, by their decision. */
  readonly gone = new Set<string>()
  /** Creates whose upstream answered 201, and what their client was told. */
  readonly made = new Map<string, ResponseStep['kind'] | undefined>()
  /** Decisions whose request did not go on. */
  readonly refused = new Set<string>()
  /** The replica of each request. */
  readonly by = new Map<string, Replica>()
  /** Requests whose replica has died. */
  readonly died = new Set<string>()
  /** Decisions that have written an intent. */
  readonly intents = new Set<string>()
  /** Decisions that have marked labels. */
  readonly marking = new Set<string>()
  readonly owners = new Map<string, string | undefined>()
  readonly wrongs: string[] = []
  now = 1_700_000_000_000

  constructor(state: State) {
    // Each change of labels is looked at where it is made.
    const swap: State['labels']['swap'] = async (resource, id, seen, next) => {
      const done = await state.labels.swap(resource, id, seen, next)
      if (done) this.look(id, seen, next)
      return done
    }
    const write: State['records']['write'] = async (kind, record, seen) => {
      const revision = await state.records.write(kind, record, seen)
      if (revision !== undefined) this.intents.add(record.id)
      return revision
    }
    this.state = { ...state, labels: { ...state.labels, swap }, records: { ...state.records, write } }
  }

  look(id: string, seen: Labels | undefined, next: Labels): void {
    const [before, after] = [seen?.get(label), next.get(label)]
    this.owners.set(id, after)
    this.marking.add(next.get(marks.deleting)?.split(' ')[0] ?? '')
    if (after !== undefined && before === undefined && !this.makers.get(id)?.has(after))
      this.wrongs.push(`${after} owns ${id} and never made it`)
    if (before !== undefined && after !== undefined && before !== after) this.wrongs.push(`${id} goes from ${before} to ${after}`)
    if (seen?.has(marks.orphan) && !next.has(marks.orphan)) this.wrongs.push(`${id} is an orphan no more, and no admin came`)
    if (before !== undefined && after === undefined && ![...this.gone].some((decision) => isMarkedBy(seen!, marks.deleting, decision)))
      this.wrongs.push(`${id} of ${before} is forgotten, and nobody removed it`)
  }
}

/** Has what goes on at once go on in this order or that. */
function pauses(seed: number): () => Promise<void> {
  let x = seed | 1
  return async () => {
    // xorshift32
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    for (let ticks = (x >>> 8) % 7; ticks > 0; ticks--) await undefined
  }
}

/** Each list of commands begins at once. */
async function play(commands: readonly (readonly Command[])[], seed: number): Promise<void> {
  const pause = pauses(seed)
  const world = new World(await memory())
  const { state } = world
  let started = 0
  const fresh = (n: number): Replica => aReplica(state, { clock: () => world.now }, `r${n}-${++started}`, pause)
  const replicas = [fresh(0), fresh(1), fresh(2)]
  let underWay: UnderWay[] = []
  let decisions = 0

  const begin = async ({ kind, replica: n, by, id }: Extract<Command, { kind: 'create' | 'remove' }>): Promise<void> => {
    const replica = replicas[n]!
    const decisionId = `d${++decisions}`
    const create = kind === 'create'
    // The check would let nobody else remove it.
    if (!create && (await state.labels.read('sandbox', id))?.labels.get(label) !== by) return
    const metadata = metadataOf(by, create ? 'header' : 'remove', {
      decision_id: decisionId,
      ...(create ? {} : { resource: `sandbox:${id}` }),
    })
    const step = await replica.processor.request({ metadata, method: create ? 'POST' : 'DELETE', path: '/' })
    assert.notEqual(step.kind, 'skip', 'nothing goes on unseen')
    world.by.set(decisionId, replica)
    if (step.kind !== 'follow') return void world.refused.add(decisionId)
    if (create) assert.ok(world.intents.has(decisionId), 'an intent for every request that goes on')
    else assert.ok(world.marking.has(decisionId), 'a mark for every request that goes on')
    underWay.push({ kind, decisionId, by, id, replica, response: step.response })
  }

  const end = async (one: UnderWay, status: number | 'lost'): Promise<void> => {
    const { kind, decisionId, by, id, response } = one
    if (kind === 'create' && status === 201) {
      world.makers.set(id, (world.makers.get(id) ?? new Set()).add(by))
      world.made.set(decisionId, undefined)
    }
    if (kind === 'remove' && (status === 201 || status === 204 || status === 404)) world.gone.add(decisionId)
    if (status === 'lost') return response.lost('the stream ended')
    const step = await response.headers(status, new Map([['x-id', [id]]]), true)
    if (kind !== 'create' || status !== 201) return
    world.made.set(decisionId, step.kind)
    if (step.kind !== 'pass') return
    // It may have been removed in the same moment.
    const owner = world.owners.get(id)
    assert.ok(owner === by || owner === undefined, 'whoever is told of what they made owns it')
    const orphan = (await state.labels.read('sandbox', id))?.labels.has(marks.orphan) ?? false
    assert.ok(!orphan, 'and is let in')
  }

  const run = async (one: Command): Promise<void> => {
    world.now += 1000
    if (one.kind === 'create' || one.kind === 'remove') await begin(one)
    else if (one.kind === 'respond') {
      const chosen = underWay[one.which % Math.max(1, underWay.length)]
      if (!chosen) return
      underWay = underWay.filter((each) => each !== chosen)
      await end(chosen, one.status)
    } else if (one.kind === 'fail') {
      const { failures } = replicas[one.replica]!
      failures.after = one.after
      failures.parts.clear()
      for (const part of one.parts) failures.parts.add(part)
    } else if (one.kind === 'heal') {
      replicas[one.replica]!.failures.parts.clear()
      await replicas[one.replica]!.needs.retries.turn()
    } else if (one.kind === 'die') {
      // What it owed and followed is gone with it.
      const dead = replicas[one.replica]
      for (const [decisionId, replica] of world.by) if (replica === dead) world.died.add(decisionId)
      underWay = underWay.filter((each) => each.replica !== dead)
      dead!.failures.parts.add('read').add('swap').add('records').add('audit')
      dead!.failures.after = false
      replicas[one.replica] = fresh(one.replica)
    } else {
      world.now += 700_000
      await sweepIntents(replicas[one.replica]!.needs).catch(() => {})
    }
  }
  for (const together of commands) {
    await Promise.all(together.map(run))
    assert.deepEqual(world.wrongs, [])
  }

  // Everything comes to its end.
  for (const one of underWay) one.response.lost('the end')
  await settled()
  for (const { needs, failures } of replicas) {
    failures.parts.clear()
    await needs.retries.turn()
    await needs.retries.turn()
    await settled()
    assert.deepEqual(needs.retries.owed(), { orphan: 0, intent: 0, removal: 0 })
    assert.equal(needs.following.size, 0)
  }
  for (let i = 0; i < 2; i++) {
    world.now += 700_000
    await sweepIntents(replicas[0]!.needs)
  }
  assert.deepEqual(world.wrongs, [])
  assert.deepEqual(await intentsIn(state), [], 'no intent is left')
  for (const [key, { [marks.deleting]: mark = '' }] of Object.entries(await storedIn(state))) {
    const [decisionId = ''] = mark.split(' ')
    assert.ok(!world.refused.has(decisionId) || world.died.has(decisionId), `${key} keeps the mark of a request that did not go on`)
  }
  const events = await state.audit.tail(10_000)
  for (const [decisionId, told] of world.made) {
    const about = events
      .filter((event) => event.decisionId === decisionId && (event.reason !== 'intent_expired' || world.died.has(decisionId)))
      .map(eventText)
    assert.ok(told === 'pass' || about.length > 0, `nobody is told what became of ${decisionId}`)
  }
}

describe('captures and removals, against a model', () => {
  it('never give a resource to who did not make it, and lose nothing', async function () {
    this.timeout(60_000)
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(command, { minLength: 1, maxLength: 4, size: 'max' }), { maxLength: 40, size: 'max' }),
        fc.nat(),
        play,
      ),
      { numRuns: 1500 },
    )
  })
})
