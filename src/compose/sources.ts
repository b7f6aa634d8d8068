import type { JsonSource } from '../adapters/json-source.ts'
import { type LabelSource, type NearCache, openNearCache } from '../adapters/near-cache.ts'
import type { Settings } from '../config/schema.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import type { State } from '../core/ports.ts'
import { clientCertificates } from './certificates.ts'
import type { Pool } from './pool.ts'
import { placeOf } from './state.ts'

/** Where owners are looked up. */
export interface Owners {
  readonly near: NearCache
  readonly sources: ReadonlyMap<string, JsonSource>
}

export interface OwnersNeeds {
  readonly state: State
  readonly json: Pool<Promise<JsonSource>>
  readonly near: Pool<NearCache>
  readonly certificates: CertificateLoader
  readonly onFault: (source: string, fault: string | undefined) => void
}

/** Where owners are looked up under a policy: Postern's own labels and the platform's sources, kept near. */
export async function composeOwners(settings: Settings, needs: OwnersNeeds): Promise<Owners> {
  const { label, cache } = settings.ownership
  const sources = new Map<string, JsonSource>()
  const keys: string[] = []
  for (const [name, entry] of Object.entries(settings.sources)) {
    const options = { name, key: entry.key, owner: entry.owner, ownerLabel: label }
    const key = JSON.stringify([options, entry.redis.reference, entry.tls])
    keys.push(key)
    const open = async (): Promise<JsonSource> => {
      const tls = clientCertificates(needs.certificates, `sources.${name}`, entry.tls)
      await needs.certificates.ready()
      const { openJsonSource } = await import('../adapters/json-source.ts')
      const place = placeOf({ url: entry.redis, tls: entry.tls }, tls)
      const source = await openJsonSource({ ...options, place, onFault: (fault) => needs.onFault(name, fault) })
      return { ...source, close: () => source.close().finally(tls?.close) }
    }
    sources.set(name, await needs.json.get(key, open))
  }
  const near = needs.near.get(JSON.stringify([cache, keys]), () => {
    const labels = new Map<string | undefined, LabelSource>([[undefined, { reader: needs.state.labels, feed: needs.state.feed }]])
    for (const [name, { reader, feed }] of sources) labels.set(name, { reader, feed })
    const { size, ttl, negative_ttl, max_stale } = cache
    return openNearCache({
      sources: labels,
      settings: { size: Math.max(1, size), ttlMs: ttl, negativeTtlMs: negative_ttl, maxStaleMs: max_stale },
    })
  })
  return { near, sources }
}
