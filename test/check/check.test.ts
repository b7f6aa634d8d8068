import assert from 'node:assert/strict'
import { type Check, createCheck } from '../../src/check/check.ts'
import { type Observation, observeAll } from '../../src/check/observe.ts'
import { pipeline, type Stages } from '../../src/check/pipeline.ts'
import type { AllowAnswer, Answer } from '../../src/core/answer.ts'
import { BearerToken } from '../../src/core/bearer-token.ts'
import { headersRemoved, headersSet } from '../../src/core/decision.ts'
import { authorized, exchanged, identified, notRevoked, owned, type StageName } from '../../src/core/facts.ts'
import { metadataValue } from '../../src/core/metadata.ts'
import { Unavailable } from '../../src/core/ports.ts'
import { type DenyReason, deny, denyReasons, httpStatus } from '../../src/core/reasons.ts'
import { normalize } from '../../src/stages/normalize.ts'
import { respond } from '../../src/stages/respond.ts'
import { route } from '../../src/stages/route.ts'
import { anEntry, aPolicy, aPrincipal, aRequest } from '../support/facts.ts'

const entries = [
  anEntry('GET /in', { id: 'in' }),
  anEntry('GET /open', { id: 'open', public: true }),
  anEntry('GET /adopt', { id: 'adopt', enforce: false }),
]

interface Bench {
  readonly check: Check
  readonly seen: Observation[]
  readonly ran: StageName[]
}

/** The real pipeline, where the stages that reach outside can be replaced. */
function bench(over: Partial<Stages> = {}, policy = aPolicy(entries)): Bench {
  const seen: Observation[] = []
  const ran: StageName[] = []
  const run = pipeline({ ...stagesOf(), ...over }, { due: () => true, ran: (stage) => ran.push(stage), waited: (stage) => ran.push(stage) })
  const check = createCheck({
    ruling: () => ({ policy, run }),
    observe: observeAll([(o) => void seen.push(o)], (cause) => assert.fail(String(cause))),
    newId: () => 'id-1',
    clock: () => 1_700_000_000_000,
  })
  return { check, seen, ran }
}

const sync = (answer: Answer | Promise<Answer>): Answer => {
  assert.ok(!(answer instanceof Promise), 'a promise where memory could answer')
  return answer
}
const reasonOf = async (b: Bench, path: string, budget = 50): Promise<string> => (await b.check(aRequest({ path }), budget)).reason
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('a check', () => {
  it('whose stages answer from memory creates no promise', () => {
    const b = bench()
    const answer = sync(b.check(aRequest({ path: '/in' }), 50))
    assert.equal(answer.kind, 'allow')
    assert.deepEqual(b.ran, ['normalize', 'route', 'identify', 'revocation', 'authorize', 'own', 'exchange', 'respond'])
  })

  it('of a public route skips identify to exchange', () => {
    const b = bench()
    assert.equal(sync(b.check(aRequest({ path: '/open' }), 50)).kind, 'allow')
    assert.deepEqual(b.ran, ['normalize', 'route', 'respond'])
  })

  it('ends at the first denial', () => {
    const b = bench({ revocation: { name: 'revocation', run: () => deny('revoked', 'by token') } })
    const answer = sync(b.check(aRequest({ path: '/in' }), 50))
    assert.equal(answer.kind === 'deny' && answer.status, 401)
    assert.deepEqual(b.ran, ['normalize', 'route', 'identify', 'revocation'])
    assert.equal(b.seen[0]?.detail, 'by token')
  })

  it('that throws is denied as internal, and the throw is for the log alone', () => {
    const b = bench({
      authorize: {
        name: 'authorize',
        run: () => {
          throw new Error('secret detail')
        },
      },
    })
    const answer = sync(b.check(aRequest({ path: '/in' }), 50))
    assert.equal(answer.kind === 'deny' && answer.status, 500)
    assert.ok(answer.kind === 'deny' && !answer.body.includes('secret'))
    assert.equal(b.seen[0]?.detail, 'Error: secret detail')
  })

  it('that rejects is denied as internal', async () => {
    assert.equal(await reasonOf(bench({ own: { name: 'own', run: () => Promise.reject(new Error('x')) } }), '/in'), 'internal')
  })

  it('that rejects with Unavailable is blamed on the stage that waited', async () => {
    assert.equal(
      await reasonOf(bench({ own: { name: 'own', run: () => Promise.reject(new Unavailable('down')) } }), '/in'),
      'owner_unavailable',
    )
  })

  for (const [stage, reason] of [
    ['identify', 'identity_unavailable'],
    ['own', 'owner_unavailable'],
    ['exchange', 'exchange_unavailable'],
    ['authorize', 'overloaded'],
  ] as const satisfies readonly (readonly [StageName, DenyReason])[]) {
    it(`that finds nothing in ${stage} at once is blamed on it`, () => {
      const throws = () => {
        throw new Unavailable('down')
      }
      const answer = sync(bench({ [stage]: { name: stage, run: throws } } as Partial<Stages>).check(aRequest({ path: '/in' }), 50))
      assert.equal(answer.reason, stage === 'authorize' ? 'internal' : reason)
    })
    it(`that hangs in ${stage} is ${reason} when the deadline passes`, async () => {
      const hang = { name: stage, run: () => new Promise<never>(() => {}) }
      const b = bench({ [stage]: hang })
      const begun = performance.now()
      assert.equal(await reasonOf(b, '/in', 30), reason)
      assert.ok(performance.now() - begun >= 25)
    })
  }

  it('that is late never reaches the next stage', async () => {
    let exchangedAfter = false
    const b = bench({
      own: { name: 'own', run: (s) => sleep(60).then(() => owned(s)) },
      exchange: {
        name: 'exchange',
        run: (s) => {
          exchangedAfter = true
          return exchanged(s, BearerToken.of('t'))
        },
      },
    })
    assert.equal(await reasonOf(b, '/in', 20), 'owner_unavailable')
    await sleep(80)
    assert.equal(exchangedAfter, false)
    assert.equal(b.seen.length, 1)
  })

  it('that spends its budget without waiting is overloaded', () => {
    const b = bench({
      authorize: {
        name: 'authorize',
        run: (s) => {
          const until = performance.now() + 20
          while (performance.now() < until);
          return authorized(s, new Map())
        },
      },
    })
    assert.equal(sync(b.check(aRequest({ path: '/in' }), 5)).reason, 'overloaded')
  })

  it('answers even where an observer throws', () => {
    const faults: unknown[] = []
    const run = pipeline(stagesOf(), { due: () => false, ran: () => {}, waited: () => {} })
    const check = createCheck({
      ruling: () => ({ policy: aPolicy(entries), run }),
      observe: observeAll(
        [
          () => {
            throw new Error('observer')
          },
        ],
        (cause) => faults.push(cause),
      ),
      newId: () => 'id-1',
      clock: () => 0,
    })
    assert.equal(sync(check(aRequest({ path: '/open' }), 50)).kind, 'allow')
    assert.equal(faults.length, 1)
  })

  for (const reason of denyReasons) {
    const status = httpStatus[reason]
    const through = reason !== 'revoked' && (status === 401 || status === 403)
    it(`with enforce: false ${through ? 'lets through' : 'still denies'} ${reason}`, () => {
      const b = bench({ authorize: { name: 'authorize', run: () => deny(reason, 'x') } })
      const answer = sync(b.check(aRequest({ path: '/adopt', headers: { authorization: 'Bearer x', 'x-postern-subject': 'eve' } }), 50))
      assert.equal(answer.kind, through ? 'allow' : 'deny')
      assert.equal(answer.reason, reason)
      assert.equal(metadataValue(answer.metadata, 'decision'), 'deny')
      assert.equal(metadataValue(answer.metadata, 'enforced'), !through)
      if (through) {
        const { mutations } = answer as AllowAnswer
        const remove = headersRemoved(mutations)
        assert.deepEqual([...headersSet(mutations)], [['x-postern-decision', 'id-1']])
        assert.ok(remove.includes('authorization') && remove.includes('x-postern-subject'))
      }
    })
  }
})

function stagesOf(): Stages {
  return {
    normalize,
    route,
    identify: { name: 'identify', run: (s) => identified(s, aPrincipal()) },
    revocation: { name: 'revocation', run: (s) => notRevoked(s) },
    authorize: { name: 'authorize', run: (s) => authorized(s, new Map()) },
    own: { name: 'own', run: (s) => owned(s) },
    exchange: { name: 'exchange', run: (s) => exchanged(s, undefined) },
    respond,
  }
}
