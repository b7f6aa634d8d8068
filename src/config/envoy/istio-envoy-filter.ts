import type { Context } from './context.ts'
import { lintExtAuthz } from './ext-authz.ts'
import { lintAfterDecision } from './filter-order.ts'
import { lintManager } from './http-manager.ts'
import { lintJwtAuthn } from './jwt-authn.ts'
import { lintClientCertificates } from './listener.ts'
import { httpFilter, isExtAuthz, isJwtAuthn } from './managers.ts'
import { type Configuration, isType, typedOf } from './model.ts'
import { lintAdded } from './route-actions.ts'
import { readPerRoute } from './routes.ts'
import type { Setting } from './setting.ts'

/** Checks what Istio's EnvoyFilters change. */
export function lintEnvoyFilters({ resources }: Configuration, context: Context): void {
  const patches = resources.filter(({ kind }) => kind === 'EnvoyFilter').flatMap(({ root }) => root.at('spec', 'configPatches').items)
  for (const patch of patches) {
    const cluster = patch.at('patch', 'value')
    if (patch.at('applyTo').text === 'CLUSTER' && cluster.at('name').text)
      context.resources.clusters.set(cluster.at('name').text ?? '', cluster)
  }
  const jwt = resources.some(({ kind }) => kind === 'RequestAuthentication')
  for (const patch of patches) lintPatch(patch, jwt, context)
}

function lintPatch(patch: Setting, jwt: boolean, outer: Context): void {
  const value = patch.at('patch', 'value')
  const operation = patch.at('patch', 'operation').text ?? ''
  const context = { ...outer, patch: operation === 'MERGE' }
  const inChain = patch.at('match', 'listener', 'filterChain', 'filter', 'subFilter', 'name')
  switch (patch.at('applyTo').text) {
    case 'HTTP_FILTER':
      if (operation === 'REMOVE') tellRemoved(inChain, context)
      else lintHttpFilter(value, operation, inChain.text ?? '', jwt, context)
      break
    case 'NETWORK_FILTER': {
      const { type, config } = typedOf(value.at('typed_config'))
      if (isType(type, 'HttpConnectionManager')) lintManager(config, undefined, context)
      break
    }
    case 'HTTP_ROUTE':
    case 'VIRTUAL_HOST':
    case 'ROUTE_CONFIGURATION':
      lintRoutePatch(patch, value, context)
      break
    case 'LISTENER':
    case 'FILTER_CHAIN':
      for (const setting of value.walk()) {
        const { type, config } = typedOf(setting)
        if (isType(type, 'DownstreamTlsContext')) lintClientCertificates(config, context)
      }
  }
}

function tellRemoved(name: Setting, { findings }: Context): void {
  if (name.text?.includes('ext_authz'))
    findings.tell('istio-filter-removed', name, `the filter "${name.text}" is removed`, 'leave this patch out')
}

function lintHttpFilter(value: Setting, operation: string, neighbour: string, jwt: boolean, context: Context): void {
  const filter = httpFilter(value, context.resources, context.findings)
  if (isExtAuthz(filter)) {
    if (filter.matcher)
      context.findings.tell(
        'ext-authz-conditional',
        filter.matcher,
        `a matcher decides which requests "${filter.name}" is asked about`,
        'put the filter there without ExtensionWithMatcher',
      )
    lintExtAuthz(filter.config, { jwt: jwt || (context.policy?.verified.length ?? 0) > 0, certificates: true }, context)
    return
  }
  if (isJwtAuthn(filter)) lintJwtAuthn(filter.config, context)
  // Istio's own ext_authz stands before the router, so that what is put just before the router comes after it.
  const after =
    (operation === 'INSERT_AFTER' && neighbour.includes('ext_authz')) || (operation === 'INSERT_BEFORE' && neighbour.includes('router'))
  if (after) lintAfterDecision(filter, context)
}

function lintRoutePatch(patch: Setting, value: Setting, context: Context): void {
  const host = patch.at('match', 'routeConfiguration', 'vhost')
  const route = { virtualHost: host.at('name').text ?? '*', route: host.at('route', 'name').text ?? '*' }
  for (const [name, at] of value.at('typed_per_filter_config').members) {
    const { type, disabled } = readPerRoute(at)
    if (disabled && (isType(type, 'ExtAuthzPerRoute') || name.includes('ext_authz')))
      context.findings.tell(
        'ext-authz-route-disabled',
        disabled,
        `ext_authz is disabled for the route "${route.route}" of the virtual host "${route.virtualHost}"`,
        'leave this patch out; where anybody may come in, the policy has a route with public: true',
        { route },
      )
  }
  lintAdded(value, context)
}
