import fc from 'fast-check'

/** Characters: what a header can hold at Envoy, with room to spare. */
export const length = 65_536

const unit = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      'a',
      '/',
      '.',
      '/.',
      '/..',
      '%',
      '%2',
      '%2f',
      '%c3',
      ' ',
      '\t',
      ',',
      ', ',
      ';',
      '=',
      '"',
      '\\',
      '\\"',
      '&',
      'a=',
      '&a=',
      'A',
      '-',
      '_',
      '+',
      '{',
      '[',
      '[]',
      '{"a":',
      'eyJ',
      ':',
      ', URI:',
      'URI:"',
      'x=y, ',
      'a=", ',
      'sandbox=',
      '%&',
      '%c3&',
      'access_token=%&',
      '[',
      'session=',
      'bearer.',
      '*',
      '/{a}',
      '\u0000',
      '\n',
      '\u00e4',
      '\u{1f600}',
      '\ud800',
    ),
  },
  fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 4 }),
)
const beginning = fc.constantFrom(
  '',
  '',
  '/',
  'Bearer ',
  'Digest a=b, ',
  'spiffe://',
  'spiffe://a/',
  'URI:',
  'URI="',
  'https://h/',
  'a.b.',
  'eyJ',
  '"',
  '{"keys":[',
  'session=',
  '%',
  '\x0a\x7f',
)
const end = fc.constantFrom('', '', '!', '%', '"', '\\', '.', '=', ' ', '\u0000', '#', 'x', ']}')
/** A text of one or two things over and over, between others. */
export const repeated = fc.record({ beginning, unit, other: fc.option(unit, { nil: '', freq: 2 }), end })
/** The text itself, of {@link length} characters and a few. */
export function textOf({
  beginning: first,
  unit: one,
  other,
  end: last,
}: {
  beginning: string
  unit: string
  other: string
  end: string
}): string {
  const again = one + other
  return first + again.repeat(Math.ceil(length / again.length)).slice(0, length) + last
}
