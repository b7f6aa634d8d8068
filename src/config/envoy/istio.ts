import type { Context } from './context.ts'
import { lintBody, lintErrorStatus, lintFailOpen, lintTimeout } from './ext-authz.ts'
import { lintAudiences, lintIssuer } from './jwt-authn.ts'
import type { Configuration, Resource } from './model.ts'
import type { Setting } from './setting.ts'

/** Checks Istio's mesh configurations, AuthorizationPolicies and RequestAuthentications. */
export function lintIstio({ meshes, resources }: Configuration, context: Context): void {
  const providers = meshes.flatMap((mesh) => mesh.at('extensionProviders').items)
  const asking = providers.filter((provider) => provider.at('envoyExtAuthzGrpc').present)
  for (const mesh of meshes) lintMeshPaths(mesh.at('pathNormalization', 'normalization'), context)
  for (const provider of asking) lintProvider(provider, context)
  const http = providers.find((provider) => provider.at('envoyExtAuthzHttp').present)
  if (http && asking.length === 0)
    context.findings.tell(
      'ext-authz-http-service',
      http.at('envoyExtAuthzHttp'),
      `the provider "${http.at('name').shown}" asks an HTTP service`,
      'envoyExtAuthzGrpc with service and port of Postern',
    )
  const custom = ofKind(resources, 'AuthorizationPolicy').filter(({ root }) => root.at('spec', 'action').text === 'CUSTOM')
  for (const policy of custom) lintCustom(policy, providers, context)
  if (asking.length > 0 && custom.length === 0)
    context.findings.unchecked('no AuthorizationPolicy with action CUSTOM is in the files: which workloads ask Postern was not checked')
  for (const { root } of ofKind(resources, 'RequestAuthentication'))
    for (const rule of root.at('spec', 'jwtRules').items) lintJwtRule(rule, context)
}

const ofKind = (resources: readonly Resource[], kind: string): Resource[] => resources.filter((resource) => resource.kind === kind)

/** Istio's `pathNormalization`: BASE, its default, leaves repeated slashes. */
function lintMeshPaths(normalization: Setting, { findings }: Context): void {
  const says = normalization.present ? normalization.shown : 'BASE'
  const instead = 'pathNormalization: { normalization: MERGE_SLASHES }'
  if (says === 'NONE') findings.tell('normalize-path', normalization, 'paths are not normalized', instead)
  else if (says === 'BASE' || says === 'DEFAULT')
    findings.tell(
      'merge-slashes',
      normalization,
      `repeated slashes are kept (${normalization.present ? says : 'BASE, the default'})`,
      instead,
    )
  else if (says === 'DECODE_AND_MERGE_SLASHES') findings.tell('escaped-slashes', normalization, 'escaped slashes become slashes', instead)
}

function lintProvider(provider: Setting, context: Context): void {
  const grpc = provider.at('envoyExtAuthzGrpc')
  const { findings, policy } = context
  lintFailOpen(grpc.at('failOpen'), 'failOpen: false', context)
  lintErrorStatus(grpc.at('statusOnError'), 'statusOnError: "503"', context)
  // Istio waits for ten minutes unless told.
  lintTimeout(grpc.at('timeout'), context, 'timeout: 1s', 600_000)
  const clears = grpc.at('clearRouteCache')
  if (clears.on)
    findings.tell('ext-authz-clear-route-cache', clears, 'the route is chosen again after the decision', 'clearRouteCache: false')
  const body = grpc.at('includeRequestBodyInCheck')
  lintBody(body, body.at('allowPartialMessage'), context)
  const port = grpc.at('port')
  if (policy?.check.address.kind === 'tcp' && port.number !== undefined && port.number !== policy.check.address.port)
    findings.tell(
      'policy-check-address',
      port,
      `Istio asks at the port ${port.shown}, and listen.check.address of the policy has ${policy.check.address.port}`,
      'the same port in both, or a Service that maps one to the other',
    )
  const verified = policy?.verified.map(({ name }) => `"${name}"`).join(', ')
  if (verified)
    findings.tell(
      'policy-no-metadata',
      grpc,
      `${verified} of the policy say verified_by: envoy, and Istio's provider has no metadata namespaces`,
      'verified_by: postern, and forwardOriginalToken: true',
    )
  findings.unchecked(
    `how Istio reaches the provider "${provider.at('name').shown}" (mTLS, sidecar or not) is not in its settings: see docs/guides/istio.md`,
  )
}

function lintCustom({ root, name }: Resource, providers: readonly Setting[], { findings }: Context): void {
  const provider = root.at('spec', 'provider', 'name')
  const known = providers.find((one) => one.at('name').text === provider.text)
  if (known && !known.at('envoyExtAuthzGrpc').present) return
  if (providers.length > 0 && !known)
    findings.tell(
      'istio-provider',
      provider,
      `no extension provider is named "${provider.shown}"`,
      `one that is there: ${providers.map((one) => one.at('name').shown).join(', ')}`,
    )
  const rules = root.at('spec', 'rules')
  if (rules.items.some((rule) => rule.members.length === 0)) return
  const covered = rules.items.flatMap(pathsOf)
  findings.tell(
    'istio-rules',
    rules,
    rules.items.length === 0
      ? `"${name}" has no rule, so that it matches no request`
      : `"${name}" asks about ${covered.length > 0 ? covered.join(', ') : 'requests that its rules describe'} alone`,
    'rules: [{}], which are all requests; public routes are public: true in the policy',
  )
}

const pathsOf = (rule: Setting): string[] =>
  rule
    .at('to')
    .items.flatMap((to) => [...to.at('operation', 'paths').texts, ...to.at('operation', 'notPaths').texts.map((path) => `all but ${path}`)])

function lintJwtRule(rule: Setting, context: Context): void {
  const { findings, policy } = context
  const name = rule.at('issuer').text ?? ''
  lintIssuer(rule.at('issuer'), name, context)
  lintAudiences(rule.at('audiences'), name, context)
  const forward = rule.at('forwardOriginalToken')
  if (!forward.on) findings.tell('jwt-forward', forward, `the token of "${name}" is not forwarded`, 'forwardOriginalToken: true')
  lintTokenPlaces(rule, name, context)
  const uri = rule.at('jwksUri')
  if (uri.text?.startsWith('http:'))
    findings.tell('jwt-jwks-plaintext', uri, `the keys of "${name}" come over plain HTTP`, 'an https address')
  if (!policy || policy.edgeHeaders.size === 0) return
  for (const output of rule.at('outputClaimToHeaders').items) {
    const header = output.at('header')
    if (header.text && !policy.edgeHeaders.has(header.text.toLowerCase()))
      findings.tell(
        'policy-claim-headers',
        header,
        `the claim ${output.at('claim').shown} is written to ${header.text}`,
        `one of ${[...policy.edgeHeaders].join(', ')}, or the header in the validator’s settings`,
      )
  }
}

/** As in Envoy: without any of these Authorization and `?access_token`. */
function lintTokenPlaces(rule: Setting, name: string, { findings }: Context): void {
  const instead = 'fromHeaders: [{ name: Authorization, prefix: "Bearer " }]'
  const params = rule.at('fromParams')
  if (params.texts.length > 0) findings.tell('jwt-token-in-query', params, `tokens of "${name}" are read from the query`, instead)
  else if (['fromHeaders', 'fromParams', 'fromCookies'].every((place) => !rule.at(place).present))
    findings.tell('jwt-token-in-query', rule.at('fromHeaders'), `tokens of "${name}" are read from ?access_token too, by default`, instead)
}
