import assert from 'node:assert/strict'
import type { DenyReason } from '../../src/core/reasons.ts'
import type { Identity } from '../support/certificates.ts'
import type { AccessLogLine } from '../support/envoy.ts'
import { rawRequest, sendRaw } from '../support/raw.ts'
import type { ClientResponse } from '../support/request.ts'
import type { Received } from '../support/upstream.ts'
import type { Outcome } from './reasons-cases.ts'
import type { ReasonsEdge } from './reasons-edge.ts'

/** By reason: status, and what `WWW-Authenticate` says after the realm. Written down here, not taken from what is tested. */
const answers: Record<DenyReason, readonly [status: number, challenge?: string]> = {
  bad_request: [400],
  no_route: [403],
  no_credential: [401, ''],
  no_validator_admitted: [401, ', error="invalid_token"'],
  invalid_credential: [401, ', error="invalid_token"'],
  expired_credential: [401, ', error="invalid_token"'],
  conflicting_credentials: [401, ', error="invalid_request"'],
  identity_unavailable: [503],
  revoked: [401, ', error="invalid_token"'],
  revocation_unavailable: [503],
  missing_role: [403],
  missing_scope: [403, ', error="insufficient_scope", scope="invoke:sandbox:s1"'],
  workload_not_allowed: [403],
  condition_failed: [403],
  claims_too_large: [403],
  not_owner: [403],
  owner_unavailable: [503],
  endpoint_unavailable: [503],
  exchange_refused: [403],
  exchange_unavailable: [503],
  internal: [500],
  overloaded: [503],
}

/** What a denial tells in metadata beside reason, decision, policy and realm; what is not named must be absent. */
export interface Told {
  readonly route?: string
  readonly subject?: string
  readonly issuer?: string
  readonly roles?: string
  readonly workload?: string
  readonly resource?: string
  readonly owner_match?: 'yes' | 'no' | 'none' | null
  readonly audience?: string
  readonly cache?: 'hit' | 'miss' | 'none' | null
}

export const router = 'spiffe://cluster.local/ns/agents/sa/router'
export const stranger = 'spiffe://cluster.local/ns/agents/sa/stranger'
export const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
/** Of the person whose tokens `bearer` makes. */
export const alice: Told = { subject: 'alice', issuer: 'https://users.example', roles: 'invoke' }

export interface Sent {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly workload?: Identity
  readonly envoy?: 'hardened' | 'lenient'
}

/**
 * What asks a reasons edge, and judges its answers.
 * @param edge known when tests run
 * @param lines gets the first access-log line of each reason
 */
export function asking(edge: () => ReasonsEdge, lines: Map<string, AccessLogLine> = new Map()) {
  const token = (claims: object = {}) => edge().issuers.users.mint({ sub: 'alice', aud: 'edge', roles: ['invoke'], ...claims })
  const bearer = async (claims: object = {}) => ({ authorization: `Bearer ${await token(claims)}` })

  function raw(linesOfHead: readonly string[], { headers = {}, workload, envoy = 'hardened' }: Sent = {}): Promise<ClientResponse> {
    const fields = Object.entries(headers).flatMap(([name, value]) => [value].flat().map((one) => `${name}: ${one}`))
    const tls = { ca: edge().certificates.caPem, ...(workload ? { cert: workload.certPem, key: workload.keyPem } : {}) }
    return sendRaw(edge()[envoy].port('edge'), rawRequest([...linesOfHead, ...fields, 'Connection: close']), tls)
  }
  const ask = (path: string, sent: Sent = {}) => raw([`${sent.method ?? 'GET'} ${path} HTTP/1.1`, 'Host: edge.example'], sent)

  /** What the upstream received; its answer is chunked. */
  function saw(response: ClientResponse): Received {
    assert.equal(response.status, 200, response.body)
    return JSON.parse(response.body.slice(response.body.indexOf('{'), response.body.lastIndexOf('}') + 1)) as Received
  }

  /** Everything that a denial says, to the client and to the access log. */
  async function denied(response: ClientResponse, reason: DenyReason, expected: Told, envoy: Sent['envoy'] = 'hardened'): Promise<void> {
    const [status, challenge] = answers[reason]
    const id = response.headers['x-postern-decision'] ?? ''
    const context = `${reason}: ${response.status} ${response.body}`
    assert.equal(response.status, status, context)
    assert.match(id, uuid7, context)
    assert.equal(response.headers['content-type'], 'application/problem+json', context)
    assert.equal(response.headers['cache-control'], 'no-store', context)
    assert.equal(response.headers['www-authenticate'], challenge === undefined ? undefined : `Bearer realm="postern"${challenge}`)
    assert.equal(response.headers['x-upstream'], undefined)
    const { title, ...body } = JSON.parse(response.body) as Record<string, unknown>
    assert.deepEqual(body, { type: `urn:postern:denial:${reason}`, status, reason, decision_id: id })
    assert.ok(typeof title === 'string' && title.length > 0)

    const line = await edge()[envoy].logLine({ decision_id: id })
    const names = ['route', 'subject', 'issuer', 'roles', 'workload', 'resource', 'owner_match', 'audience', 'cache'] as const
    assert.deepEqual(
      Object.fromEntries(names.map((name) => [name, line[name]])),
      Object.fromEntries(
        names.map((name) => [name, expected[name] ?? (name in expected || !['owner_match', 'cache'].includes(name) ? null : 'none')]),
      ),
      context,
    )
    const { decision, enforced, details, policy, realm } = line
    assert.deepEqual(
      { decision, reason: line['reason'], enforced, details, policy, realm, status: line['status'] },
      { decision: 'deny', reason, enforced: true, details: 'ext_authz_denied', policy: edge().revision, realm: 'default', status },
    )
    if (reason !== 'overloaded') assert.equal(typeof line['check_us'], 'number')
    if (!lines.has(reason)) lines.set(reason, line)
  }

  /** Envoy refused it, and asked nobody. */
  function byEnvoy(response: ClientResponse): void {
    assert.deepEqual([response.status, response.headers['x-postern-decision']], [400, undefined], response.body)
  }

  async function comesTo(response: ClientResponse, outcome: Outcome, expected: Told, envoy: Sent['envoy'] = 'hardened'): Promise<void> {
    if (outcome === 'envoy') byEnvoy(response)
    else if (outcome.startsWith('upstream ')) assert.equal(saw(response).path, outcome.slice('upstream '.length))
    else await denied(response, outcome as DenyReason, expected, envoy)
  }

  return { token, bearer, raw, ask, saw, denied, comesTo }
}
