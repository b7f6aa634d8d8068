import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import fc from 'fast-check'
import { Conditions } from '../../src/config/conditions.ts'
import { lintEnvoy } from '../../src/config/envoy/lint.ts'
import { linearPattern } from '../../src/config/linear-pattern.ts'
import { readPolicy } from '../../src/config/read.ts'
import { usual } from '../config/policy-files.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { type Property, property } from './property.ts'

const texts = [
  usual,
  readFileSync(new URL('../config/fixtures/every-setting.yaml', import.meta.url), 'utf8'),
  readFileSync(new URL('policy.yaml', import.meta.url), 'utf8'),
]

const yamlPiece = fc.constantFrom(
  ...[
    '&a ',
    '*a',
    '<<: *a',
    '!!binary ',
    '!x ',
    '|',
    '>',
    '? ',
    '- ',
    ': ',
    '{',
    '}',
    '[',
    ']',
    '"',
    "'",
    '#',
    '---\n',
    '...\n',
    '%YAML 1.1\n',
    '\t',
    '\n',
    '  ',
    '\u0000',
    '\ufeff',
    '\ufffd',
    '~',
    'null',
    'true',
    'yes',
  ],
  ...[
    '0x7f',
    '1e999',
    '-1',
    '.nan',
    '2026-01-01',
    '\u0024{env:X}',
    '\u0024{file:/x}',
    '${',
    '{realm}',
    '__proto__',
    'constructor',
    '[[[[[[[[[[[[',
    '"\\u0000"',
    'a'.repeat(300),
    '*',
    '**',
    '/x',
    'x: &b [*b]',
    'spiffe://',
  ],
)
const edits = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 0.999, noNaN: true }),
    drop: fc.constantFrom(0, 0, 1, 2, 5, 30),
    text: fc.oneof({ weight: 3, arbitrary: yamlPiece }, fc.constant('')),
  }),
  { minLength: 1, maxLength: 3 },
)
/** One of some files, damaged in a few places. */
const damagedText = (files: readonly string[]) =>
  fc
    .tuple(fc.constantFrom(...files), edits)
    .map(([text, list]) =>
      list.reduce((out, { at, drop, text: piece }) => out.slice(0, at * out.length) + piece + out.slice(at * out.length + drop), text),
    )
const envoyTexts = [
  'envoy/envoy.yaml',
  'test/config/envoy/fixtures/gateway/any-audience.yaml',
  'test/config/envoy/fixtures/gateway/fails-open.yaml',
].map((file) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8'))

/** A file that is read without a fault: nothing was damaged that matters. */
const policyFile: Property<string> = {
  name: 'policy file: read, or refused with the place of each fault, and never throws',
  weight: 0.5,
  few: 60,
  open: () => {
    const folder = temporaryFolder('fuzz')
    const file = folder.file('postern.yaml')
    const checkLater = async (text: string): Promise<void> => {
      await writeFile(file, text, { mode: 0o600 })
      const result = await readPolicy({ file, env: {}, secrets: 'warn' })
      if (result.ok) return
      assert.notEqual(result.faults.length, 0)
      for (const { line, column, message } of result.faults)
        assert.ok(line >= 1 && column >= 1 && message !== '', JSON.stringify(result.faults))
    }
    return { inputs: damagedText(texts), check: () => {}, checkLater, close: folder.remove }
  },
}

const celPiece = fc.constantFrom(
  ...[
    'principal',
    'request',
    'workload',
    'params',
    'resource',
    'now',
    '.roles',
    '.claims',
    '.method',
    '.path',
    '.query',
    '["x"]',
    "['a']",
    '.exists(r, ',
    '.all(x, ',
    '.matches("',
    'has(',
    'size(',
    '(',
    ')',
    '[',
    ']',
    '{',
    '}',
    ' == ',
    ' != ',
    ' && ',
    ' || ',
    '!',
    ' in ',
  ],
  ...[
    '"x"',
    "'x'",
    'r"\\d+"',
    '1',
    '1u',
    '1.5',
    'true',
    'null',
    ' ? ',
    ' : ',
    ' + ',
    '-',
    '*',
    ',',
    '.',
    'x',
    'timestamp("x")',
    'duration("1s")',
    '\u0000',
    '\u00e4',
    '((((((((((((',
    '// x\n',
  ],
)

const patternPiece = fc.constantFrom(
  'a',
  '[a-z]',
  '[^/]',
  '.',
  '*',
  '+',
  '?',
  '{1,3}',
  '{9,999}',
  '(',
  ')',
  '(?:',
  '(?=',
  '(?<x>',
  '|',
  '\\d',
  '\\1',
  '\\',
  '[',
  ']',
  '^',
  '$',
  '\\pL',
  '{',
  '}',
  '(a+)+',
  '(?i)',
)

/** What operators write: policy files, and the expressions in them. */
export const fileProperties: readonly Property[] = [
  policyFile as Property as Property<unknown>,
  property(
    'Envoy file: linted or refused with a place, and never throws',
    damagedText(envoyTexts),
    (text) => {
      const { findings, faults } = lintEnvoy([{ file: 'x.yaml', text }], undefined)
      for (const { line, column } of [...findings, ...faults]) assert.ok(line >= 1 && column >= 1)
    },
    { weight: 0.5, few: 60 },
  ),
  property(
    'condition: compiled or refused, and never throws',
    fc.array(celPiece, { maxLength: 12 }).map((parts) => parts.join('')),
    (text) => {
      const found = new Conditions().compile(text)
      if (!('holds' in found)) assert.ok(found.message !== '' && found.offset >= 0)
    },
    { weight: 0.5, few: 60 },
  ),
  property(
    'pattern: compiled or refused, and never throws',
    fc.tuple(fc.array(patternPiece, { maxLength: 8 }), fc.string({ unit: fc.constantFrom('a', 'b', '/', '1'), maxLength: 200 })),
    ([parts, text]) => {
      const found = linearPattern(parts.join(''))
      if (typeof found === 'string') return assert.notEqual(found, '')
      found.matchesWhole(text)
      found.find(text)
      return undefined
    },
    { weight: 3, few: 300 },
  ),
]
