import { isJsonObject, type Json, type JsonObject } from '../core/json.ts'

/** A resource of the API, as its paths name it. */
export interface KubernetesResource {
  /** Empty: the core group. */
  readonly group: string
  readonly version: string
  readonly plural: string
}

/** `sandboxes.agents.x-k8s.io`, `pods`: as RBAC and the API's messages name it. */
export const resourceName = ({ plural, group }: Pick<KubernetesResource, 'plural' | 'group'>): string =>
  group === '' ? plural : `${plural}.${group}`

/** The path of a list or, with a name, of one object. @param namespace undefined: all of them */
export function pathOf({ group, version, plural }: KubernetesResource, namespace: string | undefined, name?: string): string {
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`
  const inside = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`
  return `${root}${inside}/${plural}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`
}

/** What is read of an object: its metadata, and where it is reached. */
export interface KubernetesObject {
  readonly uid: string
  readonly name: string
  readonly namespace: string
  readonly resourceVersion: string
  /** `metadata.deletionTimestamp` is set: it is about to go. */
  readonly terminating: boolean
  readonly labels: ReadonlyMap<string, string>
  readonly annotations: ReadonlyMap<string, string>
  /** `status.podIP` of a pod. */
  readonly ip: string | undefined
  /** Named ports of a pod's containers. */
  readonly ports: ReadonlyMap<string, number>
}

/** @returns undefined where it has no uid, name or resourceVersion: nothing that the API would say */
export function readObject(value: Json | undefined): KubernetesObject | undefined {
  if (!isJsonObject(value) || !isJsonObject(value['metadata'])) return undefined
  const { metadata, status, spec } = value
  const { uid, name, namespace, resourceVersion, labels, annotations, deletionTimestamp } = metadata
  if (typeof uid !== 'string' || typeof name !== 'string' || typeof resourceVersion !== 'string') return undefined
  if (uid === '' || name === '' || resourceVersion === '') return undefined
  const ip = isJsonObject(status) ? status['podIP'] : undefined
  return {
    uid,
    name,
    namespace: typeof namespace === 'string' ? namespace : '',
    resourceVersion,
    terminating: deletionTimestamp !== undefined && deletionTimestamp !== null,
    labels: textsOf(labels),
    annotations: textsOf(annotations),
    ip: typeof ip === 'string' && ip !== '' ? ip : undefined,
    ports: portsOf(spec),
  }
}

function textsOf(value: Json | undefined): ReadonlyMap<string, string> {
  const texts = new Map<string, string>()
  if (isJsonObject(value)) for (const [name, text] of Object.entries(value)) if (typeof text === 'string') texts.set(name, text)
  return texts
}

function portsOf(spec: Json | undefined): ReadonlyMap<string, number> {
  const ports = new Map<string, number>()
  const containers = isJsonObject(spec) && Array.isArray(spec['containers']) ? spec['containers'].filter(isJsonObject) : []
  for (const { ports: listed } of containers)
    for (const port of Array.isArray(listed) ? listed.filter(isJsonObject) : [])
      if (typeof port['name'] === 'string' && typeof port['containerPort'] === 'number') ports.set(port['name'], port['containerPort'])
  return ports
}

/** `resourceVersion` of a list or a bookmark; undefined where there is none. */
export function versionOf(value: JsonObject | undefined): string | undefined {
  const metadata = value?.['metadata']
  const version = isJsonObject(metadata) ? metadata['resourceVersion'] : undefined
  return typeof version === 'string' && version !== '' ? version : undefined
}
