/**
 * error: a request can pass that Postern did not allow, or what it decides on can be made up or read differently.
 * warning: works worse than it could, or denies what it should not. note: worth knowing.
 */
export type Severity = 'error' | 'warning' | 'note'

interface Known {
  readonly severity: Severity
  /** Why, in one clause. */
  readonly why: string
}

const error = (why: string): Known => ({ severity: 'error', why })
const warning = (why: string): Known => ({ severity: 'warning', why })
const note = (why: string): Known => ({ severity: 'note', why })

/** Everything that can be found. A code is stable; docs/guides/envoy-lint.md lists them all. */
export const findings = {
  // The ext_authz filter.
  'ext-authz-missing': error('nobody is asked whether a request may pass'),
  'listener-without-ext-authz': warning('requests to this listener are not asked about'),
  'ext-authz-fail-open': error('while Postern cannot be reached, every request passes'),
  'ext-authz-fail-open-header': warning('the upstream is told that a request passed unasked, in a header that a client can send too'),
  'ext-authz-error-status': warning('an outage looks like a denial'),
  'ext-authz-timeout': warning(
    'Postern answers within three quarters of it, which must suffice for a first token exchange and not hold requests for long',
  ),
  'ext-authz-retry': warning('a second check of one request looks like a replayed DPoP proof'),
  'ext-authz-retry-interval': warning('Envoy ends each try after its max_interval, and asks nobody again for that: the answer is lost'),
  'ext-authz-clear-route-cache': error('a header that the decision sets can choose another route than the one that was decided on'),
  'ext-authz-request-body': warning('Envoy holds each body back and answers 413 to large ones, while Postern decides without bodies'),
  'ext-authz-partial-body': warning('what is decided on half a body says nothing of the other half'),
  'ext-authz-allowed-headers': error('Postern neither reads nor removes a header that it is not shown'),
  'ext-authz-disallowed-headers': error('Postern neither reads nor removes a header that it is not shown'),
  'ext-authz-peer-certificate': warning('without the certificate Postern cannot prove tokens that are bound to it'),
  'ext-authz-metadata-namespace': warning('Postern sees none of the claims that Envoy verified'),
  'ext-authz-filter-enabled': error('a share of the requests passes unasked'),
  'ext-authz-filter-enabled-runtime': warning('whoever can set this runtime key turns the check off'),
  'ext-authz-conditional': error('requests that the matcher leaves out pass unasked'),
  'ext-authz-shadow-mode': error('what Postern denies passes'),
  'ext-authz-disabled': error('the filter is off except on routes that turn it on'),
  'ext-authz-mutation-rules': error('a header that breaks a rule is silently dropped, and the client’s own of that name survives'),
  'ext-authz-http-service': error('Postern speaks gRPC alone, so that something else decides'),
  'ext-authz-transport-api': warning('Envoy knows no V2 any more and refuses the configuration'),
  // The way to Postern.
  'check-plaintext': error('whoever is on the way can answer "allow", and reads the credentials'),
  'check-unverified': error('whoever has a certificate of that authority, or any at all, can answer "allow"'),
  'check-http2': warning('gRPC needs HTTP/2, so that every check fails'),
  // The ext_proc filter that asks Postern.
  'ext-proc-missing': error('nobody reads the responses by which owners are recorded, taken away and lists reduced'),
  'ext-proc-route-unasked': error('its responses pass Postern by'),
  'ext-proc-before-ext-authz': error('nothing is decided there yet, so that Postern knows nobody'),
  'ext-proc-fail-open': error('while Postern cannot be reached, resources are made without an owner, and lists pass whole'),
  'ext-proc-skips-requests': error('Postern sees a response and not what it is the answer to'),
  'ext-proc-observability': error('Envoy waits for no answer, so that what Postern refuses passes'),
  'ext-proc-metadata': warning('Postern does not know who the caller is, and refuses'),
  'ext-proc-mode-override': warning('Envoy sends every part of every request and response, or leaves out what is needed'),
  'ext-proc-timeout': warning('Postern writes an owner within it, or the client gets 503 for what was made'),
  'ext-proc-mutation-rules': warning('a compressed response cannot be read, and a reduced list is refused by Envoy'),
  // Addresses in headers.
  'original-dst-not-direct': error('where Postern sets no address, one that a client made up may be the next'),
  'original-dst-header': error('Postern neither sets nor removes it: clients choose the address'),
  'original-dst-unasked': error('whoever reaches the listener chooses the address'),
  'direct-without-original-dst': warning('the address that Postern sets is not used'),
  'direct-header-removed': warning('Envoy finds no host, and answers 503'),
  // The order of filters.
  'jwt-authn-after-ext-authz': warning('claims are verified after the decision that needs them'),
  'cors-after-ext-authz': warning('a preflight carries no credential and is denied'),
  'filter-after-ext-authz': error('what it changes, nobody decides on any more'),
  'upgrade-without-ext-authz': error('requests with this upgrade pass unasked'),
  // The jwt_authn filter.
  'jwt-authn-missing': warning('the policy waits for claims that nobody verifies'),
  'jwt-issuer': error('a token of any issuer whose key is in the set passes for verified'),
  'jwt-audiences': error('a token made for another service passes for verified'),
  'jwt-expiration': warning('a token without an end passes for verified'),
  'jwt-clock-skew': warning('Postern allows 60 s, and refuses what Envoy accepted'),
  'jwt-extract-only': error('claims that nobody verified look like verified ones'),
  'jwt-token-in-query': warning('a token in the query stays in the path, for the upstream and its logs'),
  'jwt-payload-metadata': warning('Postern does not find the claims'),
  'jwt-forward': warning('Envoy removes the token, so that Postern can neither compare nor exchange it'),
  'jwt-jwks-plaintext': error('who can forge the keys can be anybody'),
  'jwt-jwks-unverified': error('who can forge the keys can be anybody'),
  'jwt-jwks-async-fetch': warning('the first requests wait for the keys, and fail while the issuer is slow'),
  'jwt-jwks-cache': warning('a rotated key is unknown, and a withdrawn one good, for as long'),
  'jwt-rules-gap': warning('a token in a request that no rule covers is not verified, and Postern refuses it'),
  'jwt-refuses-others': warning('Envoy answers 401 to credentials that Postern would judge'),
  'jwt-route-disabled': warning('a token on this route is not verified, and Postern refuses it'),
  // The listener.
  'admin-exposed': error('whoever reaches it can change, read and stop this Envoy'),
  'client-certificate-untrusted': error('Postern is told the SPIFFE ID of any self-made certificate'),
  'client-certificate-authority': warning('where no authority is named, Envoy asks nobody for a certificate'),
  'client-certificate-expired': error('a certificate that has ended still names a workload'),
  'client-certificate-by-matcher': warning('a name matcher makes certificates required, whatever require_client_certificate says'),
  'tls-version': warning('older versions of TLS are broken'),
  // The connection manager.
  'normalize-path': error('Envoy chooses the route by another path than the upstream reads'),
  'merge-slashes': error('//x and /x are one path to many upstreams and two to Envoy'),
  'escaped-slashes': error('%2F is a slash to some and a character to others'),
  'underscore-headers': error('x_postern_subject and x-postern-subject are one name to many upstreams'),
  'use-remote-address': error('a client’s own x-forwarded-for and x-envoy-* headers are believed'),
  'xff-trusted-hops': note('so many addresses of x-forwarded-for are believed: right where as many proxies of yours stand before this one'),
  'internal-addresses': warning('x-envoy-* headers from these addresses are believed, x-envoy-original-path among them'),
  'forward-client-cert': error('a client’s own x-forwarded-client-cert passes for that of a proxy'),
  'upgrade-everywhere': warning('streams are long: a decision holds until they end'),
  'http-10': warning('HTTP/1.0 requests need no Host, and Postern decides on it'),
  'chunked-length': error('a request with two lengths can hide another one'),
  'custom-methods': warning('what a method of a client’s own means is anybody’s guess'),
  'access-log-reason': warning('no log says why a request was denied'),
  // Virtual hosts and routes.
  'host-port': warning('Postern compares hosts without their port, so that both can choose differently'),
  'host-trailing-dot': warning('"api.example." is api.example to Postern, so that both can choose differently'),
  'host-by-header': error('Envoy chooses the virtual host by this header, and Postern by Host'),
  'ext-authz-route-disabled': error('requests to it pass unasked, and keep forged identity headers'),
  'ext-authz-route-service': error('another service decides about this route'),
  'per-route-unused': warning('no filter of this listener has that name, so that it changes nothing'),
  'route-realm': warning('Postern answers no_route where it serves another realm'),
  'catch-all-missing': note('where no route matches, Envoy answers 404 without asking: such requests are not in Postern’s log'),
  'route-overwrites-identity': error('it is set after the decision, in place of what Postern said or beside it'),
  'cluster-by-header': warning('the upstream is chosen by a header that no policy decided on'),
  'internal-redirect': warning('the redirected request carries the downstream token, which Postern refuses as a credential'),
  'request-mirror': warning('the copy carries the downstream token and the identity headers'),
  // The policy beside it.
  'policy-metadata-key': warning('the validator finds no claims, so that its tokens are refused'),
  'policy-issuer': warning('Postern refuses what Envoy verified'),
  'policy-audiences': warning('one of them refuses tokens that the other accepts'),
  'policy-forward': warning('Postern then refuses every token of this validator'),
  'policy-check-address': warning('Envoy asks elsewhere than Postern listens'),
  'policy-check-tls': warning('one speaks TLS and the other does not, so that every check fails'),
  'policy-client-certificate': warning('the policy knows workloads, and nobody asks clients for a certificate'),
  'policy-encoded-slash': warning('such a path never reaches Postern'),
  'policy-client-cert-header': warning('the validator finds nobody'),
  'policy-claim-headers': warning('no edge-trust validator reads this header'),
  'policy-error-response': error('outages that Postern tells of itself pass too'),
  'policy-no-metadata': warning('this provider cannot hand on what Envoy verified'),
  // Istio.
  'istio-rules': error('requests that no rule names pass unasked'),
  'istio-provider': warning('Istio then denies every request of the workloads that it selects'),
  'istio-filter-removed': error('the filter that asks Postern is taken out'),
  // Envoy Gateway.
  'gateway-override': error('a policy on a route replaces that of its Gateway as a whole, extAuth too'),
  'gateway-route-uncovered': error('no SecurityPolicy with extAuth covers it, so that its requests pass unasked'),
} as const satisfies Record<string, Known>

export type FindingCode = keyof typeof findings
