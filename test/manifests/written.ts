import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { containers, type Manifest, pods } from './rendered.ts'

/** A mounted ConfigMap or Secret, written as the kubelet writes it. */
export interface Mounted {
  readonly folder: string
  /** Replaces all files in one step, as the kubelet does when the object changes. */
  readonly replace: (files: Readonly<Record<string, string>>) => void
}

/**
 * Writes a volume: a folder with a name of its own, `..data` that leads to it, and a link for each file or folder in it.
 * @param files path → text
 * @param mode of the files
 */
export function mounted(folder: string, files: Readonly<Record<string, string>>, mode = 0o444): Mounted {
  let turn = 0
  const replace: Mounted['replace'] = (given) => {
    const stamp = `..2026_11_23_00_00_${turn++}.1`
    for (const [path, text] of Object.entries(given)) {
      mkdirSync(dirname(join(folder, stamp, path)), { recursive: true })
      writeFileSync(join(folder, stamp, path), text, { mode })
    }
    symlinkSync(stamp, join(folder, '..data_tmp'))
    renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
    for (const name of readdirSync(join(folder, stamp)))
      if (!readdirSync(folder).includes(name)) symlinkSync(join('..data', name), join(folder, name))
    for (const name of readdirSync(folder)) if (name.startsWith('..2026') && name !== stamp) rmSync(join(folder, name), { recursive: true })
  }
  mkdirSync(folder, { recursive: true })
  replace(files)
  return { folder, replace }
}

/** The pod in which Postern runs, its container, and what the ConfigMap of its policy puts where. */
export interface PosternPod {
  readonly pod: Manifest
  readonly container: ReturnType<typeof containers>[number]
  /** Path in the mounted folder → text. */
  readonly policy: Readonly<Record<string, string>>
}

/** @throws where a rendering has none */
export function posternPod(objects: readonly Manifest[]): PosternPod {
  for (const pod of objects.flatMap(pods)) {
    const container = containers(pod).find(({ name }) => name === 'postern')
    const volume = pod['spec'].volumes?.find(({ name }: { name: string }) => name === 'policy')
    if (!container || !volume) continue
    const map = objects.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === volume.configMap.name)
    if (!map) throw new Error(`there is no ConfigMap ${volume.configMap.name}`)
    const data = map['data'] as Record<string, string>
    const items = (volume.configMap.items ?? Object.keys(data).map((key) => ({ key, path: key }))) as { key: string; path: string }[]
    return { pod, container, policy: Object.fromEntries(items.map(({ key, path }) => [path, data[key] ?? ''])) }
  }
  throw new Error('there is no pod with a container postern and a volume policy')
}

/** Envoy's configuration in a rendering, where it has one. */
export const envoyConfig = (objects: readonly Manifest[]): string | undefined =>
  objects.find(({ kind, data }) => kind === 'ConfigMap' && data?.['envoy.yaml'] !== undefined)?.['data']['envoy.yaml']
