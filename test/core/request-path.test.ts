import assert from 'node:assert/strict'
import fc from 'fast-check'
import { splitPath } from '../../src/core/request-path.ts'

const refused: readonly [name: string, path: string][] = [
  ['nothing', ''],
  ['no leading slash', 'admin'],
  ['an absolute form', 'http://a/b'],
  ['a star', '*'],
  ['an authority', '//admin'],
  ['an empty segment', '/a//b'],
  ['two trailing slashes', '/a//'],
  ['a dot', '/a/./b'],
  ['two dots', '/a/../b'],
  ['two dots at the end', '/a/..'],
  ['an encoded dot', '/a/%2e/b'],
  ['encoded dots', '/a/%2e%2E/b'],
  ['half-encoded dots', '/a/.%2e/b'],
  ['dots between encoded slashes', '/a/x%2f..%2fb'],
  ['encoded dots beside an encoded slash', '/a/%2e%2e%2fb'],
  ['an encoded slash at the end of a segment', '/a/b%2f'],
  ['a backslash', '/a\\b'],
  ['an encoded backslash', '/a%5cb'],
  ['an encoded backslash in upper case', '/a%5Cb'],
  ['NUL', '/a\u0000b'],
  ['an encoded NUL', '/a%00'],
  ['an encoded line break', '/a%0d%0ab'],
  ['an encoded DEL', '/a%7f'],
  ['an encoded percent sign', '/a%252fb'],
  ['path parameters', '/a;b=c/d'],
  ['an encoded semicolon', '/a%3bb'],
  ['a fragment', '/a#b'],
  ['a fragment in the query', '/a?x#b'],
  ['a control in the query', '/a?x=\u0001'],
  ['a line break in the query', '/a?x=\n'],
  ['a space', '/a b'],
  ['a lone percent sign', '/a%'],
  ['one hex digit', '/a%2'],
  ['no hex digits', '/a%zz'],
  ['broken UTF-8', '/a%ff'],
  ['an overlong slash', '/a%c0%af'],
  ['a surrogate', '/a%ed%a0%80'],
  ['an encoded letter', '/%41'],
  ['an encoded tilde', '/%7E'],
  ['a C1 control', '/a%c2%85'],
  ['raw bytes beyond ASCII', '/ä'],
  ['what stands for broken UTF-8', '/a\ufffd'],
  ['8 KiB and one', `/${'a'.repeat(8192)}`],
  ['a query of 16 KiB and one', `/?${'a'.repeat(16_385)}`],
]

const accepted: readonly [path: string, segments: string[], query?: string][] = [
  ['/', []],
  ['/a', ['a']],
  ['/a/', ['a', '']],
  ['/a/b?c=d', ['a', 'b'], 'c=d'],
  ['/?//../%zz;', [], '//../%zz;'],
  ['/a%20b', ['a b']],
  ['/%c3%a4', ['ä']],
  ['/@scope%2fname', ['@scope/name']],
  ['/a/...', ['a', '...']],
  ["/!$&'()*+,=:@-._~", ["!$&'()*+,=:@-._~"]],
  [`/${'a'.repeat(8191)}`, ['a'.repeat(8191)]],
]

describe('splitPath', () => {
  for (const [name, path] of refused) it(`refuses ${name}`, () => assert.equal(typeof splitPath(path), 'string'))
  for (const [path, segments, query = ''] of accepted) {
    it(`reads ${path.slice(0, 40)}`, () => {
      const split = splitPath(path)
      assert.ok(typeof split !== 'string', String(split))
      assert.deepEqual(split.segments, segments)
      assert.equal(split.query, query)
    })
  }

  it('marks an encoded slash in either case', () => {
    for (const path of ['/a%2fb', '/a%2Fb']) {
      const split = splitPath(path)
      assert.ok(typeof split !== 'string' && split.encodedSlash)
    }
  })

  it('never throws, and never lets a dot segment, an empty segment or a control through', () => {
    const pieces = fc.constantFrom(
      '/',
      '.',
      '%2e',
      '%2E',
      '%2f',
      '%5c',
      '\\',
      ';',
      '%',
      '%25',
      '%00',
      'a',
      'é',
      '%c3',
      '%a9',
      '?',
      '#',
      '..',
      '\r',
    )
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        const split = splitPath(parts.join(''))
        if (typeof split === 'string') return
        for (const [i, segment] of split.segments.entries()) {
          for (const part of segment.split('/')) {
            assert.notEqual(part, '.')
            assert.notEqual(part, '..')
            assert.doesNotMatch(part, /[\u0000-\u001f\\;%\u007f]/)
            if (part === '') assert.equal(i, split.segments.length - 1)
          }
        }
      }),
      { numRuns: 2000 },
    )
  })
})
