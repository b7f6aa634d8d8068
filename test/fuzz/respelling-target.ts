import type { Asked } from './pipeline.ts'
import { type Dice, escapeOne, pick, type Respelling, replaceAt } from './respelling.ts'

const slashes = (path: string): number[] => [...path.matchAll(/\//g)].map(({ index }) => index)
const path =
  (change: (path: string, dice: Dice) => string) =>
  (asked: Asked, dice: Dice): Asked => ({ ...asked, path: change(asked.path, dice) })

const pairsOf = (query: string): string[] => (query === '' ? [] : query.slice(1).split('&'))
const queryOf = (pairs: readonly string[]): string => (pairs.length === 0 ? '' : `?${pairs.join('&')}`)
const query =
  (change: (pairs: string[], dice: Dice) => readonly string[]) =>
  (asked: Asked, dice: Dice): Asked => ({ ...asked, query: queryOf(change(pairsOf(asked.query), dice)) })
/** Changes the name of one parameter. */
const key = (change: (name: string, dice: Dice) => string) =>
  query((pairs, dice) => {
    if (pairs.length === 0) return pairs
    const at = dice[0] % pairs.length
    const [name = '', ...value] = pairs[at]!.split('=')
    return pairs.map((pair, i) => (i === at ? [change(name, dice), ...value].join('=') : pair))
  })

const inPath: readonly Respelling[] = [
  // What another change put there and no path holds as it is becomes data when it is escaped: that is another path.
  { name: 'an escape in the path', asked: path((text, dice) => escapeOne(text, dice, /[/# ]/)) },
  { name: 'an escape in an escape', asked: path((text, dice) => escapeOne(text, dice, /\//).replace(/%(?=[0-9a-f]{2})/i, '%25')) },
  {
    name: 'hex digits in the other case',
    asked: path((text) =>
      text.replace(/%[0-9a-f]{2}/gi, (code) => (code === code.toUpperCase() ? code.toLowerCase() : code.toUpperCase())),
    ),
  },
  {
    name: 'a segment that means nothing',
    asked: path((text, [a, b]) =>
      replaceAt(
        text,
        pick(slashes(text), a),
        0,
        pick(['/.', '/x/..', '/', '//', '/%2e', '/x/%2e%2e', '/x/.%2E', '/;', '/.;a=b', '/x/..;', '\\', '/\\..\\x/..'], b),
      ),
    ),
  },
  {
    name: 'a slash written otherwise',
    asked: path((text, [a, b]) =>
      replaceAt(text, pick(slashes(text), a), 1, pick(['%2f', '%2F', '\\', '%5c', '%5C', '%252f', '\u2215', '%c0%af', '/\t', '/%00'], b)),
    ),
  },
  {
    name: 'a parameter of a segment',
    asked: path((text, [a, b]) =>
      replaceAt(text, pick([...slashes(text).slice(1), text.length], a), 0, pick([';', ';v=1', '%3b', ';/', ';..'], b)),
    ),
  },
  {
    name: 'something at the end of the path',
    asked: path((text, [, b]) => text + pick(['/', '/.', '//', '%00', '#', '#x', ' ', '\t', '/..;/', '%0d%0a', '/%2e', '\u0000'], b)),
  },
  {
    name: 'something before the path',
    asked: path(
      (text, [, b]) =>
        pick(['/', '/.', '/x/..', '//edge.example', 'https://edge.example', 'http://edge.example', '\\', '/%2f', ' '], b) + text,
    ),
  },
]

const inHost: readonly Respelling[] = [
  { name: 'the host in upper case', asked: (asked) => ({ ...asked, host: asked.host.toUpperCase() }) },
  {
    name: 'something behind the host',
    asked: (asked, [a]) => ({
      ...asked,
      host:
        asked.host +
        pick([':443', ':80', ':', '.', '.:443', '..', ':65536', ':0443', ' ', '\t', '/', '#', '\u0000', ',edge.example', '%2e'], a),
    }),
  },
  {
    name: 'something before the host',
    asked: (asked, [a]) => ({ ...asked, host: pick(['user@', ' ', '//', 'https://', '.'], a) + asked.host }),
  },
  {
    name: 'a letter of the host that has another form',
    asked: (asked) => ({ ...asked, host: asked.host.replace('k', '\u212a').replace('s', '\u017f').replace('.', '\u3002') }),
  },
  { name: 'the method in lower case', asked: (asked) => ({ ...asked, method: asked.method.toLowerCase() }) },
  {
    name: 'the method with white space',
    asked: (asked, [a]) => ({ ...asked, method: pick([`${asked.method} `, ` ${asked.method}`, `${asked.method}\t`], a) }),
  },
]

const inQuery: readonly Respelling[] = [
  { name: 'parameters in another order', asked: query((pairs) => [...pairs].reverse()) },
  { name: 'a parameter twice', asked: query((pairs, [a]) => (pairs.length === 0 ? pairs : [...pairs, pick(pairs, a)])) },
  { name: 'a parameter more', asked: query((pairs, [, b]) => [...pairs, pick(['', 'y=2', '=', 'y', '%', 'y=%zz', 'y=a=b'], b)]) },
  { name: 'an escape in a name', asked: key((name, dice) => escapeOne(name, dice, /[%]/)) },
  {
    name: 'the name of a parameter, read loosely',
    asked: key((name, [, b]) =>
      pick(
        [
          name.toUpperCase(),
          `${name}[]`,
          `${name}[0]`,
          `+${name}`,
          `%20${name}`,
          `${name}%00`,
          `${name}.`,
          `${name}%00x`,
          name.replace(/^./, (char) => char.toUpperCase()),
          `${name}[`,
        ],
        b,
      ),
    ),
  },
  {
    name: 'an escape in a value',
    asked: query((pairs, dice) =>
      pairs.map((pair, i) =>
        i === dice[0] % pairs.length && pair.includes('=')
          ? `${pair.split('=')[0]}=${escapeOne(pair.slice(pair.indexOf('=') + 1), dice, /[%]/)}`
          : pair,
      ),
    ),
  },
  {
    name: 'parameters parted otherwise',
    asked: (asked, [a]) => ({
      ...asked,
      query: asked.query.replace(/&/g, pick([';', '&&', '&;', '%26'], a)).replace(/^\?/, pick(['?', '??', '?&', '?;', '?x;'], a)),
    }),
  },
]

/** Other spellings of method, host, path and query. */
export const inTarget: readonly Respelling[] = [...inPath, ...inHost, ...inQuery]
