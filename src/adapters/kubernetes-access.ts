import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parse } from 'yaml'
import { CertificateFault, type CertificateTexts } from '../core/certificates.ts'
import { isEndpointUrl } from '../core/endpoint-url.ts'
import { isJsonObject, type Json, type JsonObject } from '../core/json.ts'
import { systemCode } from '../core/system-code.ts'
import { openCertificateLoader } from './certificate-files.ts'
import { freshFile } from './fresh-file.ts'

/** How an API server is reached, and as whom. Files are read anew while they are used, since they rotate. */
export interface KubernetesAccess {
  /** Without a slash at its end. */
  readonly url: string
  /** PEM; undefined: the authorities of the system. */
  readonly ca: (() => string) | undefined
  /** What the certificate is checked for, where that is not the host of the URL. */
  readonly serverName: string | undefined
  readonly token: (() => string) | undefined
  readonly certificate: (() => { readonly cert: string; readonly key: string }) | undefined
  /** The namespace that is meant where none is said. */
  readonly namespace: string | undefined
  /** Where this was read: for messages. */
  readonly from: string
}

/** Why there is no way to an API server: a sentence that names the file and the member. */
export class AccessRefused extends Error {
  override readonly name = 'AccessRefused'
}

const accountFolder = '/var/run/secrets/kubernetes.io/serviceaccount'

/** The members of a user that run a program or a plugin, which this client does not. */
const foreign = ['exec', 'auth-provider', 'username', 'password', 'as', 'as-uid', 'as-groups', 'as-user-extra'] as const

/**
 * The service account that Kubernetes mounts into a pod.
 * @param folder where it is mounted
 * @throws {AccessRefused}
 */
export function serviceAccountAccess(env: Readonly<Record<string, string | undefined>>, folder = accountFolder): KubernetesAccess {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env
  if (!host || !port)
    throw new AccessRefused(
      'there is no cluster around this process (KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set): give --kubeconfig FILE',
    )
  return {
    url: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    ca: authorities({ ca: join(folder, 'ca.crt') }, 'the service account'),
    serverName: undefined,
    token: trimmed(opened(join(folder, 'token'), 'the service account')),
    certificate: undefined,
    namespace: opened(join(folder, 'namespace'), 'the service account')().trim(),
    from: folder,
  }
}

/**
 * A context of a kubeconfig file (kind `Config`, `v1`): tokens, token files and client certificates; no plugins.
 * @param context its name; undefined: the current one
 * @throws {AccessRefused}
 */
export function kubeconfigAccess(file: string, context: string | undefined): KubernetesAccess {
  const config = document(file)
  const name = context ?? text(config['current-context'])
  if (name === undefined) throw new AccessRefused(`${file}: there is no current-context: name one by --context`)
  const chosen = named(config, 'contexts', name, 'context', file)
  const cluster = named(config, 'clusters', text(chosen['cluster']) ?? '', 'cluster', file)
  const user = chosen['user'] === undefined ? {} : named(config, 'users', text(chosen['user']) ?? '', 'user', file)
  const folder = dirname(resolve(file))

  if (cluster['insecure-skip-tls-verify'] === true)
    throw new AccessRefused(`${file}: insecure-skip-tls-verify lets anybody be the API server: expected certificate-authority instead`)
  if (cluster['proxy-url'] !== undefined) throw new AccessRefused(`${file}: proxy-url is not supported`)
  for (const member of foreign)
    if (user[member] !== undefined)
      throw new AccessRefused(`${file}: ${member} is not supported: expected token, tokenFile, or client-certificate and client-key`)

  const token = text(user['token'])
  const tokenFile = text(user['tokenFile'])
  const cert = material(user, 'client-certificate', folder)
  const key = material(user, 'client-key', folder)
  if ((cert === undefined) !== (key === undefined))
    throw new AccessRefused(`${file}: expected client-certificate and client-key together, and found one of them`)
  return {
    url: serverOf(cluster, file),
    ca: authorities({ ca: material(cluster, 'certificate-authority', folder) }, file),
    serverName: text(cluster['tls-server-name']),
    // As kubectl does: the file wins where both are there.
    token: tokenFile === undefined ? token && (() => token) : trimmed(opened(resolve(folder, tokenFile), file)),
    certificate: cert !== undefined && key !== undefined ? identity({ cert, key }, file) : undefined,
    namespace: text(chosen['namespace']),
    from: `${file}, context ${name}`,
  } as KubernetesAccess
}

const text = (value: Json | undefined): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)

const trimmed =
  (read: () => string): (() => string) =>
  () =>
    read().trim()

function document(file: string): JsonObject {
  let content: string
  try {
    content = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new AccessRefused(`${file}: cannot be read (${systemCode(cause)})`)
  }
  let value: unknown
  try {
    value = parse(content)
  } catch {
    throw new AccessRefused(`${file}: is neither YAML nor JSON`)
  }
  if (!isJsonObject(value)) throw new AccessRefused(`${file}: expected a kubeconfig with clusters, users and contexts`)
  return value
}

/** What a list of the file holds by a name. */
function named(config: JsonObject, list: string, name: string, member: string, file: string): JsonObject {
  const entries = config[list]
  const found = Array.isArray(entries) ? entries.filter(isJsonObject).find((entry) => entry['name'] === name)?.[member] : undefined
  if (!isJsonObject(found)) throw new AccessRefused(`${file}: there is no "${name}" among ${list}`)
  return found
}

function serverOf(cluster: JsonObject, file: string): string {
  const server = text(cluster['server']) ?? ''
  const url = URL.canParse(server) ? new URL(server) : undefined
  if (url?.username !== '' || url.search !== '' || !isEndpointUrl(url))
    throw new AccessRefused(`${file}: server: expected an https URL, or http on loopback`)
  return url.href.replace(/\/+$/, '')
}

/** A file, or what stands in the kubeconfig itself in base64 (`<name>-data`), which wins. */
type Material = string | { readonly data: string }

function material(entry: JsonObject, name: string, folder: string): Material | undefined {
  const data = text(entry[`${name}-data`])
  if (data !== undefined) return { data: Buffer.from(data, 'base64').toString() }
  const path = text(entry[name])
  return path === undefined ? undefined : resolve(folder, path)
}

/** Those that stand in files are looked after as one set. @throws {AccessRefused} */
function certificatesOf(
  materials: { readonly [part in keyof CertificateTexts]?: Material | undefined },
  whose: string,
): () => CertificateTexts {
  const entries = Object.entries(materials)
  const files = Object.fromEntries(entries.filter(([, one]) => typeof one === 'string')) as CertificateTexts
  const said = Object.fromEntries(entries.flatMap(([part, one]) => (typeof one === 'object' ? [[part, one.data]] : []))) as CertificateTexts
  if (Object.keys(files).length === 0) return () => said
  // Of a pair of which one half is a file, each half is taken as it is.
  if (Object.keys(said).length > 0) {
    const half = Object.entries(files).map(([part, path]) => [part, opened(path, whose)] as const)
    return () => ({ ...said, ...Object.fromEntries(half.map(([part, read]) => [part, read()])) })
  }
  const source = openCertificateLoader().open('kubernetes', files)
  try {
    source.current()
  } catch (cause) {
    source.close()
    throw cause instanceof CertificateFault ? new AccessRefused(`${whose}: ${cause.message}`) : cause
  }
  return source.current
}

function authorities({ ca }: { readonly ca: Material | undefined }, whose: string): (() => string) | undefined {
  if (ca === undefined) return undefined
  const read = certificatesOf({ ca }, whose)
  return () => read().ca ?? ''
}

function identity(pair: { readonly cert: Material; readonly key: Material }, whose: string): KubernetesAccess['certificate'] {
  const read = certificatesOf(pair, whose)
  return () => {
    const { cert = '', key = '' } = read()
    return { cert, key }
  }
}

function opened(path: string, whose: string): () => string {
  try {
    return freshFile(path)
  } catch (cause) {
    throw new AccessRefused(`${whose}: ${path} cannot be read (${systemCode(cause)})`)
  }
}
