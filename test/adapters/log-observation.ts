import type { Observation } from '../../src/check/observe.ts'
import { render } from '../../src/core/answer.ts'
import { BearerToken } from '../../src/core/bearer-token.ts'
import { Facts } from '../../src/core/facts.ts'
import type { Policy } from '../../src/core/policy.ts'
import { type DenyReason, deny } from '../../src/core/reasons.ts'
import type { Request } from '../../src/core/request.ts'
import type { Route } from '../../src/core/route.ts'

export interface Sketch {
  readonly reason?: 'ok' | DenyReason
  readonly detail?: string
  readonly route?: string
  readonly audit?: Route['audit']
  readonly path?: string
  readonly method?: string
  readonly host?: string
  readonly micros?: number
  readonly unenforced?: boolean
  readonly withoutRoute?: boolean
}

const request = (sketch: Sketch): Request => ({
  method: sketch.method ?? 'GET',
  host: sketch.host ?? 'api.example',
  path: sketch.path ?? '/v1/sandboxes/s1?access_token=hidden-in-query',
  scheme: 'https',
  header: (name) => (name === 'authorization' ? 'Bearer hidden-in-header' : undefined),
  headerCount: () => 1,
  headerNames: () => ['authorization'],
  namesLike: () => [],
  peerPrincipal: '',
  peerCertificate: '',
  extension: () => undefined,
  verifiedPayload: () => undefined,
})

const policy = {
  realm: 'default',
  revision: '0123456789ab',
  headers: { prefix: 'x-postern-', decision: 'x-postern-decision', fixed: [] },
  denials: { detail: false, realm: 'postern', resourceMetadata: undefined, proofAlgorithms: 'ES256' },
  metadataKeys: [],
} as unknown as Policy

/** A finished check with its answer, as the check itself makes one. */
export function observation(sketch: Sketch = {}): Observation {
  const facts = new Facts(request(sketch), policy, 1_700_000_000_000, '019a0000-0000-7000-8000-000000000001')
  if (!sketch.withoutRoute) {
    facts.route = { id: sketch.route ?? 'invoke', audit: sketch.audit ?? 'denials', authorization: 'replace' } as unknown as Route
  }
  facts.principal = {
    validator: 'users',
    issuer: 'https://idp.example',
    subject: 'alice\nforged line',
    rawSubject: 'alice',
    roles: ['sandbox:invoke'],
    scopes: [],
    claims: { email: 'alice@example' },
    issuedAt: 0,
    expiresAt: 1,
    digest: 'digest-of-credential',
    subjectToken: 'hidden-subject-token',
  }
  facts.workload = { id: 'spiffe://cluster.local/ns/a/sa/b', trustDomain: 'cluster.local' }
  facts.resource = 'sandbox:s1'
  facts.downstreamToken = BearerToken.of('hidden-downstream-token')
  const reason = sketch.reason ?? 'ok'
  const micros = sketch.micros ?? 42
  const own = [['authorization', 'Bearer hidden-downstream-token']] as const
  const mutations = { shared: [], own, remove: [], removeAlso: [], removeQuery: [] }
  const denial = reason === 'ok' ? undefined : deny(reason, sketch.detail ?? 'why it was denied')
  const decision =
    denial === undefined ? { access: 'principal' as const, mutations } : sketch.unenforced ? { access: denial, mutations } : denial
  return { facts, decision, answer: render(decision, facts, micros), reason, detail: denial?.detail ?? '', micros }
}
