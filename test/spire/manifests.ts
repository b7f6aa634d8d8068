import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:https'
import { fileURLToPath } from 'node:url'
import { parse, parseAllDocuments } from 'yaml'
import type { RunningKubernetes } from '../federation/real/kubernetes.ts'

/** A Kubernetes object, as a manifest has it. */
export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly data?: Readonly<Record<string, string>>
  readonly [more: string]: unknown
}

const folder = fileURLToPath(new URL('../../deploy/kubernetes/spire/', import.meta.url))

/** All objects of some YAML text. @throws where it is none, or where a key is there twice */
export const objectsOf = (text: string): Manifest[] =>
  parseAllDocuments(text).map((document) => {
    if (document.errors.length > 0) throw document.errors[0]
    return document.toJS() as Manifest
  })

/** What the kustomization lists, in the order in which it is applied: webhooks come last. */
export function shippedManifests(): Manifest[] {
  const { resources } = parse(readFileSync(`${folder}kustomization.yaml`, 'utf8')) as { resources: string[] }
  const all = resources.flatMap((name) => objectsOf(readFileSync(folder + name, 'utf8')))
  const isWebhook = ({ kind }: Manifest): boolean => kind === 'ValidatingWebhookConfiguration'
  return [...all.filter((one) => !isWebhook(one)), ...all.filter(isWebhook)]
}

/** The YAML files that lie in the folder, the kustomization aside. */
export const shippedFiles = (): string[] => readdirSync(folder).filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')

/**
 * A file that a ConfigMap among the manifests holds, with other values.
 * @param replacements text → text; each must occur
 */
export function shippedFile(configMap: string, key: string, replacements: Readonly<Record<string, string>> = {}): string {
  const found = shippedManifests().find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === configMap)
  let text = found?.data?.[key]
  if (text === undefined) throw new Error(`there is no ConfigMap ${configMap} with ${key}`)
  for (const [from, to] of Object.entries(replacements)) {
    if (!text.includes(from)) throw new Error(`${key} of ${configMap} was expected to hold ${from}`)
    text = text.replaceAll(from, to)
  }
  return text
}

const oddPlurals: Readonly<Record<string, string>> = { CSIDriver: 'csidrivers', Endpoints: 'endpoints' }

/** Where an object is in the API. */
export function pathOf({ apiVersion, kind, metadata }: Manifest): string {
  const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const namespace = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`
  return `${group}${namespace}/${oddPlurals[kind] ?? `${kind.toLowerCase()}s`}/${metadata.name}`
}

/** Server-side apply with strict field validation. @returns the object as it is now @throws where the API server refuses it */
export function apply({ url, ca, admin }: RunningKubernetes, manifest: Manifest, dryRun = false): Promise<Manifest> {
  const query = `fieldManager=test&force=true&fieldValidation=Strict${dryRun ? '&dryRun=All' : ''}`
  const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/apply-patch+yaml' }
  return new Promise((done, fail) => {
    const sent = request(`${url}${pathOf(manifest)}?${query}`, { method: 'PATCH', ca: readFileSync(ca), headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const said = Buffer.concat(chunks).toString()
        if ((response.statusCode ?? 0) < 300) done(JSON.parse(said) as Manifest)
        else fail(new Error(`${manifest.kind} ${manifest.metadata.name}: ${response.statusCode} ${said}`))
      })
    })
    sent.on('error', fail)
    sent.end(JSON.stringify(manifest))
  })
}

/** Paths of what was given and is not there: what a server has pruned without a word. */
export function missing(given: unknown, found: unknown, path = ''): string[] {
  if (typeof given !== 'object' || given === null) return sameValue(given, found) ? [] : [path]
  if (typeof found !== 'object' || found === null) return Object.keys(given).length === 0 ? [] : [path]
  return Object.entries(given).flatMap(([name, value]) => missing(value, (found as Record<string, unknown>)[name], `${path}/${name}`))
}

/** Quantities and durations come back in another spelling: 1h is 1h0m0s. */
const sameValue = (given: unknown, found: unknown): boolean =>
  String(given).replace(/^(\d+)h$/, '$1h0m0s') === String(found) || given === found
