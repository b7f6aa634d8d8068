import { parse } from 'yaml'
import { type OwnerMetadata, ownerLabel } from '../../sdk/typescript/src/index.ts'

type Texts = Readonly<Record<string, string>>

interface Container {
  readonly name: string
  readonly env?: readonly { readonly name: string; readonly value?: string }[]
}

export interface Pod {
  readonly apiVersion: 'v1'
  readonly kind: 'Pod'
  readonly metadata: { readonly name?: string; readonly namespace?: string; readonly labels?: Texts; readonly annotations?: Texts }
  readonly spec: { readonly containers: readonly Container[] }
}

/** The container that is told which sandbox it is. */
const container = 'picod'

/** @throws {TypeError} naming the file and what was expected */
export function readPodTemplate(text: string, file: string): Pod {
  let pod: Partial<Pod> | null
  try {
    pod = parse(text) as Partial<Pod> | null
  } catch {
    throw new TypeError(`${file} is no YAML`)
  }
  if (pod?.apiVersion !== 'v1' || pod.kind !== 'Pod') throw new TypeError(`${file}: expected a Pod of v1`)
  if (!pod.spec?.containers?.some(({ name }) => name === container)) throw new TypeError(`${file}: expected a container named ${container}`)
  for (const texts of [pod.metadata?.labels, pod.metadata?.annotations])
    if (texts && ownerLabel in texts) throw new TypeError(`${file}: ${ownerLabel} is written by the workload manager`)
  return pod as Pod
}

/** The Pod of one sandbox: named after it, with its owner, and told who it is. */
export function podFor(template: Pod, of: { readonly sandbox: string; readonly namespace: string; readonly owner: OwnerMetadata }): Pod {
  const { metadata, spec } = template
  const variable = { name: 'PICOD_SANDBOX', value: of.sandbox }
  const told = (one: Container): Container =>
    one.name === container ? { ...one, env: [...(one.env ?? []).filter(({ name }) => name !== variable.name), variable] } : one
  return {
    ...template,
    metadata: {
      ...metadata,
      name: of.sandbox,
      namespace: of.namespace,
      labels: { ...metadata.labels, 'agentcube.io/sandbox': of.sandbox, ...of.owner.labels },
      annotations: { ...metadata.annotations, ...of.owner.annotations },
    },
    spec: { ...spec, containers: spec.containers.map(told) },
  }
}
