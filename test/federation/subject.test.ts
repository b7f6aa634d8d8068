import assert from 'node:assert/strict'
import { parseSubjectTemplate } from '../../src/config/subject-template.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { claimAt } from '../../src/identity/claim-path.ts'
import { fillSubject } from '../../src/issuer/federation-subject.ts'

const filled = (template: string, claims: JsonObject, reserved: readonly string[] = []): string => {
  const parsed = parseSubjectTemplate(template)
  if ('message' in parsed) throw new Error(parsed.message)
  const made = fillSubject(parsed, claims, { claimAt, reserved })
  return 'subject' in made ? made.subject : `! ${made.fault}`
}

describe('the template of a subject', () => {
  const rows: readonly [template: string, claims: JsonObject, subject: string][] = [
    ['github:{repository}', { repository: 'acme/agents' }, 'github:acme/agents'],
    ['{sub}', { sub: 'spiffe://acme.example/a' }, 'spiffe://acme.example/a'],
    ['ci', {}, 'ci'],
    ['{a.b}', { a: { b: 'x' } }, 'x'],
    ['{https://acme.example/team}', { 'https://acme.example/team': 'x' }, 'x'],
    ['{/kubernetes.io/namespace}/{/kubernetes.io/pod/0}', { 'kubernetes.io': { namespace: 'a', pod: ['b'] } }, 'a/b'],
    ['run:{n}', { n: 12345678901 }, 'run:12345678901'],
    ['{a} and {b}.', { a: 'x', b: 'y' }, 'x and y.'],
    // The last claim is ended by the end, so that it may hold anything.
    ['{a}:{b}', { a: 'x', b: 'y:z' }, 'x:y:z'],
    ['{a}:x', { a: 'y:x' }, 'y:x:x'],
    ['é{a}', { a: 'ü' }, 'éü'],
  ]
  for (const [template, claims, subject] of rows)
    it(`${template} of ${JSON.stringify(claims)}`, () => assert.equal(filled(template, claims), subject))

  const refused: readonly [name: string, template: string, claims: JsonObject, fault: RegExp][] = [
    ['a claim that is missing', '{a}', {}, /claim a is missing/],
    ['an empty one', '{a}', { a: '' }, /claim a is missing/],
    ['a list', '{a}', { a: ['x'] }, /is no text/],
    ['a mapping', '{a}', { a: { b: 'x' } }, /is no text/],
    ['true', '{a}', { a: true }, /is no text/],
    ['null', '{a}', { a: null }, /is no text/],
    ['a fraction', '{a}', { a: 1.5 }, /whole number/],
    ['a number that has lost digits', '{a}', { a: 2 ** 53 }, /whole number/],
    ['a member of every object', '{constructor}', { a: 'x' }, /is missing/],
    ['the length of a text', '{a.length}', { a: 'x' }, /is missing/],
    ['a line break', '{a}', { a: 'x\ny' }, /control or invisible/],
    ['a NUL', '{a}', { a: 'x\u0000' }, /control or invisible/],
    ['a text that runs the other way', '{a}', { a: 'x\u202ey' }, /control or invisible/],
    ['a space of no width', '{a}', { a: 'x\u200by' }, /control or invisible/],
    ['half a character', '{a}', { a: 'x\ud800' }, /control or invisible/],
    ['a separator of lines', '{a}', { a: 'x\u2028y' }, /control or invisible/],
    ['a claim that is too long', '{a}', { a: 'x'.repeat(1025) }, /longer than 1024/],
    ['claims that are too long together', '{a}:{b}', { a: 'x'.repeat(600), b: 'y'.repeat(600) }, /longer than 1024/],
    ['a claim that holds what ends it', '{a}:{b}', { a: 'x:y', b: 'z' }, /claim a holds ":"/],
    ['a claim that ends in half of what ends it', '{a}::{b}', { a: 'x:', b: 'y' }, /claim a holds "::"/],
  ]
  for (const [name, template, claims, fault] of refused)
    it(`refuses ${name}`, () => {
      const made = filled(template, claims)
      assert.match(made, /^! /)
      assert.match(made, fault)
    })

  it('refuses what belongs to operators and agents', () => {
    const reserved = ['operator:', 'spiffe://agents.local/agent/']
    assert.match(filled('{sub}', { sub: 'operator:alice' }, reserved), /operators or agents/)
    assert.match(filled('spiffe://{sub}', { sub: 'agents.local/agent/o/t/1' }, reserved), /operators or agents/)
    assert.equal(filled('{sub}', { sub: 'spiffe://agents.local/agents/x' }, reserved), 'spiffe://agents.local/agents/x')
  })

  it('gives two workloads two subjects, whatever their claims are made of', () => {
    const pieces = ['', ':', '::', 'a', ':a', 'a:', 'a:a', '::a', 'a::']
    for (const template of ['{a}:{b}', '{a}::{b}', 'a{a}a{b}', '{a}:a:{b}:', '{a}:{b}:{c}']) {
      const made = new Map<string, string>()
      for (const a of pieces)
        for (const b of pieces)
          for (const c of template.includes('{c}') ? pieces : ['x']) {
            const subject = filled(template, { a, b, c })
            if (subject.startsWith('! ')) continue
            const claims = JSON.stringify([a, b, c])
            assert.equal(made.get(subject) ?? claims, claims, `${template} gave ${subject}`)
            made.set(subject, claims)
          }
      assert.ok(made.size > 5, `${template}: ${made.size}`)
    }
  })

  const faults: readonly [template: string, offset: number, message: RegExp][] = [
    ['{a}{b}', 0, /expected a text between them/],
    ['x:{}', 2, /names no claim/],
    ['x:{ a}', 2, /names no claim/],
    ['{/a~2}', 0, /names no claim/],
    ['x{a', 1, /belongs to no claim/],
    ['xa}', 2, /belongs to no claim/],
    ['{{a}}', 0, /belongs to no claim/],
  ]
  for (const [template, offset, message] of faults)
    it(`is not ${template}`, () => {
      const parsed = parseSubjectTemplate(template)
      assert.ok('message' in parsed)
      assert.match(parsed.message, message)
      assert.equal(parsed.offset, offset)
    })
})
