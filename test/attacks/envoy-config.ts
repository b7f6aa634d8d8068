import { type Document, parseDocument } from 'yaml'
import { envoyFile } from '../support/envoy.ts'
import type { IssuerKeys } from './keys.ts'

/** What Envoy has to know of the rest. */
export interface EnvoySetting {
  /** Folder of its certificates. */
  readonly folder: string
  /** host:port of the ext_authz server. */
  readonly check: string
  /** The same, of the one behind the listener `ways`. */
  readonly ways: string
  readonly upstream: number
  readonly keys: Readonly<Record<'users' | 'partners', IssuerKeys>>
}

const listener = ['static_resources', 'listeners', 0]
const manager = [...listener, 'filter_chains', 0, 'filters', 0, 'typed_config']

/**
 * One Envoy with five listeners, all made from the shipped envoy.yaml:
 *
 * * `edge`: as it is shipped; Envoy repairs or refuses much before it asks anybody.
 * * `lenient`: Envoy repairs and refuses as little as it can, so that the server's own rules are seen.
 * * `forgiving`: as `lenient`, and a server that fails is an allow (`failure_mode_allow`): it must not fail.
 * * `raw`: as `lenient`, headers as bytes (`encode_raw_headers`) and a part of the body (`with_request_body`).
 * * `ways`: as `lenient`, and another server is asked, whose policy takes credentials of other kinds.
 *
 * Local replies say in `x-refused-by` why they were given.
 */
export function envoyConfig(setting: EnvoySetting): object {
  const edge = edgeDocument(setting)
  const config = edge.toJS() as { static_resources: { listeners: object[] } }
  const others = (['lenient', 'forgiving', 'raw', 'ways'] as const).map((name) => {
    const document = edge.clone() as Document
    loosen(document)
    const extAuthz = [...manager, 'http_filters', filterIndex(document, 'ext_authz'), 'typed_config']
    if (name === 'forgiving') document.setIn([...extAuthz, 'failure_mode_allow'], true)
    if (name === 'ways') document.setIn([...extAuthz, 'grpc_service', 'envoy_grpc', 'cluster_name'], 'ways')
    if (name === 'raw') {
      document.setIn([...extAuthz, 'encode_raw_headers'], true)
      document.setIn([...extAuthz, 'with_request_body'], { max_request_bytes: 512, allow_partial_message: true, pack_as_bytes: true })
    }
    document.setIn([...listener, 'name'], name)
    return (document.toJS() as typeof config).static_resources.listeners[0]!
  })
  config.static_resources.listeners.push(...others)
  return config
}

function edgeDocument({ folder, check, ways, upstream, keys }: EnvoySetting): Document {
  const document = parseDocument(
    envoyFile('envoy.yaml', {
      'address: 127.0.0.1, port_value: 9901': 'address: 127.0.0.1, port_value: 0',
      'address: 0.0.0.0, port_value: 10443': 'address: 127.0.0.1, port_value: 0',
      '/etc/envoy/certs': folder,
      'port_value: 8082': `port_value: ${upstream}`,
      '/etc/ssl/certs/ca-certificates.crt': `${folder}/workloads-ca.crt`,
    }),
  )
  const clusters = ['static_resources', 'clusters']
  const postern = (document.getIn(clusters) as { toJSON: () => { name: string }[] }).toJSON().findIndex(({ name }) => name === 'postern')
  document.setIn([...clusters, postern, 'load_assignment', 'endpoints'], [endpoint(check)])
  document.setIn([...clusters, postern, 'type'], 'STRICT_DNS')
  const other = (document.getIn([...clusters, postern]) as { toJSON: () => { load_assignment: object } }).toJSON()
  document.addIn(clusters, {
    ...other,
    name: 'ways',
    load_assignment: { ...other.load_assignment, cluster_name: 'ways', endpoints: [endpoint(ways)] },
  })
  const jwt = [...manager, 'http_filters', filterIndex(document, 'jwt_authn'), 'typed_config']
  const common = { audiences: ['edge'], forward: true, require_expiration: true, clock_skew_seconds: 60 }
  const provider = (issuer: string, from: object, name: 'users' | 'partners') => ({
    ...{ ...common, issuer, from_headers: [from], payload_in_metadata: name },
    local_jwks: { inline_string: JSON.stringify(keys[name].jwks) },
  })
  document.setIn([...jwt, 'providers'], {
    users: provider('https://users.example', { name: 'Authorization', value_prefix: 'Bearer ' }, 'users'),
    partners: provider('https://partners.example', { name: 'x-partner-token' }, 'partners'),
  })
  const optional = (name: string) => ({ requires_any: { requirements: [{ provider_name: name }, { allow_missing_or_failed: {} }] } })
  document.setIn([...jwt, 'rules', 0, 'requires'], { requires_all: { requirements: [optional('users'), optional('partners')] } })
  const upgrades = [{ upgrade_type: 'websocket' }]
  document.setIn(
    [...manager, 'route_config', 'virtual_hosts', 0, 'routes'],
    [{ match: { prefix: '/' }, route: { cluster: 'sandbox', upgrade_configs: upgrades } }],
  )
  document.setIn([...manager, 'local_reply_config'], {
    mappers: [
      {
        filter: { status_code_filter: { comparison: { op: 'GE', value: { default_value: 100, runtime_key: 'attacks.any_status' } } } },
        headers_to_add: [
          { header: { key: 'x-refused-by', value: '%RESPONSE_CODE_DETAILS%' }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' },
        ],
      },
    ],
  })
  return document
}

function endpoint(target: string): object {
  const [address = '', port = ''] = target.split(/:(?=\d+$)/)
  return { lb_endpoints: [{ endpoint: { address: { socket_address: { address, port_value: Number(port) } } } }] }
}

function filterIndex(document: Document, name: string): number {
  const filters = (document.getIn([...manager, 'http_filters']) as { toJSON: () => { name: string }[] }).toJSON()
  return filters.findIndex((filter) => filter.name === `envoy.filters.http.${name}`)
}

/** What the shipped files tell Envoy to refuse or to repair, left to the server. */
function loosen(document: Document): void {
  document.setIn([...manager, 'normalize_path'], false)
  document.setIn([...manager, 'merge_slashes'], false)
  document.setIn([...manager, 'path_with_escaped_slashes_action'], 'KEEP_UNCHANGED')
  document.setIn([...manager, 'common_http_protocol_options', 'headers_with_underscores_action'], 'ALLOW')
  document.setIn([...manager, 'strip_trailing_host_dot'], false)
}
