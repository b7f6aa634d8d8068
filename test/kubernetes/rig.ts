import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { openState } from '../../src/compose/state.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import type { State } from '../../src/core/ports.ts'
import { type RunningKubernetes, startKubernetes } from '../federation/real/kubernetes.ts'
import { type Program, startProgram } from '../support/program.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
export const owner = 'agentcube.io/owner'
const group = 'agents.x-k8s.io'
const objects = (namespace: string): string => `/apis/${group}/v1alpha1/namespaces/${namespace}/sandboxes`

export type Texts = Readonly<Record<string, string>>

/** A sync that runs as a process of its own. */
export interface RunningSync {
  readonly program: Program
  readonly logs: () => Readonly<Record<string, unknown>>[]
  /** Waits for a log line. @param after lines to skip */
  readonly log: (message: string, after?: number) => Promise<Readonly<Record<string, unknown>>>
  readonly stop: () => Promise<number | null>
  readonly kill: () => Promise<void>
}

export interface Rig {
  readonly kubernetes: RunningKubernetes
  readonly folder: TemporaryFolder
  readonly kubeconfig: string
  /** Opened by the test beside the sync, as a service would. */
  readonly state: State
  readonly sandbox: {
    readonly create: (
      namespace: string,
      name: string,
      metadata?: { labels?: Texts; annotations?: Texts; finalizers?: string[] },
    ) => Promise<void>
    /** Replaces labels and annotations. */
    readonly change: (
      namespace: string,
      name: string,
      metadata: { labels?: Texts; annotations?: Texts; finalizers?: string[] },
    ) => Promise<void>
    readonly remove: (namespace: string, name: string) => Promise<void>
  }
  readonly namespace: (name: string) => Promise<void>
  /** Writes a kubeconfig for a token. @param url of the API server; absent: its own */
  readonly config: (name: string, token: string, url?: string) => string
  readonly policy: string
  /** As `policy`, with a label for endpoints. */
  readonly withEndpoints: string
  /** As `policy`, with another state. */
  readonly policyFor: (state: string) => string
  /** `postern sync kubernetes` with these arguments; `--config`, `--kubeconfig` and `--cluster` are given unless they say otherwise. */
  readonly sync: (...args: string[]) => RunningSync
  readonly labels: (kind: string, id: string) => Promise<Readonly<Record<string, string>> | undefined>
  readonly audit: (type: string) => Promise<readonly AuditEvent[]>
  readonly stop: () => Promise<void>
}

/** Why the tests with a real API server do not run; undefined: they do. */
export const withoutCluster = (): string | undefined =>
  process.env['POSTERN_TEST_KUBERNETES'] === undefined || process.env['POSTERN_TEST_ETCD'] === undefined
    ? 'POSTERN_TEST_KUBERNETES and POSTERN_TEST_ETCD are not set: a real API server is needed'
    : undefined

const policyText = (state: string): string => `version: 1
listen:
  check: { address: "127.0.0.1:0" }
state: ${JSON.stringify(state)}
identity:
  - { name: keycloak, type: oidc, issuer: https://idp.example/realms/x, audience: postern, subject_namespace: "kc:" }
  - { name: keys, type: api-keys, default_role: viewer, subject_namespace: "" }
routes:
  - { id: health, path: /healthz, public: true }
`

const crd = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `sandboxes.${group}`, annotations: { 'api-approved.kubernetes.io': 'unapproved, for a test' } },
  spec: {
    group,
    names: { kind: 'Sandbox', listKind: 'SandboxList', plural: 'sandboxes', singular: 'sandbox' },
    scope: 'Namespaced',
    versions: [
      {
        name: 'v1alpha1',
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: { type: 'object', properties: { spec: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } } },
        },
      },
    ],
  },
}

/** A real API server with the CRD of sandboxes, an empty state in a file, and a policy that names it. */
export async function startRig(): Promise<Rig> {
  const kubernetes = await startKubernetes()
  const folder = temporaryFolder('sync')
  const syncs: RunningSync[] = []
  const { call } = kubernetes
  const config = (name: string, token: string, url = kubernetes.url): string => {
    const file = folder.file(`${name}.kubeconfig`)
    const cluster = { server: url, ...(url.startsWith('https:') && { 'certificate-authority': kubernetes.ca }) }
    const document = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      clusters: [{ name: 'test', cluster }],
      users: [{ name: 'test', user: { token } }],
    }
    writeFileSync(file, JSON.stringify(document), { mode: 0o600 })
    return file
  }
  const kubeconfig = config('admin', kubernetes.admin)
  const statePath = folder.file('state.db')
  const policyFile = (name: string, text: string): string => {
    writeFileSync(folder.file(name), text, { mode: 0o600 })
    return folder.file(name)
  }
  const stateUrl = `file:${statePath}`
  const policy = policyFile('postern.yaml', policyText(stateUrl))
  await call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
  const served = async (): Promise<void> => {
    await until('sandboxes to be served', () =>
      call('GET', objects('default')).then(
        () => true,
        () => false,
      ),
    )
  }
  await served()
  const state = await openState({ kind: 'file', path: statePath }, 'default', () => {})
  const body = (namespace: string, name: string, metadata: object, resourceVersion?: string) => ({
    apiVersion: `${group}/v1alpha1`,
    kind: 'Sandbox',
    metadata: { name, namespace, ...metadata, ...(resourceVersion !== undefined && { resourceVersion }) },
    spec: { image: 'shell' },
  })
  return {
    kubernetes: {
      ...kubernetes,
      startApi: async () => {
        await kubernetes.startApi()
        await served()
      },
    },
    folder,
    kubeconfig,
    state,
    policy,
    withEndpoints: policyFile('endpoints.yaml', `${policyText(stateUrl)}ownership: { endpoint: { networks: [10.0.0.0/8] } }\n`),
    policyFor: (other) => policyFile('other.yaml', policyText(other)),
    config,
    sandbox: {
      create: async (namespace, name, metadata = {}) => void (await call('POST', objects(namespace), body(namespace, name, metadata))),
      change: async (namespace, name, metadata) => {
        const path = `${objects(namespace)}/${name}`
        const { metadata: now } = (await call('GET', path)) as { metadata: { resourceVersion: string } }
        await call('PUT', path, body(namespace, name, metadata, now.resourceVersion))
      },
      remove: async (namespace, name) => void (await call('DELETE', `${objects(namespace)}/${name}`)),
    },
    namespace: async (name) => void (await call('POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })),
    sync: (...args) => {
      const given = (flag: string, ...values: string[]): string[] => (args.includes(flag) ? [] : [flag, ...values])
      const all = [...given('--config', policy), ...given('--kubeconfig', kubeconfig), ...given('--cluster', 'test'), ...args]
      const program = startProgram(process.execPath, [main, 'sync', 'kubernetes', ...all], { cwd: folder.path })
      const logs = () =>
        [...program.stdout, ...program.stderr].flatMap((line) =>
          line.startsWith('{') ? [JSON.parse(line) as Record<string, unknown>] : [],
        )
      const running: RunningSync = {
        program,
        logs,
        log: (message, after = 0) =>
          until(
            `the log line "${message}"`,
            () => {
              const found = logs().filter(({ msg }) => msg === message)[after]
              if (!found && !program.running()) throw new Error(`the sync ended:\n${[...program.stdout, ...program.stderr].join('\n')}`)
              return found
            },
            20_000,
          ),
        stop: async () => {
          await program.stop()
          return (await program.ended).code
        },
        kill: async () => {
          program.signal('SIGKILL')
          await program.ended
        },
      }
      syncs.push(running)
      return running
    },
    labels: async (kind, id) => {
      const found = await state.labels.read(kind, id)
      return found && Object.fromEntries(found.labels)
    },
    audit: async (type) => (await state.audit.tail(10_000)).filter((event) => event.type === type),
    stop: async () => {
      for (const sync of syncs) await sync.stop()
      await state.close()
      await kubernetes.stop()
      folder.remove()
    },
  }
}
