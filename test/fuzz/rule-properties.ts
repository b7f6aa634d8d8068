import assert from 'node:assert/strict'
import fc from 'fast-check'
import { claimHeaders } from '../../src/core/header-edits.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { ownerLabelValue } from '../../src/core/ownership.ts'
import { parseTemplate } from '../../src/core/path-template.ts'
import { percentEncode, percentEncodeList } from '../../src/core/percent.ts'
import type { RouteEntry } from '../../src/core/route-table.ts'
import { RouteTable } from '../../src/core/route-table.ts'
import { covers } from '../../src/core/scopes.ts'
import { type Table, type TableRoute, table } from '../e2e/differential-table.ts'
import { anEntry, aPrincipal } from '../support/facts.ts'
import { property } from './property.ts'
import { idOf } from './query-id.ts'

const entryOf = ({ id, host, methods, path }: TableRoute): RouteEntry => anEntry(`${methods.join(',')} ${host ?? ''}${path}`, { id })

const rank = { static: 0, param: 1, star: 2, rest: 4 } as const
const matches = ({ segments }: TableRoute, path: readonly string[]): boolean => {
  const rest = segments.at(-1)?.kind === 'rest'
  const fixed = rest ? segments.slice(0, -1) : segments
  if (rest ? path.length < fixed.length : path.length !== fixed.length) return false
  return fixed.every((one, i) => (one.kind === 'static' ? one.text === path[i] : path[i] !== ''))
}
const moreParticular = (a: TableRoute, b: TableRoute): number => {
  for (let i = 0; i < 10; i++) {
    const [x, y] = [a.segments[i], b.segments[i]].map((one) => (one ? rank[one.kind] : 3))
    if (x !== y) return x! - y!
  }
  return 0
}

/** The design's rules about hosts and paths, read one after the other. */
function plainly({ routes }: Table, host: string, path: readonly string[], method: string): string | undefined {
  const hosts = [...new Set(routes.map((route) => route.host))]
  const suffix = hosts
    .filter((one) => one?.startsWith('*.') && host.endsWith(one.slice(1)) && host.length > one.length - 1)
    .sort((a, b) => b!.length - a!.length)[0]
  const chosen = hosts.includes(host) ? host : suffix
  const there = routes.filter((route) => route.host === chosen).sort(moreParticular)
  const best = there.find((route) => matches(route, path))
  if (!best) return undefined
  if (best.segments.at(-1)?.kind === 'rest' && path.at(-1) === '') {
    const bare = there.find((route) => matches(route, path.slice(0, -1)))
    if (bare && bare.segments.at(-1)?.kind !== 'rest') return undefined
  }
  return there.find((route) => moreParticular(route, best) === 0 && matches(route, path) && route.methods.includes(method))?.id
}

const somePath = fc
  .array(fc.constantFrom('a', 'b', 'c', 'v1', 'admin', 's1', 'sandboxes', 'a:b', 'x'), { maxLength: 4 })
  .chain((parts) => fc.boolean().map((slash) => (slash && parts.length > 0 ? [...parts, ''] : parts)))
const someHost = fc.constantFrom(
  'a.example',
  'api.a.example',
  'x.a.example',
  'x.api.a.example',
  'b.example',
  '.example',
  '.a.example',
  'localhost',
  'other',
  '',
  'a-b.a.example',
)

const queryPiece = fc.constantFrom(
  'sandbox',
  'Sandbox',
  'SANDBOX',
  'sand%62ox',
  'sandbox%00',
  'sandbox[]',
  'sandbox%5b%5d',
  'other',
  '=',
  '=',
  '=',
  's1',
  's2',
  '&',
  '&',
  ';',
  '+',
  '%20',
  ',',
  '%2c',
  '%',
  '%zz',
  '?',
  '#',
  '.',
  '_',
  'sandbox.',
)
const query = fc.array(queryPiece, { maxLength: 9 }).map((parts) => parts.join(''))
const scope = fc
  .array(fc.constantFrom('invoke', 'sandbox', '*', 's1', '', 'inv*', '*x'), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join(':'))
function plainlyCovers(granted: string, wanted: string): boolean {
  if (granted === wanted) return true
  const parts = granted.split(':')
  let fixed = parts.length
  while (fixed > 0 && parts[fixed - 1] === '*') fixed--
  if (fixed === parts.length || parts.slice(0, fixed).some((part) => part.includes('*'))) return false
  if (fixed === 0) return true
  return wanted.startsWith(`${parts.slice(0, fixed).join(':')}:`)
}

const visible = /^[!-~]*$/
const claims = fc.dictionary(
  fc.constantFrom('a', 'b', 'c', '__proto__'),
  fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.string({ unit: 'binary' }),
    fc.constantFrom('x'.repeat(5000), '\r\nx: y', ['a,b', 'c'], { a: '\n' }),
  ),
  { maxKeys: 4, noNullPrototype: true },
)

/** Rules: the table of routes, ids in a query, scopes, labels, and what is written into headers. */
export const ruleProperties = [
  property(
    'route table: finds what a plain reading of the rules finds',
    fc.tuple(table, fc.array(fc.tuple(someHost, somePath, fc.constantFrom('GET', 'POST', 'PUT', 'HEAD')), { minLength: 1, maxLength: 20 })),
    ([one, requests]) => {
      const routes = new RouteTable(one.routes.map(entryOf))
      for (const [host, path, method] of requests) {
        const match = routes.find(host, path)
        assert.notEqual(match, 'ambiguous', 'nothing was escaped')
        const found = match === 'ambiguous' ? undefined : match?.methods.get(method)?.route.id
        assert.equal(
          found,
          plainly(one, host, path, method),
          `${method} ${host} /${path.join('/')}\n${one.routes.map(({ id, host: at, methods, path: text }) => `${id} ${methods} ${at ?? ''}${text}`).join('\n')}`,
        )
      }
    },
    { weight: 12, few: 400 },
  ),
  property(
    'route table: a segment spelled with escapes is no static one, and leads to no other route',
    fc.tuple(table, someHost, somePath, fc.uniqueArray(fc.nat(3), { maxLength: 2 })),
    ([one, host, path, indices]) => {
      const routes = new RouteTable(one.routes.map(entryOf))
      const plain = routes.find(host, path)
      const match = routes.find(host, path, new Set(indices))
      // Refused, or what it would be without escapes, which then stand where anything may.
      if (match === 'ambiguous') return
      const [found, expected] = [match, plain].map((each) => (each === 'ambiguous' ? undefined : each?.methods))
      assert.equal(
        found,
        expected,
        one.routes.map(({ id, host: at, methods, path: text }) => `${id} ${methods} ${at ?? ''}${text}`).join('\n'),
      )
      const segments = one.routes.find(({ methods, id }) => found?.get(methods[0]!)?.route.id === id)?.segments
      for (const index of indices) assert.ok(index >= path.length || segments?.[index]?.kind !== 'static')
    },
    { weight: 10, few: 600 },
  ),
  property(
    'path template: read or refused, and never throws',
    fc.string({ unit: fc.constantFrom('/', 'a', '{', '}', '*', '**', '.', '%', '{id}', ' ', '\u00e4'), maxLength: 10 }),
    (text) => {
      const segments = parseTemplate(text)
      if (typeof segments === 'string') return assert.notEqual(segments, '')
      const written = segments.map((one) =>
        one.kind === 'static' ? one.text : one.kind === 'param' ? `{${one.name}}` : one.kind === 'star' ? '*' : '**',
      )
      assert.equal(`/${written.join('/')}`, text)
      return undefined
    },
    { weight: 4 },
  ),
  property(
    'query: an id is the one that every parser finds, or none',
    query,
    (text) => {
      const answer = idOf(text)
      const named = (query: string) =>
        [...new URLSearchParams(query)].filter(
          ([name]) =>
            name
              .trim()
              .toLowerCase()
              .replace(/\0.*$|\[.*$/s, '') === 'sandbox',
        )
      // With its `?`, without it (some parsers take another `?` away then), and parted at `;` too.
      const readings = [`?${text}`, text, `?${text.replaceAll(';', '&')}`].map(named)
      if (answer.kind === 'absent') assert.deepEqual(readings, [[], [], []], 'it was sent in another spelling')
      if (answer.kind === 'id') assert.deepEqual(readings, Array(3).fill([['sandbox', answer.id]]), 'another parser finds another id')
    },
    { weight: 15 },
  ),
  property(
    'scope: covers what a plain reading of the rule covers',
    fc.tuple(scope, scope),
    ([granted, wanted]) => assert.equal(covers(granted, wanted), plainlyCovers(granted, wanted)),
    { weight: 5 },
  ),
  property(
    'header values: visible, and decoded they are what they were',
    fc.array(fc.oneof(fc.string({ unit: 'binary', maxLength: 12 }), fc.string({ unit: fc.constantFrom(...'%,aZ \n~!"+'), maxLength: 6 })), {
      maxLength: 4,
    }),
    (list) => {
      for (const text of list) {
        assert.match(percentEncode(text), visible)
        assert.equal(decodeURIComponent(percentEncode(text)), text.toWellFormed())
      }
      if (list.length > 0)
        assert.deepEqual(
          percentEncodeList(list).split(',').map(decodeURIComponent),
          list.map((text) => text.toWellFormed()),
        )
    },
    { weight: 5 },
  ),
  property(
    'claim headers: visible, and at most 4 KiB',
    claims,
    (members) => {
      const wanted = ['a', 'b', 'c'].map((claim) => ({ claim, header: `x-postern-claim-${claim}` }))
      const found = claimHeaders(wanted, aPrincipal({ claims: members as JsonObject }))
      if (!found) return
      let bytes = 0
      for (const [name, value] of found) {
        assert.match(value, visible)
        bytes += name.length + value.length
      }
      assert.ok(bytes <= 4096)
    },
    { weight: 5 },
  ),
  property(
    'owner label: legal, and another for each subject',
    fc.tuple(
      fc.string({ unit: 'grapheme', maxLength: 70 }),
      fc.string({ unit: fc.constantFrom('a', 'A', '-', '.', '_', 'sha256-', '\u00e4'), maxLength: 9 }),
    ),
    ([a, b]) => {
      const values = [...new Set([a, b, a + b, ownerLabelValue(a)])]
        .filter((subject) => subject !== '' && subject.isWellFormed())
        .map(ownerLabelValue)
      for (const value of values) assert.match(value, /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/)
      assert.equal(new Set(values).size, values.length)
    },
    { weight: 3 },
  ),
]
