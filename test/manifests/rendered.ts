import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'

/** The program of an environment variable that `npm test` sets. */
export const program = (name: string): string => {
  const path = process.env[name]
  if (path === undefined) throw new Error(`${name} is not set: run these tests with \`npm test -- manifests\``)
  return path
}

/** What is missing of these variables; undefined: nothing. */
export const missing = (...names: string[]): string | undefined => names.find((name) => process.env[name] === undefined)

/** The variables that rendering needs. */
export const renderers = ['POSTERN_TEST_HELM', 'POSTERN_TEST_KUSTOMIZE'] as const

export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Record<string, string>
    readonly annotations?: Record<string, string>
  }
  // biome-ignore lint/suspicious/noExplicitAny: manifests are plain data of many kinds
  readonly [key: string]: any
}

/** Manifests as an operator gets them. */
export interface Rendering {
  /** As a test's title. */
  readonly name: string
  /** YAML, as printed. */
  readonly text: () => string
}

const root = fileURLToPath(new URL('../../', import.meta.url))
const chart = join(root, 'deploy/helm/postern')
/** Where all examples are put. */
export const namespace = 'agentcube-system'

/** Folders under deploy/kubernetes that kustomize builds on their own. */
function overlays(): string[] {
  const found = readdirSync(join(root, 'deploy/kubernetes'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('/kustomization.yaml') && path !== 'base/kustomization.yaml')
    .filter((path) => readFileSync(join(root, 'deploy/kubernetes', path), 'utf8').includes('kind: Kustomization'))
  return found.map((path) => path.slice(0, -'/kustomization.yaml'.length)).sort()
}

/** Folders of plain files. */
const plain = ['sync']

const run = (command: string, args: readonly string[]): string =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 << 20 })

/** Names of the values files that are shipped with the chart. */
export const valuesFiles = (): string[] => readdirSync(join(chart, 'examples')).sort()

/** `helm template`. @param args more of them @throws with Helm's words */
export const helm = (...args: string[]): string => run(program('POSTERN_TEST_HELM'), args)
export const helmTemplate = (...args: string[]): string => helm('template', 'postern', chart, '--namespace', namespace, ...args)
export const chartFolder = chart

const once = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}

/** All manifests of the project. */
export function renderings(): Rendering[] {
  return [
    ...overlays().map((path) => ({
      name: `deploy/kubernetes/${path}`,
      text: once(() => run(program('POSTERN_TEST_KUSTOMIZE'), ['build', join(root, 'deploy/kubernetes', path)])),
    })),
    ...plain
      .filter((path) => existsSync(join(root, 'deploy/kubernetes', path)))
      .map((path) => ({ name: `deploy/kubernetes/${path}`, text: once(() => plainText(join(root, 'deploy/kubernetes', path))) })),
    { name: 'the chart as it is', text: once(() => helmTemplate()) },
    ...valuesFiles().map((file) => ({
      name: `the chart with ${file}`,
      text: once(() => helmTemplate('--values', join(chart, 'examples', file))),
    })),
  ]
}

const plainText = (folder: string): string =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('\n---\n')

/** The objects of a text; YAML 1.1, as Kubernetes reads it. @throws where it is none */
export function manifests(text: string): Manifest[] {
  return parseAllDocuments(text, { version: '1.1', uniqueKeys: true }).flatMap((document) => {
    if (document.errors.length > 0) throw new Error(document.errors.map(String).join('\n'))
    const object = document.toJS() as Manifest | null
    return object === null ? [] : [object]
  })
}

/** The pod templates of an object, and what they stand in. */
export function pods(object: Manifest): Manifest[] {
  if (object.kind === 'Pod') return [object]
  const template = object['spec']?.template
  return template?.spec?.containers ? [template] : []
}

interface Container {
  readonly name: string
  // biome-ignore lint/suspicious/noExplicitAny: as in a manifest
  [key: string]: any
}

/** All containers of a pod, those before it started too. */
export const containers = (pod: Manifest): Container[] => [...(pod['spec'].initContainers ?? []), ...pod['spec'].containers]
