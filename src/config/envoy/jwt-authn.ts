import { type Context, judged } from './context.ts'
import { durationMs } from './durations.ts'
import { lintRules } from './jwt-rules.ts'
import type { EnvoyVerified } from './policy-facts.ts'
import type { Setting } from './setting.ts'
import { endpointsOf, isLoopbackHost, isNear, tlsOf, verifies } from './upstreams.ts'

/** Postern's own allowance for clocks, in seconds. */
const posternSkew = 60

/** Checks the configuration of one jwt_authn filter (`envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication`). */
export function lintJwtAuthn(config: Setting, context: Context): void {
  const providers = config.at('providers').members
  for (const [name, provider] of providers) lintProvider(name, provider, context)
  lintRules(config, context)
  if (!context.patch) lintMetadataKeys(config.at('providers'), context)
}

function lintProvider(name: string, provider: Setting, context: Context): void {
  const { findings, policy } = context
  const { tell } = findings
  const validator = policy?.verified.find(({ metadataKey }) => metadataKey === provider.at('payload_in_metadata').text)
  lintIssuer(provider.at('issuer'), name, context)
  lintAudiences(provider.at('audiences'), name, context)
  const expiration = provider.at('require_expiration')
  if (!expiration.on) tell('jwt-expiration', expiration, `the provider "${name}" takes tokens without exp`, 'require_expiration: true')
  const skew = provider.at('clock_skew_seconds').number ?? posternSkew
  if (skew > posternSkew)
    tell(
      'jwt-clock-skew',
      provider.at('clock_skew_seconds'),
      `the provider "${name}" allows clocks to differ by ${skew} s`,
      `clock_skew_seconds: ${posternSkew}`,
    )
  lintPlaces(name, provider, context)
  const payload = provider.at('payload_in_metadata')
  const wanted = policy === undefined || policy.verified.length > 0
  if (!payload.present && wanted)
    tell(
      'jwt-payload-metadata',
      payload,
      `the provider "${name}" does not hand its claims on`,
      `payload_in_metadata: ${policy?.verified[0]?.metadataKey ?? 'users'}, which is the validator’s metadata_key`,
    )
  if (validator) comparePolicy(name, provider, validator, context)
  else if (!provider.at('forward').on)
    tell('jwt-forward', provider.at('forward'), `the provider "${name}" does not forward the token`, 'forward: true, in the validator too')
  lintKeys(name, provider.at('remote_jwks'), context)
}

/** @param issuer unchecked where absent */
export function lintIssuer(issuer: Setting, name: string, { findings }: Context): void {
  if (!issuer.text)
    findings.tell('jwt-issuer', issuer, `the provider "${name}" checks no issuer`, `${issuer.name}, with the iss of its tokens`)
}

/** @param audiences unchecked where absent */
export function lintAudiences(audiences: Setting, name: string, { findings }: Context): void {
  if (audiences.texts.length === 0)
    findings.tell(
      'jwt-audiences',
      audiences,
      `the provider "${name}" checks no audience`,
      `${audiences.name}, with the audience of the validator in the policy`,
    )
}

/** Where tokens are looked for: without any of these Envoy reads Authorization and `?access_token`. */
function lintPlaces(name: string, provider: Setting, { findings }: Context): void {
  const places = ['from_headers', 'from_params', 'from_cookies'].map((place) => provider.at(place))
  const params = provider.at('from_params')
  const instead = 'from_headers: [{ name: Authorization, value_prefix: "Bearer " }]'
  if (params.texts.length > 0) findings.tell('jwt-token-in-query', params, `the provider "${name}" reads tokens from the query`, instead)
  else if (places.every((place) => !place.present))
    findings.tell('jwt-token-in-query', provider.at('from_headers'), `the provider "${name}" reads ?access_token too, by default`, instead)
}

function comparePolicy(name: string, provider: Setting, validator: EnvoyVerified, { findings }: Context): void {
  const issuer = provider.at('issuer')
  if (issuer.text && issuer.text !== validator.issuer)
    findings.tell(
      'policy-issuer',
      issuer,
      `the provider "${name}" accepts ${issuer.text}, and the validator "${validator.name}" ${validator.issuer}`,
      `issuer: ${validator.issuer}`,
    )
  const audiences = provider.at('audiences')
  if (audiences.texts.length > 0 && !sameTexts(audiences.texts, validator.audiences))
    findings.tell(
      'policy-audiences',
      audiences,
      `the provider "${name}" accepts ${audiences.texts.join(', ')}, and the validator "${validator.name}" ${validator.audiences.join(', ')}`,
      `audiences: [${validator.audiences.join(', ')}]`,
    )
  const forward = provider.at('forward')
  if (validator.forward && !forward.on)
    findings.tell(
      'policy-forward',
      forward,
      `the validator "${validator.name}" says forward: true, and the provider "${name}" removes the token`,
      'forward: true',
    )
}

const sameTexts = (a: readonly string[], b: readonly string[]): boolean =>
  a.every((one) => b.includes(one)) && b.every((one) => a.includes(one))

function lintKeys(name: string, remote: Setting, context: Context): void {
  if (!remote.present) return
  const { findings, resources } = context
  const uri = remote.at('http_uri', 'uri')
  const host = hostOf(uri.text)
  const instead = 'an https address, and a cluster with TLS that verifies it'
  if (uri.text?.startsWith('http:') && !isLoopbackHost(host))
    findings.tell('jwt-jwks-plaintext', uri, `the keys of "${name}" come over plain HTTP`, instead)
  else lintKeyCluster(name, remote.at('http_uri', 'cluster'), resources.clusters.get(remote.at('http_uri', 'cluster').text ?? ''), context)
  const fetch = remote.at('async_fetch')
  if (judged(context, fetch) && !fetch.present)
    findings.tell(
      'jwt-jwks-async-fetch',
      fetch,
      `the keys of "${name}" are fetched when the first token comes`,
      'async_fetch: { failed_refetch_duration: 1s }',
    )
  const cache = remote.at('cache_duration')
  const ms = durationMs(cache.text) ?? 600_000
  if (ms >= 600_000)
    findings.tell('jwt-jwks-cache', cache, `the keys of "${name}" are kept for ${ms / 60_000} minutes`, 'cache_duration: 60s')
}

function lintKeyCluster(name: string, at: Setting, cluster: Setting | undefined, { findings, resources }: Context): void {
  if (!cluster) {
    findings.unchecked(`the cluster "${at.shown}" of the keys of "${name}" is in no file: how it is reached was not checked`)
    return
  }
  const far = endpointsOf(cluster, resources)?.find((endpoint) => !isNear(endpoint))
  if (!far) return
  const tls = tlsOf(cluster)
  if (!tls)
    findings.tell(
      'jwt-jwks-plaintext',
      far.at,
      `the keys of "${name}" come from ${far.text} without TLS`,
      'a transport_socket with UpstreamTlsContext on this cluster',
    )
  else if (!verifies(tls, resources))
    findings.tell(
      'jwt-jwks-unverified',
      cluster.at('transport_socket'),
      `the certificate of ${far.text}, which has the keys of "${name}", is not compared with its name`,
      'validation_context with trusted_ca and match_typed_subject_alt_names',
    )
}

function hostOf(uri: string | undefined): string | undefined {
  return uri !== undefined && URL.canParse(uri) ? new URL(uri).hostname.replace(/^\[|\]$/g, '') : undefined
}

/** Each validator with `verified_by: envoy` needs a provider that writes its key. */
function lintMetadataKeys(providers: Setting, { findings, policy }: Context): void {
  const written = providers.members.map(([, provider]) => provider.at('payload_in_metadata').text)
  if (written.includes(undefined)) return
  for (const { name, metadataKey } of policy?.verified ?? [])
    if (!written.includes(metadataKey))
      findings.tell(
        'policy-metadata-key',
        providers,
        `no provider writes the metadata_key "${metadataKey}" of the validator "${name}"`,
        `payload_in_metadata: ${metadataKey} at its provider`,
      )
}
