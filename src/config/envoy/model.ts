import type { Setting } from './setting.ts'

/** Envoy's own resources, gathered from all files. */
export interface EnvoyResources {
  readonly listeners: Setting[]
  readonly clusters: Map<string, Setting>
  /** `ClusterLoadAssignment`s that come by EDS, by the name that clusters ask for. */
  readonly assignments: Map<string, Setting>
  /** By name: those that come by RDS, or stand in a dump. */
  readonly routeConfigs: Map<string, Setting>
  /** HTTP filters that come by ECDS: name → their `typed_config`. */
  readonly filterConfigs: Map<string, Setting>
  /** Secrets that come by SDS. */
  readonly secrets: Map<string, Setting>
  readonly admin: Setting[]
}

/** A Kubernetes resource. */
export interface Resource {
  readonly kind: string
  readonly group: string
  readonly name: string
  readonly namespace: string
  readonly root: Setting
}

/** All that was read of the files. */
export interface Configuration {
  readonly envoy: EnvoyResources
  readonly resources: Resource[]
  /** Istio's mesh configurations. */
  readonly meshes: Setting[]
}

export const emptyConfiguration = (): Configuration => ({
  envoy: {
    listeners: [],
    clusters: new Map(),
    assignments: new Map(),
    routeConfigs: new Map(),
    filterConfigs: new Map(),
    secrets: new Map(),
    admin: [],
  },
  resources: [],
  meshes: [],
})

/** A `google.protobuf.Any` as JSON writes it. */
export interface Typed {
  /** Without `type.googleapis.com/`. */
  readonly type: string
  readonly config: Setting
}

/** Reads an Any; a TypedStruct is what it holds. */
export function typedOf(any: Setting): Typed {
  const type = typeName(any.at('@type').text ?? '')
  if (type.endsWith('.TypedStruct')) return { type: typeName(any.at('type_url').text ?? ''), config: any.at('value') }
  // Well-known types stand under `value`.
  if (type === 'google.protobuf.Any') return typedOf(any.at('value'))
  return { type, config: any }
}

const typeName = (url: string): string => url.slice(url.lastIndexOf('/') + 1)

/** Whether a type is this message, such as `ext_authz.v3.ExtAuthz`. */
export const isType = (type: string, message: string): boolean => type === message || type.endsWith(`.${message}`)
