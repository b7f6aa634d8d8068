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
import { ownerLabelValue } from '../core/ownership.ts'
import { type LabelReader, type Revocation, Unavailable } from '../core/ports.ts'
import type { Prove } from '../core/proof.ts'
import { createMint } from '../issuer/mint.ts'
import { createKey, load, signCompact } from '../issuer/signing-key.ts'
import type { Rejection } from '../stages/identify.ts'
import { composeValidators } from './identity.ts'
import { issuerUrl } from './issuer.ts'
import { offlineApiKeys } from './offline-api-keys.ts'
import { type OfflineRequest, offlineRequest } from './offline-request.ts'
import { offlineKeys } from './offline-tokens.ts'
import { Pool } from './pool.ts'
import { composeProof, type ProofNeeds } from './proof.ts'
import { standingValidators } from './revocations.ts'
import { composeRuling } from './ruling.ts'

/** A request that never was, and what state would hold. */
export interface OfflineInput extends OfflineRequest {
  readonly labels: readonly OfflineLabels[]
  readonly revoked: readonly Revocation[]
  /** What does not answer. */
  readonly down: readonly ('state' | 'exchange')[]
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
  const apiKeys = offlineApiKeys(input.down.includes('state'))
  const ran: StageName[] = []
  const rejections: Rejection[] = []
  const audit: AuditEvent[] = []
  const seen: Observation[] = []
  const newId = createIds()
  const state = await openMemoryState({ realm: settings.realm })
  for (const revocation of input.revoked) await state.revocations.append(revocation)
  const standing = standingValidators(settings)
  const revocations = await openRevocationList({
    store: state.revocations,
    feed: state.feed,
    maxStalenessMs: settings.revocation.max_staleness,
    standing: (validator) => standing.has(validator),
  })
  const near = nearLabels(loaded, input)
  const issuer = { url: issuerUrl(settings), keys: noKeys, pages: { begin: () => {}, keys: noKeys } }
  const secrets: ProofNeeds['secrets'] = new Pool((secret) => secret.then(({ close }) => close()))
  const ruling = composeRuling({
    policy,
    validators: composeValidators(settings, { jwks: new Pool(() => {}), issuer, apiKeys, keys: keys.keys }),
    revocations: input.down.includes('state') ? { check: () => 'clear' } : revocations,
    owners: near,
    tokens: tokensOf(loaded, input),
    prove: await offlineProof(loaded, { state, secrets }, input),
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
    const request = await offlineRequest(settings, { ...keys, apiKeys }, input)
    const answer = await check(request, settings.check.max_deadline)
    const { facts, detail } = seen[0]!
    return { answer, facts, ran, detail, rejections, audit }
  } finally {
    trail.close()
    near.close()
    revocations.close()
    await secrets.close()
    await state.close()
  }
}

/** A proof holds the hash of the token as it was, and offline a token is signed anew. */
async function offlineProof({ settings }: Loaded, needs: ProofNeeds, { token }: OfflineInput): Promise<Prove> {
  const prove = await composeProof(settings, needs)
  return (demand) => prove(typeof token === 'string' && demand.token !== '' ? { ...demand, token } : demand)
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
