import { type Context, judged } from './context.ts'
import { durationMs } from './durations.ts'
import { lintService } from './ext-authz-service.ts'
import { type HttpFilter, isExtAuthz } from './managers.ts'
import { isType } from './model.ts'
import type { Setting } from './setting.ts'
import { asksAt } from './upstreams.ts'

export const isExtProc = ({ type }: HttpFilter): boolean => isType(type, 'http.ext_proc.v3.ExternalProcessor')

/** The namespace of what Postern's check told of the same request. */
const decided = 'envoy.filters.http.ext_authz'

const forwardsDecision = (config: Setting): boolean =>
  config.at('metadata_options', 'forwarding_namespaces', 'untyped').texts.includes(decided)

/**
 * Whether a filter is the one that asks Postern's ext_proc: at the address of the policy, or by what it is handed on. Any other
 * one that sees requests after the decision can change what was decided on.
 */
export function asksPostern(filter: HttpFilter, { policy, resources }: Context): boolean {
  if (!isExtProc(filter)) return false
  const at = policy?.extProc && asksAt(filter.config.at('grpc_service'), policy.extProc.address, resources)
  return at === true || (forwardsDecision(filter.config) && (!policy || policy.extProc !== undefined))
}

/** Checks the ext_proc filters of a chain that ask Postern (`envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor`). */
export function lintProcessors(filters: readonly HttpFilter[], context: Context): void {
  const asked = filters.findIndex(isExtAuthz)
  for (const [i, filter] of filters.entries()) {
    if (!asksPostern(filter, context)) continue
    if (i < asked)
      context.findings.tell(
        'ext-proc-before-ext-authz',
        filter.entry,
        `"${filter.name}" stands before ext_authz`,
        'put ext_proc after ext_authz, right before the router',
      )
    lintProcessor(filter.config, context)
  }
}

/** Checks the configuration of one. */
function lintProcessor(config: Setting, context: Context): void {
  const { tell } = context.findings
  lintOverridable(config, context)
  const modes = config.at('allow_mode_override')
  if (judged(context, modes) && !modes.on)
    tell(
      'ext-proc-mode-override',
      modes,
      `allow_mode_override is ${modes.shown}`,
      'allow_mode_override: true: Postern tells for each request what it needs of it',
    )
  const observes = config.at('observability_mode')
  if (observes.on) tell('ext-proc-observability', observes, 'what Postern answers is ignored', 'observability_mode: false')
  if (!forwardsDecision(config))
    tell(
      'ext-proc-metadata',
      config.at('metadata_options'),
      'what the check told of a request is not handed on',
      `metadata_options: { forwarding_namespaces: { untyped: [${decided}] } }`,
    )
  lintTimeouts(config, context)
  lintMutationRules(config.at('mutation_rules'), context)
  const service = config.at('grpc_service')
  if (service.present) lintService(service, context, context.policy?.extProc)
}

/** Checks what a route may say otherwise too (`ExtProcOverrides`). */
export function lintOverridable(config: Setting, { findings }: Context): void {
  const open = config.at('failure_mode_allow')
  if (open.on || open.at('value').on) findings.tell('ext-proc-fail-open', open, 'failure_mode_allow is true', 'failure_mode_allow: false')
  const requests = config.at('processing_mode', 'request_header_mode')
  if (requests.shown === 'SKIP' || requests.number === 2)
    findings.tell(
      'ext-proc-skips-requests',
      requests,
      `request_header_mode is ${requests.shown}`,
      'request_header_mode: SEND: what a response is the answer to is told there',
    )
}

function lintTimeouts(config: Setting, context: Context): void {
  const { tell } = context.findings
  const message = config.at('message_timeout')
  const ms = message.present ? durationMs(message.text) : 200
  const instead = 'message_timeout: 1s'
  if (judged(context, message) && ms !== undefined) {
    if (ms < 500) tell('ext-proc-timeout', message, `an answer may take ${ms} ms alone${message.present ? '' : ', the default'}`, instead)
    else if (ms > 10_000) tell('ext-proc-timeout', message, `an answer may take ${ms / 1000} s`, instead)
  }
  const stream = config.at('grpc_service', 'timeout')
  if ((durationMs(stream.text) ?? 0) > 0)
    tell(
      'ext-proc-timeout',
      stream,
      `a request and its response together may take ${stream.shown}`,
      'leave timeout out here: it is one for the whole stream, the time of the upstream included',
    )
}

/** What Postern changes of requests and of responses that go on. */
const changed = ['accept-encoding', 'content-length']

function lintMutationRules(rules: Setting, { findings }: Context): void {
  const kept = changed.filter((name) => forbids(rules, name))
  if (kept.length > 0)
    findings.tell(
      'ext-proc-mutation-rules',
      rules,
      `mutation_rules keep Postern from changing ${kept.join(' and ')}`,
      'mutation_rules as envoy/capture.yaml has them, or leave them out',
    )
}

/** `HeaderMutationRules`: what is disallowed by name, then what is allowed by name, then the rest. */
function forbids(rules: Setting, name: string): boolean {
  const says = (expression: string): boolean => {
    const { text } = rules.at(expression, 'regex')
    try {
      return text !== undefined && new RegExp(`^(?:${text})$`).test(name)
    } catch {
      return false
    }
  }
  const all = rules.at('disallow_all')
  return says('disallow_expression') || (!says('allow_expression') && (all.on || all.at('value').on))
}
