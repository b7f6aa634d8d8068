import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { type RunningKubernetes, startKubernetes } from '../federation/real/kubernetes.ts'
import { until } from '../support/until.ts'
import { checkers, definitions } from './kubeconform.ts'
import { type Manifest, manifests, missing, namespace, renderers, renderings } from './rendered.ts'

/** What stays when the objects of a test go. */
const lasting = ['CustomResourceDefinition', 'Namespace']
const controllerManager = process.env['POSTERN_TEST_SPIRE_CONTROLLER_MANAGER']
/** The definitions of SPIRE's resources come with its controller manager. */
const defined = ({ apiVersion }: Manifest): boolean => controllerManager !== undefined || !apiVersion.startsWith('spire.spiffe.io/')
const spireDefinitions = (): Manifest[] =>
  controllerManager === undefined
    ? []
    : readdirSync(join(controllerManager, 'crd')).flatMap((name) => manifests(readFileSync(join(controllerManager, 'crd', name), 'utf8')))

/** What a resource is called in a URL. */
interface Resource {
  readonly path: string
  readonly namespaced: boolean
}

describe('manifests at a real API server', function () {
  this.timeout(120_000)
  let kubernetes: RunningKubernetes
  const resources = new Map<string, Resource>()

  before(async function () {
    if (missing(...renderers, ...checkers, 'POSTERN_TEST_KUBERNETES', 'POSTERN_TEST_ETCD')) this.skip()
    kubernetes = await startKubernetes()
    for (const definition of [
      ...definitions(),
      ...spireDefinitions(),
      ...renderings().flatMap((one) => manifests(one.text())),
    ] as Manifest[])
      if (definition.kind === 'CustomResourceDefinition') await applied(definition, false)
    for (const name of [namespace, 'postern', 'monitoring'])
      await applied({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } }, false)
  })
  after(() => kubernetes?.stop())

  /** The resource of a kind, as discovery tells it. Definitions are served a little after they were made. */
  async function resourceOf({ apiVersion, kind }: Manifest): Promise<Resource> {
    const key = `${apiVersion} ${kind}`
    const known = resources.get(key)
    if (known) return known
    const base = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
    const found = await until(`${key} to be served`, async () => {
      const list = (await kubernetes.call('GET', base).catch(() => ({ resources: [] }))) as {
        resources: { name: string; kind: string; namespaced: boolean }[]
      }
      return list.resources.find((one) => one.kind === kind && !one.name.includes('/'))
    })
    const resource = { path: `${base}/{namespace}${found.name}`, namespaced: found.namespaced }
    resources.set(key, resource)
    return resource
  }

  /** Server-side apply, strict: unknown and repeated fields are refused. */
  async function applied(object: Manifest, dryRun: boolean): Promise<Manifest> {
    const query = `fieldManager=test&fieldValidation=Strict&force=true${dryRun ? '&dryRun=All' : ''}`
    return send(kubernetes, `${await placeOf(object)}?${query}`, object)
  }

  async function placeOf(object: Manifest): Promise<string> {
    const { path, namespaced } = await resourceOf(object)
    const { name, namespace: own = namespace } = object.metadata
    return `${path.replace('{namespace}', namespaced ? `namespaces/${own}/` : '')}/${name}`
  }

  for (const rendering of renderings())
    it(`takes ${rendering.name} whole, and keeps all of it`, async () => {
      const objects = manifests(rendering.text()).filter((object) => defined(object))
      for (const object of objects) {
        const what = `${object.kind} ${object.metadata.name}`
        assert.deepEqual(lost(object, await applied(object, true)), [], `${what}, dry run`)
        await applied(object, false)
        const kept = (await kubernetes.call('GET', await placeOf(object))) as unknown as Manifest
        assert.deepEqual(lost(object, kept), [], what)
      }
      // The next one has objects of the same names, and what Pods are selected by cannot be changed.
      for (const object of objects) if (!lasting.includes(object.kind)) await kubernetes.call('DELETE', await placeOf(object))
    })

  it('refuses an unknown field, and a value of the wrong kind', async () => {
    const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'broken' } }
    await assert.rejects(applied({ ...account, automountServiceAccountTokens: false }, true), /unknown field|field not declared/)
    await assert.rejects(applied({ ...account, automountServiceAccountToken: 'no' }, true), /bool/)
  })
})

/** Paths at which what was sent is missing or other in what is kept. Lists whose order is the server's go by their names. */
function lost(sent: unknown, kept: unknown, path = ''): string[] {
  if (Array.isArray(sent)) {
    if (!Array.isArray(kept) || kept.length < sent.length) return [`${path}: ${kept === undefined ? 'missing' : 'shorter'}`]
    return sent.flatMap((one, i) => lost(one, kept[i], `${path}[${i}]`))
  }
  if (typeof sent === 'object' && sent !== null) {
    if (typeof kept !== 'object' || kept === null) return Object.keys(sent).length === 0 ? [] : [`${path}: missing`]
    return Object.entries(sent).flatMap(([key, value]) => lost(value, (kept as Record<string, unknown>)[key], `${path}.${key}`))
  }
  return sent === null || sent === kept || sameAmount(sent, kept) ? [] : [`${path}: ${JSON.stringify(sent)} became ${JSON.stringify(kept)}`]
}

/** The server writes amounts its own way: `0.5` is `500m`. */
function sameAmount(one: unknown, other: unknown): boolean {
  const read = (value: unknown): number => {
    const match = /^(\d+(?:\.\d+)?)(m|Ki|Mi|Gi|)$/.exec(String(value))
    const units: Record<string, number> = { m: 0.001, Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3 }
    return match ? Number(match[1]) * (units[match[2] ?? ''] ?? 1) : Number.NaN
  }
  return read(one) === read(other)
}

function send(kubernetes: RunningKubernetes, path: string, object: Manifest): Promise<Manifest> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${kubernetes.admin}`, 'content-type': 'application/apply-patch+yaml' }
    const asked = request(`${kubernetes.url}${path}`, { method: 'PATCH', ca: readFileSync(kubernetes.ca), headers }, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (part) => {
        text += part
      })
      answer.on('end', () => {
        const body = JSON.parse(text) as Manifest & { message?: string }
        if ((answer.statusCode ?? 500) < 300) resolve(body)
        else reject(new Error(`${object.kind} ${object.metadata.name}: ${answer.statusCode} ${body.message}`))
      })
    })
    asked.on('error', reject)
    asked.end(JSON.stringify(object))
  })
}
