import { type Context, judged } from './context.ts'
import { durationMs } from './durations.ts'
import { lintHeaderLists } from './ext-authz-headers.ts'
import { lintService } from './ext-authz-service.ts'
import { isAskedByIstio } from './istio-rbac.ts'
import type { Setting } from './setting.ts'

/** What an ext_authz filter stands beside. */
export interface Around {
  /** Whether a jwt_authn filter is in the same chain. */
  readonly jwt: boolean
  /** Whether the listener asks clients for a certificate. */
  readonly certificates: boolean
}

/** Checks the configuration of one ext_authz filter (`envoy.extensions.filters.http.ext_authz.v3.ExtAuthz`). */
export function lintExtAuthz(config: Setting, around: Around, context: Context): void {
  const { tell } = context.findings
  if (config.at('http_service').present) {
    tell(
      'ext-authz-http-service',
      config.at('http_service'),
      'ext_authz asks an HTTP service',
      'grpc_service: { envoy_grpc: { cluster_name: postern }, timeout: 1s }',
    )
    return
  }
  lintErrors(config, context)
  lintWhetherAsked(config, context)
  const service = config.at('grpc_service')
  if (judged(context, service)) {
    const timeout = service.at('timeout')
    lintTimeout(timeout, context)
    for (const retry of [service.at('retry_policy'), service.at('envoy_grpc', 'retry_policy')]) {
      if (!retry.present) continue
      if (!retriesUnread(retry))
        tell(
          'ext-authz-retry',
          retry,
          'a check that failed may be asked again',
          'retry_on: "connect-failure,refused-stream", which retries what no Postern has read',
        )
      lintTry(retry.at('retry_back_off'), timeout, context)
    }
    lintService(service, context)
  }
  if (config.at('clear_route_cache').on)
    tell(
      'ext-authz-clear-route-cache',
      config.at('clear_route_cache'),
      'the route is chosen again after the decision',
      'clear_route_cache: false',
    )
  lintBody(config.at('with_request_body'), config.at('with_request_body', 'allow_partial_message'), context)
  lintHeaderLists(config.at('allowed_headers'), config.at('disallowed_headers'), context)
  lintFacts(config, around, context)
  const rules = config.at('decoder_header_mutation_rules')
  if (rules.present && !rules.at('disallow_is_error').on)
    tell(
      'ext-authz-mutation-rules',
      rules,
      'headers of Postern’s answer may be dropped',
      'leave decoder_header_mutation_rules out, or write disallow_is_error: true in them',
    )
}

/** Envoy's own, in milliseconds: of a check, and of a try where nothing is said of intervals. */
const defaultTimeoutMs = 200
const defaultTryMs = 10_000

/** Whether it asks again only where the first one was not read: its connection was refused, or its stream was (RFC 9113, section 8.7). */
function retriesUnread(retry: Setting): boolean {
  const conditions = (retry.at('retry_on').text ?? '').split(',').map((one) => one.trim())
  return conditions.every((one) => one === 'connect-failure' || one === 'refused-stream')
}

/**
 * Envoy's gRPC clients take the time that a single try has from the greatest interval between tries, which is ten times the first one where
 * nothing is said (`config.core.v3.RetryPolicy`, `BackoffStrategy`).
 * @param timeout that of the check with all its tries
 */
function lintTry(backOff: Setting, timeout: Setting, { findings }: Context): void {
  const greatest = backOff.at('max_interval')
  const first = durationMs(backOff.at('base_interval').text)
  const tryMs = greatest.present ? durationMs(greatest.text) : first === undefined ? defaultTryMs : first * 10
  const ms = timeout.present ? durationMs(timeout.text) : defaultTimeoutMs
  if (tryMs === undefined || ms === undefined || tryMs >= ms) return
  const from = greatest.present ? 'max_interval' : 'ten times the base_interval'
  findings.tell(
    'ext-authz-retry-interval',
    greatest,
    `a try may take ${tryMs} ms (${from}), the check ${ms} ms`,
    `max_interval: ${timeout.present ? timeout.shown : '1s'}, the time-out of the check`,
  )
}

/** What happens when Postern cannot be asked. */
function lintErrors(config: Setting, context: Context): void {
  const { tell } = context.findings
  lintFailOpen(config.at('failure_mode_allow'), 'failure_mode_allow: false', context)
  const added = config.at('failure_mode_allow_header_add')
  if (added.on)
    tell(
      'ext-authz-fail-open-header',
      added,
      'x-envoy-auth-failure-mode-allowed is set where Postern was not asked',
      'failure_mode_allow_header_add: false',
    )
  const status = config.at('status_on_error')
  if (judged(context, status)) lintErrorStatus(status.at('code'), 'status_on_error: { code: ServiceUnavailable }', context)
}

/** @param instead what to write, in the words of that configuration */
export function lintFailOpen(setting: Setting, instead: string, { findings, policy }: Context): void {
  if (!setting.on) return
  if (policy?.outagesAsErrors)
    findings.tell('policy-error-response', setting, `${setting.name} is true, and the policy says errors: error_response`, instead)
  else findings.tell('ext-authz-fail-open', setting, `${setting.name} is true`, instead)
}

/** Enum names and numbers of `envoy.type.v3.StatusCode` from 500 on. */
const serverErrors = /^(?:5\d\d|InternalServerError|NotImplemented|BadGateway|ServiceUnavailable|GatewayTimeout)$/

/** @param code the status that a client gets where Postern cannot be asked; 403 where absent */
export function lintErrorStatus(code: Setting, instead: string, { findings }: Context): void {
  if (!serverErrors.test(code.shown))
    findings.tell(
      'ext-authz-error-status',
      code,
      `where Postern cannot be asked the answer is ${code.present ? code.shown : '403'}`,
      instead,
    )
}

/** @param timeout `grpc_service.timeout`; 200 ms where absent @param absentMs the default in milliseconds */
export function lintTimeout(timeout: Setting, { findings }: Context, instead = 'timeout: 1s', absentMs = defaultTimeoutMs): void {
  const ms = timeout.present ? durationMs(timeout.text) : absentMs
  if (ms === undefined) return
  const tell = (problem: string): void => findings.tell('ext-authz-timeout', timeout, problem, instead)
  if (ms === 0) tell('a check has no time limit')
  else if (ms < 500) tell(`a check may take ${ms} ms alone${timeout.present ? '' : ', the default'}`)
  else if (ms > 10_000) tell(`a check may take ${ms / 1000} s${timeout.present ? '' : ', the default'}`)
}

/** Whether each request is asked about. */
function lintWhetherAsked(config: Setting, context: Context): void {
  const { tell } = context.findings
  const shadow = config.at('shadow_mode')
  if (shadow.on)
    tell(
      'ext-authz-shadow-mode',
      shadow,
      'decisions are taken note of and not enforced',
      'shadow_mode: false; for adoption, routes of the policy may say enforce: false',
    )
  const version = config.at('transport_api_version')
  if (version.shown === 'V2' || version.number === 1)
    tell('ext-authz-transport-api', version, `transport_api_version is ${version.shown}`, 'transport_api_version: V3')
  const metadata = config.at('filter_enabled_metadata')
  // Istio's own: its RBAC filter says which requests, and is checked in its place.
  const byIstio = isAskedByIstio(config)
  const deniesRest = config.at('deny_at_disable', 'default_value').on
  const instead = 'leave it out: the filter is then on for all; for adoption, routes of the policy may say enforce: false'
  if (metadata.present && !deniesRest && !byIstio)
    tell('ext-authz-filter-enabled', metadata, 'only requests with certain metadata are asked about', instead)
  const enabled = config.at('filter_enabled')
  if (!enabled.present || deniesRest) return
  const share = percent(enabled.at('default_value'))
  if (share < 100) tell('ext-authz-filter-enabled', enabled, `${share} % of the requests are asked about`, instead)
  else if (enabled.at('runtime_key').present)
    tell(
      'ext-authz-filter-enabled-runtime',
      enabled.at('runtime_key'),
      `the runtime key "${enabled.at('runtime_key').shown}" says which share is asked about`,
      instead,
    )
}

/** A `FractionalPercent`, as percent. */
function percent(fraction: Setting): number {
  const denominators: Readonly<Record<string, number>> = { TEN_THOUSAND: 100, MILLION: 10_000, '1': 100, '2': 10_000 }
  return (fraction.at('numerator').number ?? 0) / (denominators[fraction.at('denominator').shown] ?? 1)
}

/** @param body where it is set that bodies are sent @param partial whether halves of them are */
export function lintBody(body: Setting, partial: Setting, { findings }: Context): void {
  if (partial.on) findings.tell('ext-authz-partial-body', partial, 'the first part of a body is sent', `leave ${body.name} out`)
  else if (body.present) findings.tell('ext-authz-request-body', body, 'bodies are sent', `leave ${body.name} out`)
}

/** What Postern is shown of a request. */
function lintFacts(config: Setting, around: Around, context: Context): void {
  const { findings, policy } = context
  const certificate = config.at('include_peer_certificate')
  if (judged(context, certificate) && !certificate.on && (around.certificates || context.patch))
    findings.tell('ext-authz-peer-certificate', certificate, 'the client’s certificate is not sent', 'include_peer_certificate: true')
  const needed = around.jwt && (policy === undefined || policy.verified.length > 0)
  const namespaces = config.at('metadata_context_namespaces')
  if (needed && judged(context, namespaces) && !namespaces.texts.includes('envoy.filters.http.jwt_authn'))
    findings.tell(
      'ext-authz-metadata-namespace',
      namespaces,
      'the metadata of jwt_authn is not sent',
      'metadata_context_namespaces: [envoy.filters.http.jwt_authn]',
    )
}
