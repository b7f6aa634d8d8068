import { type Context, judged } from './context.ts'
import { isLocalListener } from './listener.ts'
import { filtersOf, isExtAuthz, type Manager } from './managers.ts'
import { isType } from './model.ts'
import type { Setting } from './setting.ts'

/** Checks how a connection manager reads requests (`HttpConnectionManager`). @param listener undefined where a patch changes any */
export function lintManager(config: Setting, listener: Setting | undefined, context: Context): void {
  lintPaths(config, context)
  lintClientHeaders(config, listener, context)
  lintHttp1(config.at('http_protocol_options'), context)
  for (const upgrade of config.at('upgrade_configs').items) lintUpgrade(upgrade, context)
}

function lintPaths(config: Setting, context: Context): void {
  const { tell } = context.findings
  const normalize = config.at('normalize_path')
  if (judged(context, normalize) && !normalize.on)
    tell('normalize-path', normalize, `normalize_path is ${normalize.shown}`, 'normalize_path: true')
  const merge = config.at('merge_slashes')
  if (judged(context, merge) && !merge.on) tell('merge-slashes', merge, `merge_slashes is ${merge.shown}`, 'merge_slashes: true')
  const escaped = config.at('path_with_escaped_slashes_action')
  if (judged(context, escaped)) lintEscapedSlashes(escaped, 'path_with_escaped_slashes_action: REJECT_REQUEST', context)
}

/** What is done about `%2F`, by its name in lower case without `_`: Envoy, and Envoy Gateway, which say the same in other letters. */
export function lintEscapedSlashes(action: Setting, instead: string, { findings, policy }: Context): void {
  const says = action.shown.toLowerCase().replaceAll('_', '')
  const tell = findings.tell.bind(undefined, 'escaped-slashes', action)
  if (says === 'rejectrequest' && policy?.encodedSlash)
    findings.tell(
      'policy-encoded-slash',
      action,
      'a route of the policy says encoded_slash: true, and Envoy answers 400 to %2F',
      `${action.name} with the value that keeps them: Postern refuses them on all other routes`,
    )
  if (says === 'rejectrequest' || (says === 'keepunchanged' && policy?.encodedSlash)) return
  if (says === 'keepunchanged') {
    tell('escaped slashes are kept', `${instead}, unless a route of the policy says encoded_slash: true`, { severity: 'warning' })
    return
  }
  // The client is told the path that it then asks for again.
  if (/^unescape(?:and)?redirect$/.test(says)) {
    tell('escaped slashes are answered with a redirect to the path without them', instead, { severity: 'warning' })
    return
  }
  tell(/^unescape/.test(says) ? 'escaped slashes become slashes' : `${action.name} is ${action.shown}`, instead)
}

function lintClientHeaders(config: Setting, listener: Setting | undefined, context: Context): void {
  const { tell } = context.findings
  const underscores = config.at('common_http_protocol_options', 'headers_with_underscores_action')
  if (judged(context, underscores) && !/^(?:REJECT_REQUEST|DROP_HEADER|1|2)$/.test(underscores.shown))
    tell(
      'underscore-headers',
      underscores,
      `headers_with_underscores_action is ${underscores.shown}`,
      'common_http_protocol_options: { headers_with_underscores_action: REJECT_REQUEST }',
    )
  const remote = config.at('use_remote_address')
  // Envoy allows only one of the two.
  const detected = config.at('original_ip_detection_extensions').items.length > 0
  const local = listener !== undefined && isLocalListener(listener)
  if (judged(context, remote) && !remote.on && !local && !detected)
    tell(
      'use-remote-address',
      remote,
      `use_remote_address is ${remote.shown}`,
      'use_remote_address: true, with xff_num_trusted_hops: 1 behind a load balancer',
    )
  lintTrustedAddresses(config, listener, context)
  lintForwardedCertificate(
    config.at('forward_client_cert_details'),
    'forward_client_cert_details: SANITIZE_SET, or APPEND_FORWARD behind a proxy of yours',
    context,
  )
}

function lintTrustedAddresses(config: Setting, listener: Setting | undefined, { findings }: Context): void {
  const hops = config.at('xff_num_trusted_hops')
  const overTls = listener?.at('filter_chains').items.some((chain) => chain.at('transport_socket').present)
  if ((hops.number ?? 0) > 0 && overTls)
    findings.tell(
      'xff-trusted-hops',
      hops,
      `${hops.shown} addresses of x-forwarded-for are believed on a listener that terminates TLS`,
      'xff_num_trusted_hops: 0 where clients connect here directly',
    )
  const internal = config.at('internal_address_config')
  const ranges = internal.at('cidr_ranges').items
  const told = (problem: string): void =>
    findings.tell(
      'internal-addresses',
      internal,
      problem,
      'internal_address_config: { cidr_ranges: [{ address_prefix: 0.0.0.0, prefix_len: 32 }] }, which holds nobody',
    )
  if (internal.present && ranges.length === 0)
    told('internal_address_config names no range, so that loopback and private addresses are internal')
  else if (ranges.some((range) => !holdsNobody(range))) told('addresses are declared internal')
}

const holdsNobody = (range: Setting): boolean => range.at('address_prefix').text === '0.0.0.0' && range.at('prefix_len').number === 32

/** What becomes of a client's own `x-forwarded-client-cert`: Envoy, and Envoy Gateway. */
export function lintForwardedCertificate(mode: Setting, instead: string, { findings, policy, patch }: Context): void {
  const says = mode.shown.toLowerCase().replaceAll('_', '')
  const read = policy?.edgeHeaders.has('x-forwarded-client-cert') === true
  if (read && !patch && (says === 'sanitize' || !mode.present))
    findings.tell('policy-client-cert-header', mode, 'an edge-trust validator reads x-forwarded-client-cert, and Envoy removes it', instead)
  if (read && (says === 'forwardonly' || says === 'appendforward')) return
  if (says === 'forwardonly' || says === 'alwaysforwardonly')
    findings.tell('forward-client-cert', mode, `${mode.name} is ${mode.shown}`, instead)
  else if (says === 'appendforward')
    findings.tell(
      'forward-client-cert',
      mode,
      `${mode.name} is ${mode.shown}: what the client sent stays in front`,
      `${instead.split(',')[0]}, unless a proxy of yours stands before this one`,
      { severity: 'warning' },
    )
}

function lintHttp1(options: Setting, { findings }: Context): void {
  const old = options.at('accept_http_10')
  if (old.on) findings.tell('http-10', old, 'HTTP/1.0 is accepted', 'accept_http_10: false')
  const chunked = options.at('allow_chunked_length')
  if (chunked.on)
    findings.tell('chunked-length', chunked, 'content-length beside transfer-encoding: chunked is accepted', 'allow_chunked_length: false')
  const methods = options.at('allow_custom_methods')
  if (methods.on) findings.tell('custom-methods', methods, 'methods of any name are accepted', 'allow_custom_methods: false')
}

function lintUpgrade(upgrade: Setting, context: Context): void {
  const { findings, resources } = context
  const type = upgrade.at('upgrade_type').shown
  const filters = upgrade.at('filters')
  if (filters.items.length > 0 && !filtersOf(filters, resources, findings).some(isExtAuthz)) {
    findings.tell(
      'upgrade-without-ext-authz',
      filters,
      `upgrades to ${type} have filters of their own, and ext_authz is not among them`,
      'leave filters out: upgrades then pass those of all requests',
    )
    return
  }
  if (upgrade.at('enabled').boolean !== false && filters.items.length === 0)
    findings.tell(
      'upgrade-everywhere',
      upgrade,
      `upgrades to ${type} are on for all routes`,
      'enabled: false here, and upgrade_configs on the routes that need them',
    )
}

/** Checks that some access log prints what Postern decided. */
export function lintAccessLog({ config, listener }: Manager, { findings }: Context): void {
  const logs = [config.at('access_log'), listener.at('access_log')]
  const told = logs.some((log) =>
    [...log.walk()].some(
      (setting) =>
        setting.text?.includes('DYNAMIC_METADATA(envoy.filters.http.ext_authz') ||
        (setting.name === '@type' && carriesMetadata(setting.text ?? '')),
    ),
  )
  if (!told)
    findings.tell(
      'access-log-reason',
      config.at('access_log'),
      'no access log prints what Postern decided',
      'an access log with "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:reason)%"',
    )
}

/** The gRPC access log sends all dynamic metadata. */
const carriesMetadata = (type: string): boolean => isType(type, 'HttpGrpcAccessLogConfig')
