import assert from 'node:assert/strict'
import { properties } from './properties.ts'
import { told, tryProperty } from './property.ts'

/** `POSTERN_TEST_FUZZ_SEED` sets another: a number, or `random`. Many more inputs are tried by `npm run fuzz`. */
const asked = process.env['POSTERN_TEST_FUZZ_SEED'] ?? '20261123'
const seed = asked === 'random' ? Date.now() % 1_000_000_007 : Number(asked)

describe(`what holds of every input (seed ${seed})`, function () {
  this.timeout(60_000)

  it('has names of their own', () => {
    assert.equal(new Set(properties.map(({ name }) => name)).size, properties.length)
  })

  for (const one of properties) {
    it(one.name, async () => {
      const { failure, inputs } = await tryProperty(one, { seed, inputs: one.few, limitMs: 50_000 })
      if (failure) assert.fail(told(failure, seed))
      assert.ok(inputs > 0)
    })
  }
})
