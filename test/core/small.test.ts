import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { at, sameJson } from '../../src/core/json.ts'
import { ownerLabelValue } from '../../src/core/ownership.ts'
import { percentEncode, percentEncodeList } from '../../src/core/percent.ts'
import { closeRoles, demandRoles, meetsRoles } from '../../src/core/roles.ts'
import { parseSpiffeId } from '../../src/core/spiffe.ts'

describe('percentEncode', () => {
  it('leaves visible ASCII but "%" and "," alone', () => {
    for (let code = 0; code < 128; code++) {
      const char = String.fromCharCode(code)
      const plain = code > 0x20 && code < 0x7f && char !== '%' && char !== ','
      assert.equal(percentEncode(char), plain ? char : `%${code.toString(16).toUpperCase().padStart(2, '0')}`)
    }
  })
  it('encodes UTF-8, and a lone surrogate as U+FFFD', () => {
    assert.equal(percentEncode('é€😀'), '%C3%A9%E2%82%AC%F0%9F%98%80')
    assert.equal(percentEncode('\ud800'), '%EF%BF%BD')
    assert.equal(percentEncodeList(['a b', 'c,d']), 'a%20b,c%2Cd')
  })
  it('gives nothing that a header could not hold', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => /^[!-~]*$/.test(percentEncode(text)) && !percentEncode(text).includes(',')),
    )
  })
})

describe('ownerLabelValue', () => {
  it('is the subject where that is legal', () => {
    for (const subject of ['alice', 'a', 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6', 'a.b_c-d', 'x'.repeat(63)])
      assert.equal(ownerLabelValue(subject), subject)
  })
  it('is a hash where it is not, or where it could be taken for one', () => {
    for (const subject of ['', 'key:abc', 'a@b.c', '-a', 'a-', 'x'.repeat(64), 'sha256-abc', 'é', 'a\n', 'spiffe://td/ns/a/sa/b']) {
      assert.match(ownerLabelValue(subject), /^sha256-[a-z2-7]{52}$/)
    }
  })
  it('uses the base32 that everybody uses', () => {
    const script = 'import base64,hashlib;print("sha256-"+base64.b32encode(hashlib.sha256(b"a@b.c").digest()).decode().rstrip("=").lower())'
    assert.equal(ownerLabelValue('a@b.c'), execFileSync('python3', ['-c', script], { encoding: 'utf8' }).trim())
  })
})

describe('parseSpiffeId', () => {
  const good = ['spiffe://cluster.local/ns/agents/sa/router', 'spiffe://a/b', 'spiffe://td_1/a.b-c_d']
  const bad = [
    '',
    'spiffe://',
    'spiffe://td',
    'spiffe://td/',
    'spiffe:///a',
    'SPIFFE://td/a',
    'spiffe://TD/a',
    'spiffe://td/a/',
    'spiffe://td//a',
    'spiffe://td/..',
  ]
  bad.push(
    'spiffe://td/a/./b',
    'spiffe://td/%61',
    'spiffe://td:1/a',
    'spiffe://u@td/a',
    'spiffe://td/a?b',
    'spiffe://td/a#b',
    'http://td/a',
    ' spiffe://td/a',
    'spiffe://td/a\n',
  )
  bad.push(`spiffe://td/${'a'.repeat(2048)}`)
  for (const id of good) it(`reads ${id}`, () => assert.equal(parseSpiffeId(id)?.id, id))
  for (const id of bad) it(`refuses ${JSON.stringify(id.slice(0, 40))}`, () => assert.equal(parseSpiffeId(id), undefined))
})

describe('roles', () => {
  const closure = closeRoles(
    new Map([
      ['invoke', []],
      ['manage', ['invoke']],
      ['admin', ['manage']],
    ]),
  )
  it('follow inheritance', () => {
    assert.ok(closure instanceof Map)
    assert.equal(meetsRoles(demandRoles(closure, 'any', ['invoke']), ['admin']), true)
    assert.equal(meetsRoles(demandRoles(closure, 'any', ['admin']), ['manage']), false)
    assert.equal(meetsRoles(demandRoles(closure, 'all', ['invoke', 'manage']), ['manage']), true)
    assert.equal(meetsRoles(demandRoles(closure, 'all', ['invoke', 'other']), ['admin']), false)
    assert.equal(meetsRoles(demandRoles(closure, 'any', ['invoke']), []), false)
    assert.equal(meetsRoles(demandRoles(closure, 'any', ['invoke']), ['Invoke', 'constructor']), false)
  })
  it('name a cycle', () => {
    assert.deepEqual(
      closeRoles(
        new Map([
          ['a', ['b']],
          ['b', ['c']],
          ['c', ['b']],
        ]),
      ),
      { cycle: ['b', 'c', 'b'] },
    )
  })
})

describe('json', () => {
  it('finds nested and dotted names, own ones only', () => {
    assert.deepEqual(at({ realm_access: { roles: ['a'] } }, 'realm_access.roles'), ['a'])
    assert.equal(at({ 'https://x.example/roles': 'a' }, 'https://x.example/roles'), 'a')
    assert.equal(at({ a: 'b' }, 'a.length'), undefined)
    assert.equal(at({}, 'constructor.name'), undefined)
  })
  it('compares by content', () => {
    assert.equal(sameJson({ a: [1, { b: null }], c: 'x' }, { c: 'x', a: [1, { b: null }] }), true)
    assert.equal(sameJson({ a: 1 }, { a: 1, b: 2 }), false)
    assert.equal(sameJson([1, 2], [2, 1]), false)
    assert.equal(sameJson({ a: 1 }, { b: 1 }), false)
    assert.equal(sameJson([], {}), false)
    assert.equal(sameJson('1', 1), false)
  })
})
