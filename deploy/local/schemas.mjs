/** What checks Kubernetes manifests: kubeconform, built from source with Go, and the schemas of several versions of Kubernetes. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { which } from './command.mjs'
import { goSources } from './go.mjs'
import { ensureGoProgram } from './go-program.mjs'
import { once } from './once.mjs'
import { ensurePythonFolder } from './python.mjs'

const version = '0.8.0'
const schemasVersion = '1.37.0'
const operatorVersion = '0.85.0'
/** Versions of Kubernetes whose manifests are checked: the oldest that runs sidecar containers for good, one between, the newest. */
export const kubernetesVersions = ['1.33.0', '1.35.0', '1.37.0']

/**
 * $POSTERN_KUBECONFORM, else a `kubeconform` on PATH that runs, else one built by Go in the cache; with the schemas of Kubernetes and
 * the definitions of the Prometheus operator's resources.
 * @returns {Promise<{ kubeconform: string, schemas: string, operator: string } | { reason: string }>} the program, the folder with the
 *   schemas (`<version>-strict/<kind>-<group>-<version>.json`), and the file with ServiceMonitor's definition; or why there are none
 * @throws {SetupError} when $POSTERN_KUBECONFORM does not run, or something cannot be fetched or built
 */
export async function ensureSchemas() {
  const kubeconform = await ensureGoProgram({
    ...{ name: 'kubeconform', title: 'kubeconform', version, env: 'POSTERN_KUBECONFORM', asks: '-v', go: '1.24' },
    build: ({ install }) => install(`github.com/yannh/kubeconform/cmd/kubeconform@v${version}`, `-s -w -X main.version=v${version}`),
  })
  if ('reason' in kubeconform) return kubeconform
  const go = which('go')
  if (go === undefined) return { reason: 'the definitions of the Prometheus operator come as a Go module, and go is not on PATH' }
  const schemas = await once(`kubernetes-schemas-${schemasVersion}-${kubernetesVersions.join('-')}`, 'schemas of Kubernetes', fillSchemas)
  const operator = await once(`prometheus-operator-${operatorVersion}`, 'definitions of the Prometheus operator', (scratch) =>
    fillOperator(go, scratch),
  )
  return { kubeconform: kubeconform.path, schemas, operator: join(operator, 'servicemonitors.yaml') }
}

/**
 * Copies the schemas that refuse unknown fields, with references that need no server.
 * @param {string} scratch
 */
async function fillSchemas(scratch) {
  const { packages } = await ensurePythonFolder(`kubernetes-validate-${schemasVersion}`, 'schemas of Kubernetes (PyPI)', [
    `kubernetes-validate==${schemasVersion}`,
  ])
  const source = join(packages, 'kubernetes_validate', 'kubernetes-json-schema')
  for (const kubernetes of kubernetesVersions) {
    const [from, to] = [join(source, `v${kubernetes}-local-strict`), join(scratch, `v${kubernetes}-strict`)]
    mkdirSync(to)
    for (const name of readdirSync(from)) {
      const { $id, ...schema } = JSON.parse(readFileSync(join(from, name), 'utf8'))
      writeFileSync(join(to, name), JSON.stringify(schema).replaceAll('"/api/_definitions.json#', '"_definitions.json#'))
    }
  }
}

/** @param {string} go @param {string} scratch */
async function fillOperator(go, scratch) {
  const module = `github.com/prometheus-operator/prometheus-operator@v${operatorVersion}`
  const sources = await goSources(go, module, scratch, { GOWORK: 'off', GOFLAGS: '' })
  const crd = join(sources, 'example', 'prometheus-operator-crd', 'monitoring.coreos.com_servicemonitors.yaml')
  cpSync(crd, join(scratch, 'servicemonitors.yaml'))
  rmSync(sources, { recursive: true })
}
