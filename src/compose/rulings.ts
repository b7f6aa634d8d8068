import type { ApiKeyList } from '../adapters/api-key-list.ts'
import { openCertificateLoader } from '../adapters/certificate-files.ts'
import { downstreamTokens } from '../adapters/downstream-tokens.ts'
import type { Introspection } from '../adapters/introspection.ts'
import type { JsonSource } from '../adapters/json-source.ts'
import type { Jwks, JwksCondition } from '../adapters/jwks.ts'
import type { NearCache } from '../adapters/near-cache.ts'
import type { RevocationList } from '../adapters/revocation-list.ts'
import type { SharedSecret } from '../adapters/shared-secret.ts'
import type { BreakerState } from '../adapters/sts-breaker.ts'
import type { StsClient } from '../adapters/sts-client.ts'
import type { Ruling } from '../check/check.ts'
import type { StageClock } from '../check/stage.ts'
import type { Loaded } from '../config/read.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import { type OwnerLookup, type Revocation, type State, Unavailable } from '../core/ports.ts'
import type { Rejection } from '../stages/identify.ts'
import { composeApiKeys } from './api-keys.ts'
import { composeValidators } from './identity.ts'
import type { IssuerParts } from './issuer.ts'
import { Pool } from './pool.ts'
import { composeProof } from './proof.ts'
import { openRevocations, standingValidators } from './revocations.ts'
import { composeRuling } from './ruling.ts'
import { composeOwners } from './sources.ts'
import { composeTokens } from './tokens.ts'

export interface RulingsNeeds {
  readonly state: State
  readonly issuer: IssuerParts | undefined
  /** Of this process; absent: opened here. */
  readonly certificates?: CertificateLoader | undefined
  readonly clock: StageClock
  /** Told the scopes of each downstream token that is minted here. */
  readonly onMinted: (scopes: readonly string[]) => void
  readonly onRejection: (rejection: Rejection) => void
  /** Told after each fetch of an issuer's keys. */
  readonly onKeys?: ((condition: JwksCondition) => void) | undefined
  /** Told of a changed shared token that cannot be used. */
  readonly onSharedToken?: ((validator: string, detail: string) => void) | undefined
  /** undefined: the source answers again. */
  readonly onSourceFault: (source: string, fault: string | undefined) => void
}

/** What is in force, and how it is replaced. */
export interface Rulings {
  readonly current: () => Ruling
  /** Builds what a policy needs, then takes it into force in one step; what only the old one needed is closed later. */
  readonly take: (loaded: Loaded) => Promise<void>
  readonly revoke: (revocation: Revocation) => Promise<void>
  /** The list in force. */
  readonly revocations: () => Pick<RevocationList, 'check' | 'standing' | 'known'>
  /** Whether a token was revoked by its id. @throws {Unavailable} where that cannot be known */
  readonly isRevoked: (tokenId: string) => boolean
  readonly jwks: () => readonly Jwks[]
  readonly introspections: () => readonly Introspection[]
  /** undefined where no validator admits any. */
  readonly apiKeys: () => ApiKeyList | undefined
  readonly sources: () => ReadonlyMap<string, JsonSource>
  readonly tokens: ReturnType<typeof downstreamTokens>
  readonly owners: { readonly hits: () => number; readonly misses: () => number; readonly size: () => number }
  /** Look-ups of owners under the policy in force. */
  readonly lookup: OwnerLookup
  readonly close: () => Promise<void>
}

/** Builds rulings one after the other from policies, sharing what outlives one. */
export async function openRulings(first: Loaded, needs: RulingsNeeds): Promise<Rulings> {
  const { state, issuer, certificates = openCertificateLoader() } = needs
  const jwks = new Pool<Jwks>((keys) => keys.close())
  const introspections = new Pool<Introspection>((asked) => asked.close())
  const sts = new Pool<StsClient>((client) => client.close())
  const json = new Pool<Promise<JsonSource>>((source) => source.then(({ close }) => close()))
  const nears = new Pool<NearCache>((cache) => cache.close())
  const lists = new Pool<Promise<RevocationList>>((list) => list.then(({ close }) => close()))
  const secrets = new Pool<Promise<SharedSecret>>((secret) => secret.then(({ close }) => close()))
  const keyLists = new Pool<Promise<ApiKeyList>>((list) => list.then(({ close }) => close()))
  const tokens = downstreamTokens({ settings: composeTokens(first.settings, { issuer, sts, certificates, onMinted: needs.onMinted }) })
  let sources: ReadonlyMap<string, JsonSource> = new Map()
  let near: NearCache | undefined
  let list: RevocationList | undefined
  let standing = standingValidators(first.settings)
  let keyList: ApiKeyList | undefined
  let hits = 0
  let misses = 0

  const counted = (owners: OwnerLookup): OwnerLookup => ({
    labels: (source, resource, id, at, strict) => {
      const found = owners.labels(source, resource, id, at, strict)
      if (!(found instanceof Promise) && found.cache === 'hit') hits++
      else misses++
      return found
    },
  })

  const openList = (maxStalenessMs: number): Promise<RevocationList> =>
    openRevocations({ state, maxStalenessMs, standing: (validator) => standing.has(validator), purge: tokens.purge })

  const build = async ({ settings, policy }: Loaded): Promise<() => Ruling> => {
    const onRevoked = (id: string) => tokens.purge(({ tokenId }) => tokenId === id)
    const apiKeys = await composeApiKeys(settings, { state, lists: keyLists, onRevoked })
    const { onKeys, onSharedToken } = needs
    const validators = composeValidators(settings, { jwks, introspections, certificates, issuer, apiKeys, onKeys, onSharedToken })
    const making = composeTokens(settings, { issuer, sts, certificates, onMinted: needs.onMinted })
    const { max_staleness } = settings.revocation
    const revocations = await lists.get(String(max_staleness), () => openList(max_staleness))
    const owners = await composeOwners(settings, { state, json, near: nears, certificates, onFault: needs.onSourceFault })
    const prove = await composeProof(settings, { state, secrets })
    await certificates.ready()
    return () => {
      tokens.configure(making)
      sources = owners.sources
      near = owners.near
      list = revocations
      standing = standingValidators(settings)
      keyList = apiKeys
      const { clock, onRejection } = needs
      return composeRuling({ policy, validators, prove, revocations, owners: counted(owners.near), tokens, clock, onRejection })
    }
  }

  let ruling = (await build(first))()
  const sweep = (): void => {
    for (const pool of [jwks, introspections, sts, json, nears, lists, keyLists, secrets]) pool.sweep()
  }
  sweep()

  return {
    current: () => ruling,
    take: async (loaded) => {
      const inForce = await build(loaded)
      ruling = inForce()
      issuer?.configure(loaded.settings)
      sweep()
    },
    revoke: (revocation) => list!.revoke(revocation),
    revocations: () => list!,
    isRevoked: (tokenId) => {
      // Its id alone counts: the subject of an admin token is no subject of the edge.
      const answer = list!.check({ tokenId, subject: '', issuedAt: 0 }, Date.now())
      if (answer === 'unavailable') throw new Unavailable('state was not heard from within revocation.max_staleness')
      return answer === 'revoked'
    },
    jwks: () => jwks.values(),
    introspections: () => introspections.values(),
    apiKeys: () => keyList,
    sources: () => sources,
    tokens,
    owners: { hits: () => hits, misses: () => misses, size: () => near?.size() ?? 0 },
    lookup: counted({ labels: (...asked) => near!.labels(...asked) }),
    close: async () => {
      for (const pool of [jwks, introspections, sts, nears, lists, keyLists, secrets, json]) await pool.close()
    },
  }
}

/** The breakers of the token endpoints in force, by their names. */
export const breakersOf = ({ tokens }: Rulings): Record<string, BreakerState> => Object.fromEntries(tokens.stats().breakers)
