import type { Context } from './context.ts'
import { lintBody, lintErrorStatus, lintFailOpen, lintTimeout } from './ext-authz.ts'
import { lintHeaderNames } from './ext-authz-headers.ts'
import { lintEscapedSlashes, lintForwardedCertificate } from './http-manager.ts'
import { lintAudiences, lintIssuer } from './jwt-authn.ts'
import type { Configuration } from './model.ts'
import type { Setting } from './setting.ts'

/** Envoy Gateway waits so long for an authorizer unless told, in milliseconds. */
const defaultTimeoutMs = 10_000

/** Checks Envoy Gateway's SecurityPolicies and ClientTrafficPolicies. */
export function lintGateway({ resources }: Configuration, context: Context): void {
  const jwtFirst = resources.some(({ kind, root }) => kind === 'EnvoyProxy' && root.at('spec', 'filterOrder').items.some(putsJwtFirst))
  for (const { kind, root } of resources) {
    const spec = root.at('spec')
    if (kind === 'SecurityPolicy') lintSecurityPolicy(spec, jwtFirst, context)
    if (kind === 'ClientTrafficPolicy') lintClientTraffic(spec, context)
  }
  for (const { kind, name } of resources)
    if (kind === 'EnvoyPatchPolicy')
      context.findings.unchecked(`the EnvoyPatchPolicy "${name}" changes what Envoy Gateway makes: give a config dump to check the result`)
}

const jwtName = 'envoy.filters.http.jwt_authn'
const authzName = 'envoy.filters.http.ext_authz'
const putsJwtFirst = (order: Setting): boolean =>
  (order.at('name').text === jwtName && order.at('before').text === authzName) ||
  (order.at('name').text === authzName && order.at('after').text === jwtName)

function lintSecurityPolicy(spec: Setting, jwtFirst: boolean, context: Context): void {
  const auth = spec.at('extAuth')
  const jwt = spec.at('jwt')
  if (auth.present) lintExtAuth(auth, context)
  for (const provider of jwt.at('providers').items) lintProvider(provider, auth, context)
  if (!auth.present || !jwt.present) return
  const { findings, policy } = context
  if (!jwtFirst)
    findings.tell(
      'jwt-authn-after-ext-authz',
      jwt,
      'Envoy Gateway puts jwt_authn after ext_authz',
      `filterOrder: [{ name: ${jwtName}, before: ${authzName} }] in the EnvoyProxy`,
    )
  if (policy?.others && !jwt.at('optional').on)
    findings.tell(
      'jwt-refuses-others',
      jwt,
      'requests without a JWT end at Envoy',
      'optional: true, or leave jwt out and write verified_by: postern in the policy',
    )
}

function lintExtAuth(auth: Setting, context: Context): void {
  const { findings, policy } = context
  if (auth.at('http').present) {
    findings.tell(
      'ext-authz-http-service',
      auth.at('http'),
      'extAuth asks an HTTP service',
      'grpc: { backendRefs: [{ name: postern, port: 9191 }] }',
    )
    return
  }
  lintFailOpen(auth.at('failOpen'), 'failOpen: false', context)
  if (auth.at('statusOnError').present) lintErrorStatus(auth.at('statusOnError'), 'statusOnError: 503', context)
  lintTimeout(auth.at('timeout'), context, 'timeout: 1s', defaultTimeoutMs)
  const recompute = auth.at('recomputeRoute')
  if (recompute.on)
    findings.tell('ext-authz-clear-route-cache', recompute, 'the route is chosen again after the decision', 'recomputeRoute: false')
  lintBody(auth.at('bodyToExtAuth'), auth.at('bodyToExtAuth', 'allowPartialMessage'), context)
  lintHeaderNames(auth.at('headersToExtAuth'), context)
  const realm = auth.at('contextExtensions').items.find((extension) => extension.at('name').text === 'realm')
  lintRealm(realm?.at('value'), auth, context)
  if (policy && policy.verified.length > 0)
    findings.tell(
      'policy-no-metadata',
      auth,
      `validators of the policy say verified_by: envoy, and Envoy Gateway's extAuth has no metadata namespaces`,
      'verified_by: postern',
    )
}

/** The realm that a SecurityPolicy names. */
function lintRealm(realm: Setting | undefined, auth: Setting, { findings, policy }: Context): void {
  if (!policy) return
  const { realms, realm: one } = policy
  if (realms && !realms.has(realm?.text ?? ''))
    findings.tell(
      'route-realm',
      realm ?? auth,
      `the realm is ${realm ? `"${realm.shown}"` : 'not named'}, and served are ${[...realms].join(', ')}`,
      'contextExtensions: [{ name: realm, type: Value, value: … }]',
      { severity: 'error' },
    )
  else if (!realms && realm && one !== undefined && realm.text !== one)
    findings.tell(
      'route-realm',
      realm,
      `the realm is "${realm.shown}", and that of the policy "${one}"`,
      `value: ${one}, or the Postern of that realm`,
    )
}

function lintProvider(provider: Setting, auth: Setting, context: Context): void {
  const { findings } = context
  const name = provider.at('name').shown
  lintIssuer(provider.at('issuer'), name, context)
  lintAudiences(provider.at('audiences'), name, context)
  const uri = provider.at('remoteJWKS', 'uri')
  if (uri.text?.startsWith('http:'))
    findings.tell('jwt-jwks-plaintext', uri, `the keys of "${name}" come over plain HTTP`, 'an https address')
  const from = provider.at('extractFrom')
  const instead = 'extractFrom: { headers: [{ name: Authorization, valuePrefix: "Bearer " }] }'
  if (from.at('params').texts.length > 0)
    findings.tell('jwt-token-in-query', from.at('params'), `the provider "${name}" reads tokens from the query`, instead)
  else if (!from.present) findings.tell('jwt-token-in-query', from, `the provider "${name}" reads ?access_token too, by default`, instead)
  const recompute = provider.at('recomputeRoute')
  if (auth.present && recompute.on)
    findings.tell('ext-authz-clear-route-cache', recompute, 'the route is chosen again by claims', 'recomputeRoute: false')
}

function lintClientTraffic(spec: Setting, context: Context): void {
  const { findings } = context
  const merge = spec.at('path', 'disableMergeSlashes')
  if (merge.on) findings.tell('merge-slashes', merge, 'repeated slashes are kept', 'disableMergeSlashes: false')
  const escaped = spec.at('path', 'escapedSlashesAction')
  const instead = 'path: { escapedSlashesAction: RejectRequest }'
  if (escaped.present) lintEscapedSlashes(escaped, instead, context)
  else
    findings.tell('escaped-slashes', escaped, 'escaped slashes are answered with a redirect, the default', instead, { severity: 'warning' })
  const underscores = spec.at('headers', 'withUnderscoresAction')
  if (underscores.text === 'Allow')
    findings.tell('underscore-headers', underscores, 'withUnderscoresAction is Allow', 'withUnderscoresAction: RejectRequest')
  lintForwardedCertificate(
    spec.at('headers', 'xForwardedClientCert', 'mode'),
    'mode: SanitizeSet, or AppendForward behind a proxy of yours',
    context,
  )
  const old = spec.at('http1', 'http10')
  if (old.present) findings.tell('http-10', old, 'HTTP/1.0 is accepted', 'leave http10 out')
}
