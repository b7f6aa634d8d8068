import assert from 'node:assert/strict'
import fc from 'fast-check'
import { elementsAt, idAt, readJsonText, spanAt } from '../../src/core/capture-json.ts'
import type { Json } from '../../src/core/json.ts'
import { resolvePointer } from '../../src/core/json-pointer.ts'

const space = fc.stringMatching(/^[ \t\r\n]{0,2}$/)
const names = ['a', 'id', '__proto__', '', 'ä', 'a"b', 'x\\', '\u2028', '0', '{', ']', ',']
const member = fc.oneof(fc.constantFrom(...names), fc.string({ maxLength: 4, unit: 'binary' }))

/** A text of JSON with spaces and escapes wherever they may stand, and without a member twice. */
const { text: aText } = fc.letrec<{ text: string }>((tie) => {
  const some = tie('text') as fc.Arbitrary<string>
  const escaped = (value: string): string =>
    `"${[...value].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`.slice(0, 6)).join('')}"`
  const name = fc.tuple(member, fc.boolean()).map(([value, escapes]) => ({
    value,
    text: escapes && /^[\u0000-\uffff]*$/u.test(value) && [...value].length === value.length ? escaped(value) : JSON.stringify(value),
  }))
  const scalar = fc.oneof(
    fc.constantFrom('null', 'true', 'false', '0', '-0', '1.50', '1e400', '-12345678901234567890', '"\\ud800"', '"\\""', '"[{,"'),
    fc.jsonValue({ maxDepth: 0 }).map((value) => JSON.stringify(value)),
  )
  const array = fc.tuple(fc.array(fc.tuple(space, some, space), { maxLength: 4 }), space).map(([items, empty]) => {
    const inner = items.map((item) => item.join('')).join(',')
    return `[${items.length === 0 ? empty : inner}]`
  })
  const object = fc
    .tuple(fc.uniqueArray(fc.tuple(name, space, space, some, space), { maxLength: 4, selector: ([{ value }]) => value }), space)
    .map(([members, empty]) => {
      const inner = members.map(([{ text }, before, after, value, end]) => `${before}${text}${after}:${before}${value}${end}`).join(',')
      return `{${members.length === 0 ? empty : inner}}`
    })
  return { text: fc.oneof({ depthSize: 'small', maxDepth: 4 }, scalar, array, object) }
})

/** All pointers into a document. */
function* pointersOf(value: Json, at: readonly string[] = []): Generator<readonly string[]> {
  yield at
  if (Array.isArray(value)) for (const [i, item] of value.entries()) yield* pointersOf(item as Json, [...at, String(i)])
  else if (typeof value === 'object' && value !== null) {
    for (const [name, item] of Object.entries(value)) yield* pointersOf(item as Json, [...at, name])
  }
}

describe('JSON cut out of its text', () => {
  it('is what a parser finds at every place', () => {
    fc.assert(
      fc.property(fc.tuple(space, aText, space), (parts) => {
        const whole = parts.join('')
        const json = readJsonText(Buffer.from(whole))
        assert.ok(json)
        const document = JSON.parse(whole) as Json
        for (const pointer of pointersOf(document)) {
          const span = spanAt(json, pointer)
          assert.ok(span !== undefined && span !== 'twice', `${whole} ${pointer.join('/')}`)
          const found = JSON.parse(json.text.slice(span.from, span.to)) as Json
          assert.deepEqual(found, resolvePointer(document, pointer))
          assert.equal(json.text.slice(span.from, span.to), json.text.slice(span.from, span.to).trim())
          const elements = elementsAt(json, span, 100)
          if (!Array.isArray(found)) assert.equal(elements, 'no array')
          else {
            assert.ok(typeof elements !== 'string')
            assert.deepEqual(
              elements.map(({ from, to }) => JSON.parse(json.text.slice(from, to)) as Json),
              found,
            )
            // What is left of a list is JSON, with just what was kept.
            const kept = elements.filter((_, i) => i % 2 === 0).map(({ from, to }) => json.text.slice(from, to))
            const reduced = `${json.text.slice(0, span.from)}[${kept.join(',')}]${json.text.slice(span.to)}`
            const read = resolvePointer(JSON.parse(reduced) as Json, pointer)
            assert.deepEqual(
              read,
              found.filter((_, i) => i % 2 === 0),
            )
          }
        }
        for (const pointer of [['no such'], ['id', 'x', 'y'], ['-1'], ['01']]) {
          assert.equal(spanAt(json, pointer) === undefined, resolvePointer(document, pointer) === undefined)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('is read as a parser would, or not at all', () => {
    for (const text of ['', '{', '[1,]', '{"a":1,}', "{'a':1}", '\ufeff[]', '[1] 2', '01', 'NaN', '"\u0001"']) {
      assert.equal(readJsonText(Buffer.from(text)), undefined, text)
    }
    assert.equal(readJsonText(Buffer.from([0x22, 0xff, 0x22])), undefined)
  })

  it('tells of members that stand there twice, however they are written', () => {
    for (const text of ['{"id":1,"id":1}', '{"id":1,"x":{},"i\\u0064":2}', '{"\\u0069d":1,"id":2}']) {
      assert.equal(spanAt(readJsonText(Buffer.from(text))!, ['id']), 'twice', text)
    }
    assert.notEqual(spanAt(readJsonText(Buffer.from('{"id":1,"ID":2,"x":{"id":3}}'))!, ['id']), 'twice')
  })

  it('has ids that are texts and integers, with all of their digits', () => {
    const id = (text: string): string | undefined => idAt({ text }, { from: 0, to: text.length })
    assert.equal(id('"s\\u0031"'), 's1')
    assert.equal(id('9007199254740993'), '9007199254740993')
    for (const text of ['1.0', '1e3', 'true', 'null', '[1]', '{}']) assert.equal(id(text), undefined)
  })

  it('takes as long as a text is, however deep', () => {
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`
    const json = readJsonText(Buffer.from(`{"x":${deep},"items":[${deep}]}`))
    assert.ok(json)
    const items = spanAt(json, ['items'])
    assert.ok(items && items !== 'twice')
    assert.equal(elementsAt(json, items, 10).length, 1)
  })
})
