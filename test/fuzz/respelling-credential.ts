import type { Writing } from './asking.ts'
import { type Dice, escapeOne, pick, type Respelling, replaceAt } from './respelling.ts'

/** JSON with its members in another order, spaced, escaped, or one of them twice. */
function otherJson(text: string, [a, b]: Dice): string {
  let members: [string, unknown][]
  try {
    members = Object.entries(JSON.parse(text) as object)
  } catch {
    return text // has been respelled already
  }
  const written = members.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`)
  const chosen = pick(members, b)
  switch (a % 8) {
    case 0:
      return `{${[...written].reverse().join(',')}}`
    case 1:
      return ` {\n ${written.join(' ,\t').replaceAll('":', '" : ')} }\r\n`
    case 2:
      return text.replace(/"[a-z]/g, (start) => `"\\u00${start.charCodeAt(1).toString(16)}`)
    case 3:
      return `{${[...written, pick(written, b)].join(',')}}`
    case 4:
      return `{${JSON.stringify(chosen[0])}:${pick(['"alice"', '"admin"', '["admin"]', '"https://users.example"', '9999999999', '"edge"', 'null'], b)},${written.join(',')}}`
    case 5:
      return `{${written.join(',')},${JSON.stringify(chosen[0]).replace(/[a-z]/, (char) => `\\u00${char.charCodeAt(0).toString(16)}`)}:${pick(['"alice"', '["admin"]', '9999999999', '"edge"'], b)}}`
    case 6:
      return `{${written.join(',')},"__proto__":{"sub":"alice","roles":["admin"]}}`
    default:
      return text.replace(/:(1[78]\d{8})\b/g, (_, digits: string) => `:${digits[0]}.${digits.slice(1)}e9`)
  }
}

const token =
  (change: (token: string, dice: Dice) => string) =>
  (writing: Writing, dice: Dice): Writing => ({ ...writing, token: (text) => change(writing.token(text), dice) })

/** Other spellings of a credential. */
export const inCredential: readonly Respelling[] = [
  {
    name: 'the scheme in another case',
    writing: (writing, [a]) => ({
      ...writing,
      scheme: pick(['bearer', 'BEARER', 'bEARER', 'Bearer'], a),
      verified: a % 3 !== 0 && writing.verified,
    }),
  },
  {
    name: 'another scheme',
    writing: (writing, [a]) => ({ ...writing, scheme: pick(['DPoP', 'Token', 'JWT', '', 'Bearer:', 'Basic', 'basic', 'BASIC'], a) }),
  },
  {
    name: 'other white space behind the scheme',
    writing: (writing, [a]) => ({ ...writing, gap: pick(['  ', '\t', ' \t', '', '\u00a0', '   '], a) }),
  },
  {
    name: 'something behind the credential',
    writing: (writing, [a]) => ({
      ...writing,
      after: pick([' ', '\t', '=', '==', ',', ', x=y', ';', '.', ' x', '\u00a0', ', Bearer x', '%3d', ';x=1', '"'], a),
    }),
  },
  {
    name: 'padding',
    writing: token((text, [a]) =>
      text
        .split('.')
        .map((part, i) => (i === a % 3 ? part.padEnd(Math.ceil(part.length / 4) * 4, '=') : part))
        .join('.'),
    ),
  },
  { name: 'no padding', writing: token((text) => text.replace(/=+$/, '')) },
  { name: 'the other base64', writing: token((text) => text.replaceAll('-', '+').replaceAll('_', '/')) },
  { name: 'the other base64, backwards', writing: token((text) => text.replaceAll('+', '-').replaceAll('/', '_')) },
  {
    name: 'white space inside',
    writing: token((text, [a, b]) => replaceAt(text, a % text.length, 0, pick([' ', '\t', '\n', '\r\n', '\u0000', '\u00a0'], b))),
  },
  {
    name: 'bits that mean nothing',
    writing: token((text, [, b]) =>
      text.replace(/.$/, (last) => pick([String.fromCharCode(last.charCodeAt(0) + 1), String.fromCharCode(last.charCodeAt(0) - 1)], b)),
    ),
  },
  { name: 'an escape in the credential', writing: token((text, dice) => escapeOne(text, dice, /[%]/)) },
  { name: 'quotes', writing: token((text, [a]) => pick([`"${text}"`, `'${text}'`, `<${text}>`], a)) },
  {
    name: 'the payload in other JSON',
    fits: ({ payload }) => payload !== undefined,
    writing: (writing, dice) => ({ ...writing, payload: (text) => otherJson(writing.payload(text), dice) }),
  },
  {
    name: 'the header in other JSON',
    writing: (writing, [a, b]) => ({
      ...writing,
      header:
        a % 2 === 0
          ? otherJson(writing.header, [a >> 1, b])
          : pick(
              [
                '{"alg":"ES256","typ":"jwt"}',
                '{"typ":"application/at+jwt","alg":"ES256"}',
                '{"alg":"es256"}',
                '{"alg":"none"}',
                '{"alg":"HS256"}',
                '{"alg":"ES256","crit":["exp"],"exp":1}',
                '{"alg":"ES256","b64":false}',
                '{"alg":"ES256","kid":"\\u006b1"}',
                '{"alg":"none","alg":"ES256"}',
              ],
              b,
            ),
    }),
  },
  { name: 'a token that Envoy did not verify', writing: (writing) => ({ ...writing, verified: false }) },
]
