import assert from 'node:assert/strict'
import fc from 'fast-check'
import { parseSharedWith, type Share, sharedWithText } from '../../src/core/shared-with.ts'

const read = (text: string): Share[] => {
  const { subjects, roles, groups } = parseSharedWith(text)
  const of = (kind: Share['kind'], map: ReadonlyMap<string, boolean>) => [...map].map(([name, write]) => ({ kind, name, write }))
  return [...of('subject', subjects), ...of('role', roles), ...of('group', groups)]
}
const subject = (name: string, write = false): Share => ({ kind: 'subject', name, write })

describe('shared-with', () => {
  it('reads subjects, roles and groups, with the right to write or without', () => {
    assert.deepEqual(read('bob,carol;write,role:team,group:g%201;write'), [
      subject('bob'),
      subject('carol', true),
      { kind: 'role', name: 'team', write: false },
      { kind: 'group', name: 'g 1', write: true },
    ])
    assert.deepEqual(read('spiffe://cluster.local/ns/a/sa/b;write'), [subject('spiffe://cluster.local/ns/a/sa/b', true)])
  })

  it('reads kinds and rights before it decodes', () => {
    assert.deepEqual(read('role%3Aadmin,bob%3Bwrite,a%2Cb,group%3ag'), [
      subject('role:admin'),
      subject('bob;write'),
      subject('a,b'),
      subject('group:g'),
    ])
    assert.deepEqual(read('role:role:x'), [{ kind: 'role', name: 'role:x', write: false }])
  })

  it('takes nothing from what is malformed', () => {
    for (const text of [
      '',
      ',',
      ',,',
      'role:',
      'group:',
      'role:;write',
      ';write',
      'bob;',
      'bob;read',
      'bob;Write',
      'bob;write;write',
      '%',
      'a%zz',
    ])
      assert.deepEqual(read(text), [], text)
    for (const text of [' bob', 'bob ', 'b\tob', 'bob\n', 'bøb', '%ff', 'bob%c3'])
      assert.deepEqual(read(`${text},carol`), [subject('carol')], JSON.stringify(text))
  })

  it('gives the wider right where it says both', () => {
    assert.deepEqual(read('bob,bob;write'), [subject('bob', true)])
    assert.deepEqual(read('bob;write,bob'), [subject('bob', true)])
  })

  it('takes nothing from a list that is longer than 16 KiB', () => {
    assert.equal(read('a'.repeat(16_384)).length, 1)
    assert.deepEqual(read(`${'a'.repeat(16_384)},bob`), [])
  })

  it('reads back what was written', () => {
    const share = fc.record({
      kind: fc.constantFrom('subject' as const, 'role' as const, 'group' as const),
      name: fc.oneof(
        fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((name) => name.isWellFormed()),
        fc.constantFrom('role:admin', 'group:', 'role:', 'a;write', 'a,b', '%2C', ' ', 'role:role:x'),
      ),
      write: fc.boolean(),
    })
    const sorted = (shares: readonly Share[]) => shares.map((one) => JSON.stringify(one)).sort()
    fc.assert(
      fc.property(fc.uniqueArray(share, { maxLength: 8, selector: ({ kind, name }) => `${kind} ${name}` }), (shares) => {
        const text = sharedWithText(shares)
        assert.match(text, /^[!-~]*$/)
        assert.deepEqual(sorted(read(text)), sorted(shares))
      }),
      { numRuns: 300 },
    )
  })
})
