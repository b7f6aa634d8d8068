import { isJsonObject } from '../core/json.ts'
import type { KubernetesClient } from './kubernetes-client.ts'
import { explained, KubernetesFailure } from './kubernetes-failure.ts'
import { type KubernetesResource, resourceName } from './kubernetes-object.ts'

/** A resource whose version the API server may choose. */
export type NamedResource = Omit<KubernetesResource, 'version'> & { readonly version: string | undefined }

/** The resource in the version that its group prefers, where none was said (discovery, which every service account may do). @throws {KubernetesFailure} */
export async function resourceOf(
  client: Pick<KubernetesClient, 'call'>,
  named: NamedResource,
  signal: AbortSignal,
): Promise<KubernetesResource> {
  const { version, group } = named
  if (version !== undefined) return { ...named, version }
  if (group === '') return { ...named, version: 'v1' }
  try {
    const { preferredVersion } = await client.call({ path: `/apis/${encodeURIComponent(group)}`, signal })
    const preferred = isJsonObject(preferredVersion) ? preferredVersion['version'] : undefined
    if (typeof preferred === 'string' && preferred !== '') return { ...named, version: preferred }
  } catch (cause) {
    throw explained(cause, { verb: 'list', resource: resourceName(named), namespace: undefined })
  }
  throw new KubernetesFailure('malformed', `the API server names no version of ${group}: say one, as in ${resourceName(named)}/v1=KIND`)
}
