import { createAuditTrail } from '../adapters/audit-trail.ts'
import { downstreamTokens } from '../adapters/downstream-tokens.ts'
import { createIds } from '../adapters/ids.ts'
import { openMemoryState } from '../adapters/memory-state.ts'
import { type LabelSource, openNearCache } from '../adapters/near-cache.ts'
import { openRevocationList } from '../adapters/revocation-list.ts'
import { createCheck } from '../check/check.ts'
import { type Observation, observeAll } from '../check/observe.ts'
import type { Loaded } from '../config/read.ts'
import type { Answer } from '../core/answer.ts'
import type { AuditEvent } from '../core/audit-event.ts'
import type { Facts, StageName } from '../core/facts.ts'
import type { JsonObject } from '../core/json.ts'
import { ownerLabelValue } from '../core/ownership.ts'
import { type LabelReader, type Revocation, Unavailable } from '../core/ports.ts'
import type { Request } from '../core/request.ts'
import { createProof } from '../identity/proof.ts'
import { createMint } from '../issuer/mint.ts'
import { createKey, load, signCompact } from '../issuer/signing-key.ts'
import type { Rejection } from '../stages/identify.ts'
import { composeValidators } from './identity.ts'
import { issuerUrl } from './issuer.ts'
import { assumeSigned, type CaseToken, makeToken, type OfflineKeys, offlineKeys, verifiedByEnvoy } from './offline-tokens.ts'
import { Pool } from './pool.ts'
import { composeRuling } from './ruling.ts'

/** A request that never was, and what state would hold. */
export interface OfflineInput {
  readonly method: string
  readonly host: string
  /** With the query. */
  readonly path: string
  /** Lower-case names; a name may come several times. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Put into `Authorization: Bearer`, and told as verified by Envoy where the policy trusts Envoy with its issuer. */
  readonly token?: CaseToken | string | undefined
  /** Payloads under jwt_authn's `metadata_key`s, instead of those that follow from the token. */
  readonly verified?: Readonly<Record<string, JsonObject>> | undefined
  /** `source.principal`. */
  readonly workload?: string | undefined
  readonly extensions?: Readonly<Record<string, string>> | undefined
  readonly labels: readonly OfflineLabels[]
  readonly revoked: readonly Revocation[]
  /** What does not answer. */
  readonly down: readonly ('state' | 'exchange')[]
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** Labels of one resource, as state would hold them. */
export interface OfflineLabels {
  /** Name under `sources`; undefined for Postern's own labels. */
  readonly source?: string | undefined
  readonly resource: string
  readonly id: string
  /** A subject; stands in the owner label as that demands. */
  readonly owner?: string | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
}

/** The answer, and what became of the request on its way there. */
export interface OfflineResult {
  readonly answer: Answer
  readonly facts: Facts
  /** In the order in which they ran. */
  readonly ran: readonly StageName[]
  readonly detail: string
  readonly rejections: readonly Rejection[]
  readonly audit: readonly AuditEvent[]
}

/** Decides one request by the very stages that serve, with memory for state and keys of its own for every issuer. */
export async function decideOffline(loaded: Loaded, input: OfflineInput): Promise<OfflineResult> {
  const { settings, policy } = loaded
  const keys = offlineKeys()
  const ran: StageName[] = []
  const rejections: Rejection[] = []
  const audit: AuditEvent[] = []
  const seen: Observation[] = []
  const newId = createIds()
  const state = await openMemoryState({ realm: settings.realm })
  for (const revocation of input.revoked) await state.revocations.append(revocation)
  const revocations = await openRevocationList({
    store: state.revocations,
    feed: state.feed,
    maxStalenessMs: settings.revocation.max_staleness,
  })
  const near = nearLabels(loaded, input)
  const issuer = { url: issuerUrl(settings), keys: noKeys }
  const ruling = composeRuling({
    policy,
    validators: composeValidators(settings, { jwks: new Pool(() => {}), issuer, keys: keys.keys }),
    revocations: input.down.includes('state') ? { check: () => 'clear' } : revocations,
    owners: near,
    tokens: tokensOf(loaded, input),
    prove: createProof(),
    clock: { due: () => true, ran: (stage) => ran.push(stage), waited: (stage) => ran.push(stage) },
    onRejection: (rejection) => rejections.push(rejection),
  })
  const trail = createAuditTrail({
    sink: { append: (event) => void audit.push(event) },
    decisions: settings.audit.decisions,
    newId,
    realm: settings.realm,
  })
  const check = createCheck({
    ruling: () => ruling,
    observe: observeAll([(observation) => void seen.push(observation), trail.observe], (cause) => {
      throw cause
    }),
    newId,
    clock: () => input.now,
  })
  try {
    const request = await requestOf(loaded, keys, input)
    const answer = await check(request, settings.check.max_deadline)
    const { facts, detail } = seen[0]!
    return { answer, facts, ran, detail, rejections, audit }
  } finally {
    trail.close()
    near.close()
    revocations.close()
    await state.close()
  }
}

/** The issuer's own ring is not asked: {@link offlineKeys} stand for it too. */
const noKeys = { find: () => ({ kind: 'unknown' }) as const }

function nearLabels({ settings }: Loaded, input: OfflineInput) {
  const reader = (source: string | undefined): LabelReader => ({
    read: (resource, id) => {
      if (input.down.includes('state')) throw new Unavailable('state is down in this case')
      const found = input.labels.find((entry) => entry.source === source && entry.resource === resource && entry.id === id)
      if (!found) return undefined
      const labels = new Map(Object.entries(found.labels ?? {}))
      // A platform's own records hold subjects as they are.
      if (found.owner !== undefined) labels.set(settings.ownership.label, source === undefined ? ownerLabelValue(found.owner) : found.owner)
      return { labels }
    },
  })
  const feed = { subscribe: () => () => {}, heardAt: () => Number.POSITIVE_INFINITY }
  const sources = new Map<string | undefined, LabelSource>()
  for (const name of [undefined, ...Object.keys(settings.sources)]) sources.set(name, { reader: reader(name), feed })
  return openNearCache({ sources, settings: { size: 10, ttlMs: 1000, negativeTtlMs: 1000, maxStaleMs: 0 } })
}

/** Tokens of the issuer are really minted, by a key of the moment; a token endpoint cannot be asked, so its answer is a name. */
function tokensOf({ settings }: Loaded, input: OfflineInput) {
  const key = load(createKey(0, 0), undefined)
  const mint = createMint({
    issuer: issuerUrl(settings),
    signer: { sign: (payload, typ) => signCompact(key, payload, typ) },
    adminAudience: settings.admin.audience,
  })
  const down = input.down.includes('exchange')
  const sts = Object.keys(settings.sts).map(
    (name) =>
      [
        name,
        {
          identity: name,
          breaker: () => 'closed' as const,
          exchange: async () =>
            down
              ? ({ kind: 'unavailable', detail: 'the token endpoint is down in this case' } as const)
              : ({ kind: 'token', token: `exchanged-at-${name}`, expiresAt: Math.floor(input.now / 1000) + 60 } as const),
        },
      ] as const,
  )
  return downstreamTokens({ settings: { realm: settings.realm, digest: 'offline', mint: mint.downstream, sts: new Map(sts) } })
}

async function requestOf({ settings }: Loaded, keys: OfflineKeys, input: OfflineInput): Promise<Request> {
  const token =
    typeof input.token === 'object'
      ? await makeToken(settings, keys, input.token, input.now)
      : input.token && (await assumeSigned(input.token, keys))
  const headers: (readonly [string, string])[] = [...input.headers]
  if (token !== undefined) headers.push(['authorization', `Bearer ${token}`])
  const presented = headers.filter(([name]) => name === 'authorization').map(([, value]) => value)
  const forged = typeof input.token === 'object' && input.token.forged === true
  const assumed = presented.length === 1 && !forged ? verifiedByEnvoy(settings, presented[0]!.replace(/^Bearer /, '')) : {}
  const verified = input.verified ?? assumed
  const values = (name: string): string[] => headers.filter(([known]) => known === name).map(([, value]) => value)
  return {
    method: input.method,
    host: input.host,
    path: input.path,
    scheme: 'https',
    header: (name) => (values(name).length === 0 ? undefined : values(name).join(',')),
    headerCount: (name) => values(name).length,
    headerNames: () => new Set(headers.map(([name]) => name)),
    namesLike: (prefix) => new Set(headers.map(([name]) => name).filter((name) => name.startsWith(prefix) || name.includes('_'))),
    peerPrincipal: input.workload ?? '',
    peerCertificate: '',
    extension: (name) => input.extensions?.[name],
    verifiedPayload: (key) => (Object.hasOwn(verified, key) ? verified[key] : undefined),
  }
}
