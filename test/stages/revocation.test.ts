import assert from 'node:assert/strict'
import { Facts, identified } from '../../src/core/facts.ts'
import { type RevocationCheck, revocationLevels } from '../../src/core/ports.ts'
import { Deny } from '../../src/core/reasons.ts'
import { revocation } from '../../src/stages/revocation.ts'
import { aPolicy, aPrincipal, aRequest } from '../support/facts.ts'

const state = () => identified(new Facts(aRequest(), aPolicy([]), 1_700_000_000_000, 'd') as never, aPrincipal())
const run = (check: RevocationCheck) => {
  const outcome = revocation(check).run(state())
  assert.ok(!(outcome instanceof Promise), 'memory answers at once')
  return outcome
}

describe('the revocation stage', () => {
  it('passes what is clear, and asks nothing more', () => {
    const asked = () => assert.fail('asked for the level')
    assert.equal(run({ check: () => 'clear', level: asked }) instanceof Deny, false)
  })

  it('says which level refused, in words that name it', () => {
    const details = revocationLevels.map((level) => {
      const denial = run({ check: () => 'revoked', level: () => level })
      assert.ok(denial instanceof Deny)
      assert.equal(denial.reason, 'revoked')
      assert.match(denial.detail, new RegExp(`\\(level ${level}\\)$`))
      return denial.detail
    })
    assert.equal(new Set(details).size, revocationLevels.length)
  })

  it('refuses where nobody knows which, and where it cannot be known at all', () => {
    const without = run({ check: () => 'revoked' })
    assert.deepEqual(without instanceof Deny && [without.reason, without.detail], ['revoked', 'revoked'])
    const stale = run({ check: () => 'unavailable' })
    assert.equal(stale instanceof Deny && stale.reason, 'revocation_unavailable')
  })
})
