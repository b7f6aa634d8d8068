import fc from 'fast-check'
import { type Asked, apiKey, idOf, ingress, now, owners, parsed, router, sharedSecret, signed } from './pipeline.ts'

const seconds = now / 1000
const claims = (iss: string, sub: string, more: object = {}): string =>
  JSON.stringify({ iss, aud: 'edge', sub, iat: seconds - 10, exp: seconds + 300, roles: ['invoke'], ...more })

/** Something that a request presents, and what comes with it. */
export interface Presented {
  /** Where it stands, so that a respelling knows what it may touch. */
  readonly kind: 'none' | 'users' | 'here' | 'cookie' | 'query' | 'websocket' | 'key' | 'key-header' | 'shared' | 'basic' | 'edge' | 'mtls'
  /** The payload of a JWT that is signed when it is presented; undefined for other credentials. */
  readonly payload: string | undefined
  readonly by: 'issuer' | 'stranger'
  /** What follows the scheme, where it is no JWT. */
  readonly secret: string
  /** The end user or claim headers that come with it. */
  readonly headers: readonly (readonly [string, string])[]
  readonly peer: string
  /** Of Basic. */
  readonly user: string
}

const nothing: Presented = { kind: 'none', payload: undefined, by: 'issuer', secret: '', headers: [], peer: '', user: '' }

const people = fc.constantFrom('alice', 'bob', 'mallory')
const tokenMore = fc.oneof(
  { weight: 6, arbitrary: fc.constant({}) },
  fc.constantFrom(
    { roles: ['admin'] },
    { roles: [] },
    { roles: 'admin' },
    { scope: 'invoke:sandbox:s-alice' },
    { scope: 'invoke:sandbox:*' },
  ),
  fc.constantFrom(
    { exp: seconds - 100 },
    { aud: 'other' },
    { aud: ['other', 'edge'] },
    { nbf: seconds + 1000 },
    { cnf: { jkt: 'x' } },
    { sub: '' },
    { sub: 'here:alice' },
  ),
)

/** Any credential, good or bad, in any place where one may stand. */
export const presented: fc.Arbitrary<Presented> = fc.oneof(
  { weight: 2, arbitrary: fc.constant(nothing) },
  {
    weight: 10,
    arbitrary: fc
      .record({
        kind: fc.constantFrom('users', 'here', 'cookie', 'query', 'websocket', 'basic'),
        who: people,
        more: tokenMore,
        by: fc.constantFrom('issuer', 'issuer', 'issuer', 'stranger'),
        user: fc.constantFrom('', 'x', 'here', 'users', 'partners'),
      })
      .map(({ kind, who, more, by, user }) => ({
        ...nothing,
        kind: kind as Presented['kind'],
        payload: claims(kind === 'users' ? 'https://users.example' : 'https://here.example', who, more),
        by: by as Presented['by'],
        user,
      })),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({
        kind: fc.constantFrom('key', 'key-header', 'basic'),
        secret: fc.constantFrom(apiKey.carol, apiKey.carol, apiKey.dave, apiKey.carol.replace('7777', '7x77')),
        user: fc.constantFrom('', 'partners', 'legacy'),
      })
      .map(({ kind, ...rest }) => ({ ...nothing, ...rest, kind: kind as Presented['kind'] })),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({
        kind: fc.constantFrom('shared', 'basic'),
        secret: fc.constantFrom(sharedSecret, sharedSecret, `${sharedSecret}0`),
        user: fc.constantFrom('', 'legacy'),
        endUser: fc.constantFrom('', 'erin', 'bob', 'legacy'),
      })
      .map(({ endUser, kind, ...rest }) => ({
        ...nothing,
        ...rest,
        kind: kind as Presented['kind'],
        headers: endUser === '' ? [] : [['x-end-user', endUser] as const],
      })),
  },
  {
    weight: 2,
    arbitrary: fc
      .record({
        peer: fc.constantFrom(ingress, ingress, router, '', 'spiffe://evil.example/ns/istio-system/sa/ingress'),
        who: fc.constantFrom('frank', 'bob'),
        role: fc.constantFrom('invoke', 'admin', ''),
      })
      .map(({ peer, who, role }) => ({
        ...nothing,
        kind: 'edge' as const,
        peer,
        headers: [['x-user-id', who] as const, ...(role === '' ? [] : [['x-user-roles', role] as const])],
      })),
  },
  {
    weight: 2,
    arbitrary: fc
      .constantFrom(router, ingress, 'spiffe://cluster.local/ns/agents/sa/other', 'spiffe://evil.example/ns/agents/sa/router')
      .map((peer) => ({ ...nothing, kind: 'mtls' as const, peer })),
  },
)

const id = fc.oneof(fc.constantFrom(...owners.map(idOf)), fc.constantFrom('s-nobody', 's-unknown', 'a:b', 's.1'))

/** A request for something, before a credential is put in: mostly a route of the policy, and sometimes none. */
export interface Wanted {
  readonly method: string
  readonly host: string
  readonly path: string
  readonly query: readonly (readonly [string, string])[]
  readonly headers: readonly (readonly [string, string])[]
}

const at = (
  path: string | fc.Arbitrary<string>,
  more: Partial<{ query: fc.Arbitrary<Wanted['query']>; headers: fc.Arbitrary<Wanted['headers']>; host: string }> = {},
) =>
  fc.record({
    method: fc.oneof({ weight: 9, arbitrary: fc.constant('GET') }, fc.constantFrom('POST', 'PUT', 'OPTIONS', 'HEAD')),
    host: fc.oneof(
      { weight: 9, arbitrary: fc.constant(more.host ?? 'edge.example') },
      fc.constantFrom('edge.example', 'x.agents.example', 'api.agents.example', 'agents.example'),
    ),
    path: typeof path === 'string' ? fc.constant(path) : path,
    query: more.query ?? fc.constantFrom([], [], [['x', '1'] as const]),
    headers: more.headers ?? fc.constant([]),
  })

const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(value, { maxLength: 1 })
const sandbox = optional(id.map((one) => ['sandbox', one] as const))

export const wanted: fc.Arbitrary<Wanted> = fc.oneof(
  at(
    fc.constantFrom(
      '/healthz',
      '/any',
      '/role',
      '/admin',
      '/admin/x',
      '/admin/open',
      '/admin/open/x',
      '/v1/jobs:run',
      '/v1/@all',
      '/inner/@all/x',
      '/v1/jobs',
      '/v1/x/y',
      '/narrow',
      '/workload',
      '/nowhere',
      '/',
    ),
  ),
  {
    weight: 4,
    arbitrary: at(
      fc
        .tuple(fc.constantFrom('/owned', '/scope', '/gold', '/owned'), id, fc.constantFrom('', '', '/x', '/x/y', '/x:y', '/@x'))
        .map(([where, one, more]) => `${where}/${one}${where === '/owned' ? more : ''}`),
    ),
  },
  at('/session', { headers: optional(id.map((one) => ['x-session-id', one] as const)) }),
  at(fc.constantFrom('/query', '/maybe'), { query: sandbox }),
  at('/mode', { query: optional(fc.constantFrom(['mode', 'safe'] as const, ['mode', 'evil'] as const)) }),
  at(fc.constantFrom('/console/x', '/npm/left-pad', '/npm/@scope%2fpackage')),
  at(fc.constantFrom('/inner/@all/x', '/v1/@all', '/v1/jobs:run')),
  at('/any', { host: 'x.agents.example' }),
  at('/any', { host: 'api.agents.example' }),
)

/** How a credential is written: the usual way, unless a respelling says otherwise. */
export interface Writing {
  readonly scheme: string
  readonly gap: string
  readonly after: string
  /** Whether Envoy's jwt_authn saw it, where it is a users' token. */
  readonly verified: boolean
  readonly payload: (payload: string) => string
  readonly token: (token: string) => string
  readonly header: string
}
export const usual: Writing = {
  scheme: 'Bearer',
  gap: ' ',
  after: '',
  verified: true,
  payload: (text) => text,
  token: (text) => text,
  header: '{"alg":"ES256","kid":"k1"}',
}

/** The request with its credential in place. */
export function asking(what: Wanted, who: Presented, form: Asked['form'], writing: Writing = usual): Asked {
  const payload = who.payload === undefined ? undefined : writing.payload(who.payload)
  const token = writing.token(payload === undefined ? who.secret : signed(payload, who.by, writing.header))
  const { scheme, gap, after } = writing
  const headers: (readonly [string, string])[] = [...what.headers, ...who.headers]
  const query = [...what.query]
  if (who.kind === 'users' || who.kind === 'here' || who.kind === 'key' || who.kind === 'shared')
    headers.push(['authorization', `${scheme}${gap}${token}${after}`])
  if (who.kind === 'basic')
    headers.push([
      'authorization',
      `${scheme === 'Bearer' ? 'Basic' : scheme}${gap}${writing.token(Buffer.from(`${who.user}:${payload === undefined ? who.secret : signed(payload, who.by)}`).toString('base64'))}${after}`,
    ])
  if (who.kind === 'key-header') headers.push(['x-api-key', `${token}${after}`])
  if (who.kind === 'cookie') headers.push(['cookie', `a=b; session=${token}${after}`])
  if (who.kind === 'websocket') headers.push(['sec-websocket-protocol', `chat, bearer.${token}${after}`])
  if (who.kind === 'query') query.push(['access_token', token])
  const verified =
    who.kind === 'users' && who.by === 'issuer' && writing.verified && payload !== undefined ? { users: parsed(payload) } : {}
  return {
    method: what.method,
    host: what.host,
    path: what.path,
    query: query.length === 0 ? '' : `?${query.map((pair) => pair.join('=')).join('&')}`,
    headers,
    verified,
    peer: who.peer,
    form,
  }
}
