import fc from 'fast-check'

const space = fc.constantFrom('', '', '', '', ' ', '\n', '\t', '\u00a0')
/** A string as JSON, some of its characters escaped though they need not be. */
export const quoted = (text: string, everyNth = 0): string =>
  `"${[...JSON.stringify(text).slice(1, -1)].join('')}"`.replace(/[a-z]/g, (char, at: number) =>
    everyNth > 0 && at % everyNth === 0 && !/\\u?[0-9a-f]*$/.test(JSON.stringify(text).slice(0, at))
      ? `\\u00${char.charCodeAt(0).toString(16)}`
      : char,
  )
const string = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.constantFrom('sub', 'iss', 'aud', 'exp', 'alg', 'typ', 'kid', 'alice', 'a', '__proto__', 'constructor', ''), fc.nat(3))
      .map(([text, nth]) => quoted(text, nth)),
  },
  { weight: 3, arbitrary: fc.string({ unit: 'grapheme', maxLength: 8 }).map((text) => JSON.stringify(text)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('"\\ud800"', '"\\x"', '"\\u12"', '"', '"\t"', "'a'", 'a', '"\\"', '"\\\\"', '"\\u0000"', '"{:["'),
  },
)
const number = fc.oneof(
  fc.integer().map(String),
  fc.double().map((value) => JSON.stringify(value)),
  fc.constantFrom('1e3', '-0', '01', '1.', '.5', '+1', 'NaN', '1e999', '0x1', '1E+2'),
)

/** JSON, and what nearly is: members twice, escapes, white space, depth, and syntax errors. */
export const { jsonText, jsonObject } = fc.letrec<{ jsonText: string; jsonObject: string }>((tie) => ({
  jsonText: fc.oneof(
    { depthSize: 'small' },
    string,
    number,
    fc.constantFrom('true', 'false', 'null', 'undefined', ''),
    tie('jsonObject'),
    fc.tuple(space, fc.array(tie('jsonText'), { maxLength: 4 })).map(([gap, items]) => `[${gap}${items.join(`,${gap}`)}]`),
    fc
      .tuple(fc.integer({ min: 1, max: 40 }), fc.boolean())
      .map(([depth, list]) => (list ? `${'['.repeat(depth)}${']'.repeat(depth)}` : `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`)),
  ),
  jsonObject: fc
    .tuple(space, fc.array(fc.tuple(string, tie('jsonText')), { maxLength: 6 }), fc.constantFrom('', '', '', '', ',', '}', ' '))
    .map(([gap, members, end]) => `{${gap}${members.map(([name, value]) => `${name}${gap}:${gap}${value}`).join(`${gap},`)}${gap}}${end}`),
}))
