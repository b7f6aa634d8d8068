import { type Asked, ingress, sharedSecret } from './pipeline.ts'
import { type Dice, pick, type Respelling } from './respelling.ts'

const headers =
  (change: (headers: Asked['headers'], dice: Dice) => Asked['headers']) =>
  (asked: Asked, dice: Dice): Asked => ({ ...asked, headers: change(asked.headers, dice) })
const oneHeader = (change: (header: readonly [string, string], dice: Dice) => readonly (readonly [string, string])[]) =>
  headers((list, dice) =>
    list.length === 0 ? list : list.flatMap((header, i) => (i === dice[0] % list.length ? change(header, dice) : [header])),
  )

/** Names that a client could hope to be taken for Postern's, the edge's or the proxy's own. */
const claimed: Asked['headers'] = [
  ...[
    'x-postern-subject',
    'X-Postern-Roles',
    'x_postern_subject',
    'x-postern_roles',
    'X_POSTERN_issuer',
    'x-postern-owner',
    'x-postern-decision',
    'x-postern-claim-admin',
    'x-postern-anything',
  ].map((name) => [name, 'admin'] as const),
  ['x-envoy-auth-failure-mode-allowed', 'true'],
  ['x_envoy_auth_failure_mode_allowed', 'true'],
  ['x-forwarded-client-cert', `By=x;URI=${ingress}`],
  ['x-forwarded-host', 'api.agents.example'],
  ['x-original-url', '/healthz'],
  ['x-envoy-original-path', '/healthz'],
  ['x-forwarded-uri', '/healthz'],
  ['x-http-method-override', 'GET'],
  ['x-forwarded-proto', 'https'],
  ['proxy-authorization', 'Bearer x'],
  ['x-realm', 'other'],
]

/** Other spellings of headers, and of the peer beside them. */
export const inHeaders: readonly Respelling[] = [
  {
    name: 'names of headers in another case',
    asked: headers((list, [a]) =>
      list.map(([name, value]) => [a % 2 === 0 ? name.toUpperCase() : name.replace(/(^|-)./g, (part) => part.toUpperCase()), value]),
    ),
  },
  {
    name: 'an id in a header with underscores',
    asked: headers((list, [a]) =>
      list.map(([name, value]) => [/^x-session-id$/i.test(name) ? pick(['x_session_id', 'x-session_id', 'X_Session-Id'], a) : name, value]),
    ),
  },
  { name: 'a header twice', asked: oneHeader((header) => [header, header]) },
  { name: 'a header twice in one', asked: oneHeader(([name, value]) => [[name, `${value},${value}`]]) },
  {
    name: 'white space around a value',
    asked: oneHeader(([name, value], [, b]) => [[name, pick([` ${value}`, `${value} `, `\t${value}`, `${value}\t`, ` ${value} `], b)]]),
  },
  { name: 'headers in another order', asked: headers((list) => [...list].reverse()) },
  { name: 'a header that claims something', asked: headers((list, [a]) => [...list, pick(claimed, a)]) },
  {
    name: 'a header of an edge that it does not come from',
    fits: ({ peer, secret }) => peer !== ingress && secret !== sharedSecret,
    asked: headers((list, [a]) => [
      ...list,
      pick(
        [
          ['x-user-id', 'frank'],
          ['x-user-roles', 'admin'],
          ['x-user-groups', 'admin'],
          ['x-end-user', 'erin'],
          ['X-User-Id', 'alice'],
        ] as const,
        a,
      ),
    ]),
  },
  {
    name: 'the peer written otherwise',
    asked: (asked, [a]) =>
      asked.peer === ''
        ? asked
        : {
            ...asked,
            peer: pick(
              [
                asked.peer.toUpperCase(),
                asked.peer.replace('spiffe', 'SPIFFE'),
                `${asked.peer}/`,
                `${asked.peer}?`,
                `${asked.peer}#`,
                asked.peer.replace('/ns/', '/./ns/'),
                asked.peer.replace('/ns/', '//ns/'),
                asked.peer.replace('a', '%61'),
                asked.peer.replace('.', '\u3002'),
                ` ${asked.peer}`,
                asked.peer.replace('//', '//x@'),
                asked.peer.replace('local', 'local:443'),
              ],
              a,
            ),
          },
  },
]

/** The same fields of the message in another form. */
export const inForm: readonly Respelling[] = [
  { name: 'headers sent in another form', asked: (asked, [a]) => ({ ...asked, form: pick(['headers', 'header_map', 'raw'] as const, a) }) },
]
