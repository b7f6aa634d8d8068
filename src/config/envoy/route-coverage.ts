import type { Context } from './context.ts'
import { lintBody } from './ext-authz.ts'
import { lintService } from './ext-authz-service.ts'
import { type HttpFilter, isExtAuthz, isJwtAuthn, type Manager } from './managers.ts'
import { isType } from './model.ts'
import type { PolicyFacts } from './policy-facts.ts'
import { perRoute, type Route, readPerRoute, routesOf } from './routes.ts'
import type { Setting } from './setting.ts'

/** No sentence names more routes. */
const mostNamed = 10

/** Checks on which routes Postern is asked, and what it is told there. */
export function lintCoverage(manager: Manager, context: Context): void {
  const routes = manager.routeConfigs.flatMap(routesOf)
  const asking = manager.filters.filter(isExtAuthz)
  for (const filter of asking) {
    if (filter.matcher)
      context.findings.tell(
        'ext-authz-conditional',
        filter.matcher,
        `a matcher decides which requests "${filter.name}" is asked about`,
        'put the filter there without ExtensionWithMatcher',
      )
    for (const route of routes) {
      const own = perRoute(route, filter.name)
      if (own?.disabled) lintDisabled(route, own.disabled, context)
      else if (own) lintOwnSettings(filter, route, own.config, context)
    }
    lintRealms(filter, routes, context)
  }
  lintTurnedOff(asking, routes, context)
  for (const filter of manager.filters.filter(isJwtAuthn)) for (const route of routes) lintJwtRoute(filter, route, context)
  lintUnusedNames(manager, context)
}

/** Filters that are off unless a route turns them on: Envoy Gateway makes one for each SecurityPolicy. */
function lintTurnedOff(asking: readonly HttpFilter[], routes: readonly Route[], { findings }: Context): void {
  const off = asking.find(({ disabled }) => disabled)
  if (!off) return
  const runs = (filter: HttpFilter, route: Route): boolean => {
    const own = perRoute(route, filter.name)
    // What turns it off for this route was told.
    return own !== undefined || !filter.disabled
  }
  const uncovered = routes.filter((route) => route.forwards && !asking.some((filter) => runs(filter, route)))
  if (uncovered.length === 0 && routes.length > 0) return
  const names = uncovered.map(({ name }) => `${name.virtualHost}: ${name.route}`)
  const more = names.length > mostNamed ? ` and ${names.length - mostNamed} more` : ''
  findings.tell(
    'ext-authz-disabled',
    off.entry.at('disabled'),
    `"${off.name}" is disabled, and nothing asks about ${names.slice(0, mostNamed).join('; ') || 'any route'}${more}`,
    'leave disabled out; public routes are public: true in the policy',
  )
}

function lintDisabled({ name, forwards }: Route, at: Setting, { findings }: Context): void {
  findings.tell(
    'ext-authz-route-disabled',
    at,
    `ext_authz is disabled for the route "${name.route}" of the virtual host "${name.virtualHost}"`,
    'leave disabled out; where anybody may come in, the policy has a route with public: true',
    // Envoy answers itself: no upstream is reached.
    { route: name, ...(forwards ? {} : { severity: 'warning' as const }) },
  )
}

/** `check_settings` of an `ExtAuthzPerRoute`. */
function lintOwnSettings(filter: HttpFilter, { name }: Route, config: Setting, context: Context): void {
  const own = config.at('check_settings')
  const service = [own.at('grpc_service'), own.at('http_service')].find((setting) => setting.present)
  const usual = filter.config.at('grpc_service', 'envoy_grpc', 'cluster_name').text
  if (service && service.at('envoy_grpc', 'cluster_name').text !== usual)
    context.findings.tell(
      'ext-authz-route-service',
      service,
      `the route "${name.route}" of the virtual host "${name.virtualHost}" is asked about elsewhere`,
      `leave ${service.name} out here`,
      { route: name },
    )
  else if (service) lintService(service, context)
  lintBody(own.at('with_request_body'), own.at('with_request_body', 'allow_partial_message'), context)
}

/** Where some routes name a realm, the others go to whatever realm is asked; where several are served, each must name one of them. */
function lintRealms(filter: HttpFilter, routes: readonly Route[], { findings, policy }: Context): void {
  const of = (route: Route) => realmsOf(route, filter.name)[0]
  const several = policy?.realms
  if (!several && !routes.some(of)) return
  const one = policy?.realm
  for (const route of routes) {
    if (perRoute(route, filter.name)?.disabled) continue
    const realm = of(route)
    // So a config dump shows the values of context_extensions: which realm it is cannot be told.
    if (realm?.text === '[redacted]') continue
    // Where several are served such a request is denied; one that reaches no upstream may be.
    if (!realm && several && !route.forwards) continue
    if (!realm)
      findings.tell(
        'route-realm',
        route.entry,
        `the route "${route.name.route}" names no realm, and ${several ? 'several are served' : 'others do'}`,
        'context_extensions: { realm: … }, at the virtual host for all of its routes',
        { route: route.name, ...(several && { severity: 'error' as const }) },
      )
    else if (several && !several.has(realm.text ?? ''))
      findings.tell(
        'route-realm',
        realm,
        `the route "${route.name.route}" names the realm "${realm.shown}", and served are ${[...several].join(', ')}`,
        'the name of one of them',
        { route: route.name, severity: 'error' },
      )
    else if (!several && one !== undefined && realm.text !== one)
      findings.tell(
        'route-realm',
        realm,
        `the route "${route.name.route}" names the realm "${realm.shown}", and the policy "${one}"`,
        `realm: ${one}, or the Postern of that realm`,
        { route: route.name },
      )
  }
}

/** Whether a route of Envoy is of the realm that is compared, where several are served. */
export function isCompared(route: Route, { filters }: Manager, policy: PolicyFacts): boolean {
  if (!policy.realms) return true
  return filters.filter(isExtAuthz).some((filter) => realmsOf(route, filter.name)[0]?.text === policy.realm)
}

/** Context extensions of all levels are joined; the most specific wins. */
const realmsOf = ({ levels }: Route, filter: string) =>
  levels
    .map((level) => level.at('typed_per_filter_config', filter))
    .filter((at) => at.present)
    .map((at) => readPerRoute(at).config.at('check_settings', 'context_extensions', 'realm'))
    .filter((realm) => realm.present)

function lintJwtRoute(filter: HttpFilter, route: Route, { findings }: Context): void {
  const off = perRoute(route, filter.name)?.disabled
  if (off && route.forwards)
    findings.tell(
      'jwt-route-disabled',
      off,
      `jwt_authn is disabled for the route "${route.name.route}" of the virtual host "${route.name.virtualHost}"`,
      'leave disabled out: allow_missing_or_failed lets requests without a token pass',
      { route: route.name },
    )
}

/** Envoy looks for the name of the filter, and for nothing else. */
function lintUnusedNames({ filters, routeConfigs }: Manager, { findings }: Context): void {
  const names = new Set(filters.map(({ name }) => name))
  const levels = routeConfigs.flatMap((config) => routesOf(config).flatMap((route) => route.levels))
  for (const [name, at] of levels.flatMap((level) => level.at('typed_per_filter_config').members)) {
    const { type } = readPerRoute(at)
    if (!names.has(name) && (isType(type, 'ExtAuthzPerRoute') || isType(type, 'jwt_authn.v3.PerRouteConfig')))
      findings.tell(
        'per-route-unused',
        at,
        `settings for a filter "${name}"`,
        `the name of the filter: ${filters
          .filter((filter) => isExtAuthz(filter) || isJwtAuthn(filter))
          .map((filter) => filter.name)
          .join(' or ')}`,
      )
  }
}
