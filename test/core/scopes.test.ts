import assert from 'node:assert/strict'
import { covers, meetsScopes, narrow } from '../../src/core/scopes.ts'

const cases: readonly [granted: string, wanted: string, covered: boolean][] = [
  ['invoke:sandbox:s1', 'invoke:sandbox:s1', true],
  ['invoke:sandbox:*', 'invoke:sandbox:s1', true],
  ['invoke:sandbox:*', 'invoke:sandboxes:s1', false],
  ['invoke:*', 'invoke:sandbox:s1', true],
  ['invoke:*:*', 'invoke:sandbox:s1', true],
  ['invoke:*', 'invoker:sandbox:s1', false],
  ['*', 'invoke:sandbox:s1', true],
  ['*:*:*', 'invoke:sandbox:s1', true],
  ['*', 'invoke:sandbox:*', true],
  ['*', 'invoke:*', true],
  ['*:*', '*', true],
  ['invoke:*', '*', false],
  ['invoke:*', 'invoke:sandbox:*', true],
  ['*:sandbox:s1', 'invoke:sandbox:s1', false],
  ['invoke:*:s1', 'invoke:sandbox:s1', false],
  ['invoke:sand*', 'invoke:sandbox:s1', false],
  ['invoke:sandbox:s*', 'invoke:sandbox:s1', false],
  ['invoke:sandbox', 'invoke:sandbox:s1', false],
  ['invoke:sandbox:*', 'invoke:sandbox:*', true],
  ['invoke:sandbox:*', 'invoke:*', false],
  ['invoke:sandbox:s1', 'invoke:sandbox:*', false],
  ['openid', 'openid', true],
  ['', 'openid', false],
]

describe('scopes', () => {
  for (const [granted, wanted, covered] of cases) {
    it(`${granted || '(empty)'} ${covered ? 'covers' : 'does not cover'} ${wanted}`, () => assert.equal(covers(granted, wanted), covered))
  }

  it('narrows to what is covered', () => {
    assert.deepEqual(narrow(['a:b:*', 'c'], ['a:b:1', 'a:c:1', 'c', 'd']), ['a:b:1', 'c'])
  })

  it('fills parameters in, and lets none of them widen the demand', () => {
    const demand = { mode: 'all', names: ['invoke:sandbox:{id}'] } as const
    const met = (granted: string, id: string): boolean => meetsScopes(demand, [granted], new Map([['id', id]]))
    assert.equal(met('invoke:sandbox:s1', 's1'), true)
    assert.equal(met('invoke:sandbox:s1', 's2'), false)
    assert.equal(met('invoke:sandbox:*', 's2'), true)
    assert.equal(met('invoke:sandbox:*', '*'), false)
    assert.equal(met('invoke:sandbox:*', 'a:b'), false)
    assert.equal(met('invoke:sandbox:a', 'a b'), false)
  })
})
