import { readFileSync } from 'node:fs'
import { type OwnerMetadata, ownerLabel, ownerMetadata } from '../../sdk/typescript/src/index.ts'
import { type Call, type KubernetesAccess, KubernetesRefused, openKubernetes, ownCluster } from './kubernetes.ts'
import { podFor, readPodTemplate } from './pod.ts'
import type { Sandboxes } from './sandboxes.ts'

export interface ClusterOptions {
  readonly namespace: string
  /** A file with a Pod. */
  readonly podTemplate: string
  /** Whether the Pods are made here: false where a controller makes them of the Sandbox objects' `podTemplate`. */
  readonly pods: boolean
  /** Undefined: the cluster around this Pod. */
  readonly access: KubernetesAccess | undefined
}

/** The objects of https://agent-sandbox.sigs.k8s.io, which AgentCube makes. */
const group = 'agents.x-k8s.io'
const version = 'v1alpha1'

interface SandboxObject {
  readonly metadata: { readonly name: string; readonly uid: string } & Partial<OwnerMetadata>
}

/**
 * Sandboxes as Kubernetes objects: the owner's label and annotation stand on the Sandbox, on its Pod template, and on the Pod.
 * @throws {TypeError} for a Pod template that cannot be used
 */
export function inCluster({ namespace, podTemplate, pods, access }: ClusterOptions): Sandboxes {
  const template = readPodTemplate(read(podTemplate), podTemplate)
  const call = openKubernetes(access ?? ownCluster(process.env))
  const objects = `/apis/${group}/${version}/namespaces/${namespace}/sandboxes`
  const podsPath = `/api/v1/namespaces/${namespace}/pods`

  const create = async (id: string, owner: string): Promise<boolean> => {
    const stamp = ownerMetadata(owner)
    const pod = podFor(template, { sandbox: id, namespace, owner: stamp })
    const { name: _, namespace: __, ...podMetadata } = pod.metadata
    const sandbox = {
      apiVersion: `${group}/${version}`,
      kind: 'Sandbox',
      metadata: { name: id, namespace, ...stamp },
      spec: { podTemplate: { metadata: podMetadata, spec: pod.spec } },
    }
    const made = await unless(409, call('POST', objects, sandbox))
    if (made === undefined) return false
    if (!pods) return true
    const { uid } = (made as unknown as SandboxObject).metadata
    const reference = { apiVersion: `${group}/${version}`, kind: 'Sandbox', name: id, uid, controller: true, blockOwnerDeletion: false }
    try {
      await call('POST', podsPath, { ...pod, metadata: { ...pod.metadata, ownerReferences: [reference] } })
    } catch (cause) {
      // Half a sandbox is none: the next attempt may take the name again.
      await gone(call, `${objects}/${id}`)
      throw cause
    }
    return true
  }

  return {
    create,
    list: async (owner) => {
      const value = ownerMetadata(owner).labels[ownerLabel] ?? ''
      const { items } = await call('GET', `${objects}?labelSelector=${encodeURIComponent(`${ownerLabel}=${value}`)}`)
      return ((items ?? []) as SandboxObject[]).filter((each) => subjectOf(each) === owner).map(({ metadata }) => metadata.name)
    },
    ownerOf: async (id) => {
      const found = await unless(404, call('GET', `${objects}/${id}`))
      return found && subjectOf(found as unknown as SandboxObject)
    },
    remove: async (id) => {
      // The Pod goes with its Sandbox, by its owner reference; asked for here so that it goes at once.
      if (pods) await gone(call, `${podsPath}/${id}`)
      return gone(call, `${objects}/${id}`)
    },
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new TypeError(`${file} cannot be read (${String((cause as { code?: unknown }).code)})`)
  }
}

const subjectOf = ({ metadata: { labels, annotations } }: SandboxObject): string | undefined =>
  annotations?.[ownerLabel] ?? labels?.[ownerLabel]

const gone = async (call: Call, path: string): Promise<boolean> => (await unless(404, call('DELETE', path))) !== undefined

/** Undefined where the API server answers with this status. */
async function unless<T>(status: number, answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (cause) {
    if (cause instanceof KubernetesRefused && cause.status === status) return undefined
    throw cause
  }
}
