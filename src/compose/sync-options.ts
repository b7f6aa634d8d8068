import type { NamedResource } from '../adapters/kubernetes-discovery.ts'
import type { Loaded } from '../config/read.ts'
import type { IdSource } from './sync-record.ts'

/** What is mirrored, and how. */
export interface SyncOptions {
  readonly loaded: Loaded
  readonly version: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** What is watched, and the kind of resource that it is in Postern; each kind once. */
  readonly resources: readonly (NamedResource & { readonly kind: string })[]
  /** None: all of them. */
  readonly namespaces: readonly string[]
  readonly selector: string | undefined
  readonly id: IdSource
  /** Whose subjects the cluster names; undefined: neither was said. */
  readonly subjects: { readonly validator: string } | { readonly prefix: string } | undefined
  readonly kubeconfig: string | undefined
  readonly context: string | undefined
  readonly lease: { readonly namespace: string; readonly name: string } | undefined
  readonly cluster: string
  readonly once: boolean
  /** A port of pods, or its name, whose address is mirrored as their endpoint. */
  readonly endpoint: number | string | undefined
  readonly metrics: { readonly host: string; readonly port: number } | undefined
  /** Percent of the records of a kind that one list may remove. */
  readonly mostRemovals: number
  readonly pageSize: number
  readonly watchSeconds: number
}
