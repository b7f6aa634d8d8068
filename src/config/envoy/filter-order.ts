import type { Context } from './context.ts'
import { asksPostern, isExtProc } from './ext-proc.ts'
import { type HttpFilter, isExtAuthz, isJwtAuthn } from './managers.ts'
import { isType } from './model.ts'

/** Messages of filters that change what was decided on, and what they change. */
const changing: readonly (readonly [message: string, what: string])[] = [
  ['http.lua.v3.Lua', 'a script can change path, host and headers'],
  ['http.wasm.v3.Wasm', 'a module can change path, host and headers'],
  ['http.golang.v3alpha.Config', 'a module can change path, host and headers'],
  ['http.dynamic_modules.v3.DynamicModuleFilter', 'a module can change path, host and headers'],
  ['http.header_mutation.v3.HeaderMutation', 'headers are changed'],
  ['http.grpc_json_transcoder.v3.GrpcJsonTranscoder', 'the path is rewritten'],
  ['http.credential_injector.v3.CredentialInjector', 'Authorization is replaced'],
  ['http.gcp_authn.v3.GcpAuthnFilterConfig', 'Authorization is replaced'],
  ['http.oauth2.v3.OAuth2', 'Authorization may be replaced'],
  ['http.on_demand.v3.OnDemand', 'the route can change'],
  ['http.set_filter_state.v3.Config', 'what routes and clusters read can change'],
]

/** Checks what stands before and after ext_authz: cors, jwt_authn, ext_authz, router. */
export function lintOrder(filters: readonly HttpFilter[], context: Context): void {
  const { tell } = context.findings
  const asked = filters.findIndex(isExtAuthz)
  if (asked < 0) return
  for (const filter of filters.slice(asked + 1)) lintAfterDecision(filter, context)
  if (context.policy && context.policy.verified.length > 0 && !filters.some(isJwtAuthn)) {
    const names = context.policy.verified.map(({ name }) => `"${name}"`).join(', ')
    tell(
      'jwt-authn-missing',
      filters[asked]!.entry,
      `no jwt_authn stands here, and ${names} of the policy say verified_by: envoy`,
      'put jwt_authn before ext_authz, or write verified_by: postern',
    )
  }
}

/** Checks a filter that runs after ext_authz. */
export function lintAfterDecision(filter: HttpFilter, context: Context): void {
  const { tell } = context.findings
  const stands = `"${filter.name}" stands after ext_authz`
  if (isJwtAuthn(filter)) {
    tell('jwt-authn-after-ext-authz', filter.entry, stands, 'put jwt_authn before ext_authz')
    return
  }
  if (isType(filter.type, 'http.cors.v3.Cors')) {
    tell('cors-after-ext-authz', filter.entry, stands, 'put cors before jwt_authn and ext_authz')
    return
  }
  if (isExtProc(filter)) {
    if (!asksPostern(filter, context)) lintProcessor(filter, context)
    return
  }
  const [, what] = changing.find(([message]) => isType(filter.type, message)) ?? []
  if (what !== undefined) tell('filter-after-ext-authz', filter.entry, `${stands}: ${what}`, 'put it before ext_authz')
}

/** Another one than Postern's: one that sees answers alone changes nothing that was decided on. */
function lintProcessor(filter: HttpFilter, { findings }: Context): void {
  const mode = filter.config.at('processing_mode', 'request_header_mode')
  if (mode.text === 'SKIP') return
  findings.tell(
    'filter-after-ext-authz',
    filter.entry,
    `"${filter.name}" stands after ext_authz: it is sent request headers and can change them`,
    'processing_mode: { request_header_mode: SKIP }, or put it before ext_authz',
  )
}
