import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { parseAllDocuments } from 'yaml'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { program } from './rendered.ts'

/** The variables that checks by schema need. */
export const checkers = ['POSTERN_TEST_KUBECONFORM', 'POSTERN_TEST_KUBERNETES_SCHEMAS', 'POSTERN_TEST_SERVICE_MONITOR'] as const

/** Versions of Kubernetes: the oldest that the manifests are for, one between, the newest. */
export const versions = ['1.33.0', '1.35.0', '1.37.0'] as const

/**
 * Checks manifests by the schemas of a version of Kubernetes, and of the Prometheus operator; unknown fields are faults. All at
 * once, as reading the schemas takes longest.
 * @param texts YAML or JSON
 * @returns for each text its faults; none where all is well
 */
export function faultsOf(texts: readonly string[], version: (typeof versions)[number]): string[][] {
  const folder = temporaryFolder('kubeconform')
  try {
    const files = texts.map((text, i) => {
      const file = folder.file(`${i}.yaml`)
      writeFileSync(file, text)
      return file
    })
    writeFileSync(folder.file('servicemonitor-monitoring-v1.json'), JSON.stringify(operatorSchema()))
    const schemas = program('POSTERN_TEST_KUBERNETES_SCHEMAS')
    const args = [
      ...['-strict', '-output', 'json', '-kubernetes-version', version],
      ...['-schema-location', `${schemas}/{{.NormalizedKubernetesVersion}}{{.StrictSuffix}}/{{.ResourceKind}}{{.KindSuffix}}.json`],
      ...['-schema-location', `${folder.path}/{{.ResourceKind}}{{.KindSuffix}}.json`],
      // Resources of others' definitions, whose own schema the API server has.
      ...['-skip', 'ClusterSPIFFEID,ClusterStaticEntry,ClusterFederatedTrustDomain,ControllerManagerConfig,CustomResourceDefinition'],
      ...files,
    ]
    const { resources = [] } = JSON.parse(run(program('POSTERN_TEST_KUBECONFORM'), args)) as { resources?: Told[] }
    return files.map((file) =>
      resources.filter(({ filename }) => filename === file).map(({ kind, name, status, msg }) => `${kind} ${name}: ${status}: ${msg}`),
    )
  } finally {
    folder.remove()
  }
}

type Told = Readonly<Record<'filename' | 'kind' | 'name' | 'status' | 'msg', string>>

function run(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (cause) {
    // Ends with 1 where there are faults, and has told them.
    const { stdout, stderr } = cause as { stdout?: string; stderr?: string }
    if (stdout) return stdout
    throw new Error(`kubeconform: ${stderr ?? String(cause)}`)
  }
}

/** Of ServiceMonitor, from the operator's own definition, refusing what it does not know. */
function operatorSchema(): unknown {
  const [crd] = definitions()
  const versions = (crd as { spec: { versions: { schema: { openAPIV3Schema: unknown } }[] } }).spec.versions
  return closed(versions[0]?.schema.openAPIV3Schema, true)
}

/** The definition of ServiceMonitor, as an object for an API server. */
export function definitions(): object[] {
  const text = readFileSync(program('POSTERN_TEST_SERVICE_MONITOR'), 'utf8')
  return parseAllDocuments(text).map((document) => document.toJS() as object)
}

function closed(schema: unknown, top = false): unknown {
  if (Array.isArray(schema)) return schema.map((one) => closed(one))
  if (typeof schema !== 'object' || schema === null) return schema
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]))
  // metadata is the API server's; patterns of durations use what JSON Schema's regular expressions have too.
  if (top) return { ...copy, additionalProperties: false }
  return 'properties' in copy && copy['properties'] !== null && copy['type'] === 'object' ? { ...copy, additionalProperties: false } : copy
}
