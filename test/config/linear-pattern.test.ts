import assert from 'node:assert/strict'
import fc from 'fast-check'
import { type LinearPattern, linearPattern } from '../../src/config/linear-pattern.ts'

function compiled(source: string): LinearPattern {
  const pattern = linearPattern(source)
  assert.ok(typeof pattern === 'object', String(pattern))
  return pattern
}

describe('patterns', () => {
  const whole: readonly [source: string, text: string, matches: boolean][] = [
    ['[a-z]{1,8}', 'abc', true],
    ['[a-z]{1,8}', 'abc1', false],
    ['[a-z]{1,8}', '1abc', false],
    ['a|ab', 'ab', true],
    ['a|ab', 'abc', false],
    ['(?i)sbx_[0-9a-f]{4}', 'SBX_00fF', true],
    ['(?m)^a$', 'a\nb', false],
    ['(?m)^a$', 'b\na', false],
    ['a*?', 'aaa', true],
    ['\\p{L}+', 'größe', true],
    ['[^/]+', 'a\n', true],
    ['.+', 'a\n', false],
    ['', '', true],
    ['', 'a', false],
  ]
  for (const [source, text, matches] of whole)
    it(`${source} ${matches ? 'is' : 'is not'} the whole of ${JSON.stringify(text)}`, () =>
      assert.equal(compiled(source).matchesWhole(text), matches))

  for (const source of [
    'a)|(b',
    '(?=a)',
    '(?!a)',
    '(?<=a)',
    '(?<!a)',
    '(a)\\1',
    '(?P<n>a)\\k<n>',
    '(?>a)',
    'a++',
    '[',
    '(',
    '*',
    'a**',
    '\\Z',
  ])
    it(`${source} is refused`, () => assert.match(linearPattern(source) as string, /^expected a regular expression in the syntax of RE2/))

  it('that compile to too much are refused', () => {
    assert.match(linearPattern('[a-z]{1,1000}') as string, /^expected a smaller regular expression/)
    assert.match(linearPattern('(?:[ab]{1,30}c){20}') as string, /^expected a smaller regular expression/)
    compiled('[a-z]{1,512}')
  })

  it('answer as a backtracking engine does, where that has the same syntax', () => {
    const atom = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', '\\w', '\\b', '^', '$', '(?:a|ab)', '(b|)')
    const piece = fc
      .tuple(atom, fc.constantFrom('', '', '*', '+', '?', '*?', '{2}', '{1,3}'))
      .map(([what, often]) => (['\\b', '^', '$'].includes(what) ? what : what + often))
    const pattern = fc
      .array(fc.array(piece, { maxLength: 5 }), { minLength: 1, maxLength: 3 })
      .map((all) => all.map((one) => one.join('')).join('|'))
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '-', '\n'), maxLength: 10 })
    fc.assert(
      fc.property(pattern, fc.array(text, { minLength: 1, maxLength: 5 }), (source, texts) => {
        const { find, matchesWhole } = compiled(source)
        for (const one of texts) {
          // In ECMAScript, too, `.` is no line feed and `$` is the end of the text alone; it differs in \r, U+2028 and U+2029.
          assert.equal(find(one), new RegExp(source, 'u').test(one))
          assert.equal(matchesWhole(one), new RegExp(`^(?:${source})$`, 'u').test(one))
        }
      }),
      { numRuns: 1000 },
    )
  })

  it('that a machine of states grows large on take time in proportion to the text', () => {
    const { find } = compiled('[ab]*a[ab]{20}$')
    let seed = 1
    const letter = (): string => {
      seed = (seed * 48_271) % 2_147_483_647
      return seed & 1 ? 'a' : 'b'
    }
    const text = Array.from({ length: 16_384 }, letter).join('')
    const begin = performance.now()
    find(`${text}c`)
    const taken = performance.now() - begin
    assert.ok(taken < 1000, `${taken} ms`)
  })
})
