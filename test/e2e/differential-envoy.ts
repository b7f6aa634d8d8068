import type { TemplateSegment } from '../../src/core/path-template.ts'
import { readEnvoyFile } from '../support/envoy-document.ts'
import { shape, type Table, type TableRoute } from './differential-table.ts'

type Config = Record<string, unknown>

/** What Envoy says where its own table has no route. */
export const noRoute = 'none'

/** Kinds of segment, the more particular first: as Postern prefers them, a user has to order Envoy's routes. */
const rank = { static: 0, param: 1, star: 2, rest: 4 } as const
const endOfTemplate = 3

function particularFirst(a: TableRoute, b: TableRoute): number {
  for (let i = 0; i < Math.max(a.segments.length, b.segments.length); i++) {
    const [x, y] = [a.segments[i], b.segments[i]]
    const difference = (x ? rank[x.kind] : endOfTemplate) - (y ? rank[y.kind] : endOfTemplate)
    if (difference !== 0) return difference
  }
  return 0
}

const regexEscape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

function regexOf(segments: readonly TemplateSegment[]): string {
  if (segments.length === 0) return '/'
  return segments
    .map((one, i) => {
      if (one.kind === 'static') return `/${regexEscape(one.text)}`
      if (one.kind !== 'rest') return '/[^/]+'
      return i === 0 ? '/.*' : '(?:/.*)?'
    })
    .join('')
}

/** What Envoy's path templates can say: at most five variables, and literals of a few characters. */
const templatable = (segments: readonly TemplateSegment[]): boolean =>
  segments.some((one) => one.kind !== 'static') && segments.every((one) => one.kind !== 'static' || /^[A-Za-z0-9._~-]+$/.test(one.text))

const templateOf = (segments: readonly TemplateSegment[]): string =>
  segments
    .map((one) => (one.kind === 'static' ? `/${one.text}` : one.kind === 'param' ? `/{${one.name}}` : one.kind === 'star' ? '/*' : '/**'))
    .join('')

const byTemplate = (segments: readonly TemplateSegment[]): Config => ({
  path_match_policy: {
    name: 'envoy.path.match.uri_template.uri_template_matcher',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig',
      path_template: templateOf(segments),
    },
  },
})

/** The matches that together are one path template. */
function matchesOf({ segments, spelling }: TableRoute): Config[] {
  const fixed = segments.filter((one) => one.kind === 'static').map(({ text }) => `/${text}`)
  const rest = segments.at(-1)?.kind === 'rest'
  const wild = segments.length - fixed.length - (rest ? 1 : 0) > 0
  if (spelling === 'natural' && !wild) {
    if (!rest) return [{ path: fixed.join('') || '/' }]
    return [fixed.length === 0 ? { prefix: '/' } : { path_separated_prefix: fixed.join('') }]
  }
  if (spelling === 'template' && templatable(segments)) {
    const bare = segments.slice(0, -1)
    if (!rest || bare.length === 0) return [byTemplate(segments)]
    // `**` is a segment at least here.
    return [bare.every((one) => one.kind === 'static') ? { path: fixed.join('') } : byTemplate(bare), byTemplate(segments)]
  }
  return [{ safe_regex: { regex: regexOf(segments) } }]
}

const byMethod = (methods: readonly string[]): Config[] => [{ name: ':method', string_match: { safe_regex: { regex: methods.join('|') } } }]

const answering = (name: string, match: Config): Config => ({ name, match, direct_response: { status: name === noRoute ? 404 : 200 } })

function routesOf(routes: readonly TableRoute[]): Config[] {
  const out: Config[] = []
  const ordered = [...routes].sort(particularFirst)
  for (const [i, route] of ordered.entries()) {
    for (const match of matchesOf(route)) out.push(answering(route.id, { ...match, headers: byMethod(route.methods) }))
    // The most particular path is final: a method that it lacks is not looked for elsewhere.
    const place = shape(route.segments)
    const later = ordered.slice(i + 1).some((other) => shape(other.segments) === place)
    if (!later) out.push(answering(noRoute, { safe_regex: { regex: regexOf(route.segments) } }))
  }
  return out
}

/** Where Envoy finds no route at all it skips ext_authz, so that each virtual host ends with one. */
function virtualHosts(table: Table): Config[] {
  const hosts = new Set([...table.routes.map(({ host }) => host), undefined])
  return [...hosts].map((host) => ({
    name: host ?? 'any',
    domains: [host ?? '*'],
    routes: [...routesOf(table.routes.filter((route) => route.host === host)), answering(noRoute, { prefix: '/' })],
  }))
}

const told = (name: string, value: string): Config => ({ header: { key: name, value }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' })

/** Headers of Envoy's answers that say which route each of the two took. */
export const routeHeaders = { envoy: 'x-route-of-envoy', postern: 'x-route-of-postern', reason: 'x-reason' } as const

/** The listener of envoy/envoy.yaml, without TLS and with this table. */
function listenerOf(table: Table, name: string, realm: string): Config {
  const { listener, manager } = readEnvoyFile('envoy.yaml')
  const filters = manager['http_filters'] as readonly { readonly name: string; readonly typed_config: Config }[]
  const authorizer = filters.find((filter) => filter.name === 'envoy.filters.http.ext_authz')
  const router = filters.find((filter) => filter.name === 'envoy.filters.http.router')
  if (!authorizer || !router) throw new Error('envoy/envoy.yaml was expected to hold ext_authz and router')
  const metadata = (field: string) => `%DYNAMIC_METADATA(envoy.filters.http.ext_authz:${field})%`
  return {
    name,
    address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
    per_connection_buffer_limit_bytes: listener['per_connection_buffer_limit_bytes'],
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: {
              ...manager,
              path_with_escaped_slashes_action: table.slashes,
              access_log: [],
              // What Envoy refuses it closes at once: by default it waits a second, and so would each such test.
              delayed_close_timeout: '0.01s',
              // Of answers that Envoy makes itself, and here it makes them all.
              local_reply_config: {
                mappers: [
                  {
                    filter: { status_code_filter: { comparison: { op: 'GE', value: { default_value: 0, runtime_key: 'differential' } } } },
                    headers_to_add: [
                      told(routeHeaders.envoy, '%ROUTE_NAME%'),
                      told(routeHeaders.postern, metadata('route')),
                      told(routeHeaders.reason, metadata('reason')),
                    ],
                  },
                ],
              },
              http_filters: [authorizer, router],
              route_config: {
                ...(manager['route_config'] as Config),
                virtual_hosts: virtualHosts(table).map((one) => ({
                  ...one,
                  typed_per_filter_config: {
                    'envoy.filters.http.ext_authz': {
                      '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute',
                      check_settings: { context_extensions: { realm } },
                    },
                  },
                })),
              },
            },
          },
        ],
      },
    ],
  }
}

/** A bootstrap with a listener for each table; table i has the realm `realms[i]`, and the listener of that name. */
export const bootstrap = (tables: readonly Table[], realms: readonly string[], checkPort: number): Config => ({
  admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
  static_resources: {
    listeners: tables.map((one, i) => listenerOf(one, realms[i]!, realms[i]!)),
    clusters: [
      {
        name: 'postern',
        type: 'STATIC',
        connect_timeout: '0.25s',
        typed_extension_protocol_options: {
          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
            '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
            explicit_http_config: { http2_protocol_options: {} },
          },
        },
        load_assignment: {
          cluster_name: 'postern',
          endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: checkPort } } } }] }],
        },
      },
    ],
  },
})
