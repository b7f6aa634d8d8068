import fc from 'fast-check'
import type { Table, TableRoute } from './differential-table.ts'

/** A request as it is written on the socket. */
export interface RawRequest {
  readonly method: string
  readonly host: string
  /** With the query. */
  readonly path: string
  readonly http2: boolean
  /** Another `Host` beside the first: a second field, or `host` beside `:authority`. */
  readonly second: string | undefined
  /** Nothing about it is odd: then the two must agree even where Postern finds no route. */
  readonly plain: boolean
}

const value = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('a', 'b', 'c', 'v1', 'admin', 's1', 'sandboxes') },
  { weight: 2, arbitrary: fc.string({ unit: fc.constantFrom(...'abcxyzABC0189-_~'), minLength: 1, maxLength: 12 }) },
)
const oddValue = fc.constantFrom(
  'a:b',
  'a=b',
  '$p',
  '*',
  '**',
  '{p0}',
  'a+b',
  '(x)',
  'a,b',
  '!',
  "'q'",
  'a&b',
  'a@b',
  '...',
  '.a',
  'a.',
  'a%20b',
  '%C3%A4',
)

/** The path of a template, with anything in the place of what it leaves open. */
const filled = (route: TableRoute, values: fc.Arbitrary<string>): fc.Arbitrary<string[]> =>
  fc
    .tuple(
      ...route.segments.map((one) =>
        one.kind === 'static'
          ? fc.constant([one.text])
          : one.kind === 'rest'
            ? fc.array(values, { maxLength: 2 })
            : values.map((text) => [text]),
      ),
    )
    .map((parts) => (parts as string[][]).flat())

type Respelling = (path: string, at: number, pick: number) => string

/** Where the segments of a path begin. */
const starts = (path: string): number[] => [...path.matchAll(/\//g)].map((match) => match.index)
const insertAt = (text: string, at: number, what: string): string => text.slice(0, at) + what + text.slice(at)
/** Puts one of several texts before, behind or in the place of a slash. */
const atSlash =
  (texts: readonly string[], how: 'before' | 'instead'): Respelling =>
  (path, at, pick) => {
    const slashes = starts(path)
    const index = slashes[at % slashes.length] ?? 0
    const text = texts[pick % texts.length]!
    return how === 'before' ? insertAt(path, index, text) : path.slice(0, index) + text + path.slice(index + 1)
  }

const hex = (char: string, upper: boolean): string => {
  const text = [...Buffer.from(char)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')
  return upper ? text.toUpperCase() : text
}

const respellings: readonly Respelling[] = [
  atSlash(['/.', '/..', '/./.', '/x/..', '/%2e', '/%2E%2e', '/.%2e', '/..;x', '/.;', '/%2e%2e%2f..', '/...'], 'before'),
  atSlash(['//', '///', '%2f', '%2F', '/%2f', '\\', '%5c', '%5C', '/\\', ';/', '%00/', '/;x=1/', '/ /', '/\t'], 'instead'),
  // One character, encoded: unreserved or not.
  (path, at, pick) => {
    const index = 1 + (at % Math.max(1, path.length - 1))
    const char = path[index]
    return char === undefined || char === '/' ? path : path.slice(0, index) + hex(char, pick % 2 === 0) + path.slice(index + 1)
  },
  // Twice encoded.
  (path, at) => {
    const index = 1 + (at % Math.max(1, path.length - 1))
    const char = path[index]
    return char === undefined ? path : `${path.slice(0, index)}%25${hex(char, false).slice(1)}${path.slice(index + 1)}`
  },
  (path, at, pick) =>
    insertAt(
      path,
      1 + (at % path.length),
      [
        ';',
        ';x=1',
        '%3b',
        '#',
        '%23',
        '%3f',
        '%',
        '%2',
        '%zz',
        '%00',
        '\u00e4',
        '\u{1f600}',
        '%c0%af',
        '%ff',
        '%C2%85',
        '\u2215',
        '\u3002',
        '\u0000',
        '*',
        '%20',
        '+',
      ][pick % 21]!,
    ),
  (path, at) => {
    const index = at % path.length
    const char = path[index]!
    const other = char === char.toLowerCase() ? char.toUpperCase() : char.toLowerCase()
    return path.slice(0, index) + other + path.slice(index + 1)
  },
  (path) => `${path}/`,
  (path, _, pick) => `${path}${['/.', '/..', '/%2e', '/*', '//', '/;', '.', '%2f', '..', '%2e', '/-'][pick % 11]}`,
  (path, _, pick) =>
    `${['/', '//', '/.', '', 'http://a.example', '//a.example', '/x/..', '*', '/%2f', '\\', '/a/../', 'https://localhost:80'][pick % 12]}${path}`,
  (path, at, pick) => `${path}/${'abcdefgh'[pick % 8]!.repeat(1 + (at % 9000))}`,
]

const respelled = (path: string): fc.Arbitrary<string> =>
  fc
    .array(fc.record({ how: fc.nat(respellings.length - 1), at: fc.nat(64), pick: fc.nat(500) }), { minLength: 1, maxLength: 3 })
    .map((list) => list.reduce((text, { how, at, pick }) => (text === '' ? text : respellings[how]!(text, at, pick)), path))

const query = fc.oneof(
  { weight: 6, arbitrary: fc.constant('') },
  fc.constantFrom('?', '?x=1', '?a=/b/../c', '?%2f', '?x=1?y=2', '?;', '?/admin', '??', '?a#b', '?\u00e4', '?x=1&x=2', '?%00'),
)

const hostNames = [
  'a.example',
  'api.a.example',
  'x.a.example',
  'x.api.a.example',
  'b.example',
  'localhost',
  'a-b.a.example',
  'other',
  'example',
]
const plainHost = (list: readonly (string | undefined)[]): fc.Arbitrary<string> =>
  fc.oneof(fc.constantFrom(...list.map((one) => (one ?? 'any.test').replace('*', 'x'))), fc.constantFrom(...hostNames))
const oddHost = (host: string): fc.Arbitrary<string> =>
  fc.constantFrom(
    host.toUpperCase(),
    `${host}:80`,
    `${host}:8443`,
    `${host}.`,
    `${host}.:80`,
    `${host}..`,
    `.${host}`,
    `x..${host}`,
    `x.y.${host}`,
    `${host}:`,
    `${host}:0x50`,
    `user@${host}`,
    `${host},other`,
    `${host}%2e`,
    `${host}:80:80`,
    '*.a.example',
    `${host}/`,
    `-.${host}`,
    `_.${host}`,
    '[::1]',
    '[::1]:80',
    '127.0.0.1',
    `${host}\u00e4`,
    `${host[0]?.toUpperCase()}${host.slice(1)}`,
  )

const method = (route: TableRoute): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...route.methods) },
    fc.constantFrom('GET', 'POST', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'),
  )
const oddMethod = fc.constantFrom('get', 'TRACE', 'CONNECT', 'PURGE', 'Get', 'PROPFIND', 'GETX', 'X-Y')

/** Requests that come near the routes of a table: a third of them plain, the rest misspelled in one way or several. */
export function requestOf({ routes }: Table): fc.Arbitrary<RawRequest> {
  const hosts = routes.map(({ host }) => host)
  const near = fc.constantFrom(...routes)
  const plain = near.chain((route) =>
    fc.record({
      method: method(route),
      host: fc.oneof({ weight: 3, arbitrary: fc.constant((route.host ?? 'any.test').replace('*', 'x')) }, plainHost(hosts)),
      path: filled(route, value).map((parts) => `/${parts.join('/')}`),
      http2: fc.boolean(),
      second: fc.constant(undefined),
      plain: fc.constant(true),
    }),
  )
  const odd = plain.chain((request) =>
    fc.record({
      method: fc.oneof({ weight: 12, arbitrary: fc.constant(request.method) }, oddMethod),
      host: fc.oneof({ weight: 4, arbitrary: fc.constant(request.host) }, oddHost(request.host)),
      path: fc
        .tuple(
          fc.oneof(
            { weight: 5, arbitrary: respelled(request.path) },
            near.chain((route) => filled(route, fc.oneof(value, oddValue)).map((parts) => `/${parts.join('/')}`)),
            fc.constant(request.path),
          ),
          query,
        )
        .map((parts) => parts.join('')),
      http2: fc.boolean(),
      second: fc.oneof({ weight: 11, arbitrary: fc.constant(undefined) }, plainHost(hosts)),
      plain: fc.constant(false),
    }),
  )
  return fc.oneof({ weight: 1, arbitrary: plain }, { weight: 2, arbitrary: odd })
}
