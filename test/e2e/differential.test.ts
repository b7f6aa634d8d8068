import assert from 'node:assert/strict'
import { told, tryProperty } from '../fuzz/property.ts'
import { routeAgreement, type Tally } from './differential-property.ts'

/** `POSTERN_TEST_DIFFERENTIAL_SEED` sets another seed: a number, or `random`; `POSTERN_TEST_DIFFERENTIAL_RUNS` how many requests are sent. */
const asked = process.env['POSTERN_TEST_DIFFERENTIAL_SEED'] ?? '20261123'
const seed = asked === 'random' ? Date.now() % 1_000_000_007 : Number(asked)

describe(`random route tables and requests, given to Envoy and to Postern (seed ${seed})`, function () {
  const agreement = (tally: Tally) => routeAgreement(tally)
  const runs = Number(process.env['POSTERN_TEST_DIFFERENTIAL_RUNS'] ?? agreement({ agreed: 0, denied: 0, refused: 0 }).few)
  this.timeout(30_000 + runs * 20)

  it('never are decided by one route and sent to another', async () => {
    const tally: Tally = { agreed: 0, denied: 0, refused: 0 }
    const { failure, inputs } = await tryProperty(agreement(tally) as never, { seed, inputs: runs, limitMs: 20_000 + runs * 20 })
    if (failure) assert.fail(told(failure, seed))
    assert.equal(inputs, runs)
    // A test in which nothing gets through would agree about everything.
    assert.ok(tally.agreed > runs / 4 && tally.denied > runs / 10 && tally.refused > runs / 50, JSON.stringify(tally))
  })
})
