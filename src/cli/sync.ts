import { isIP } from 'node:net'
import { type Command, InvalidArgumentError } from 'commander'
import { type IdSource, type SyncOptions, syncKubernetes } from '../compose/sync.ts'
import { version } from '../compose.ts'
import { resourceKind } from '../core/ownership.ts'
import { StartRefused } from '../core/start-refused.ts'
import { CommandFailed, type Io } from './io.ts'
import { type CommonOptions, loadPolicy, withCommon } from './policy.ts'

interface KubernetesOptions extends CommonOptions {
  readonly resource: SyncOptions['resources']
  readonly cluster: string
  readonly namespace: readonly string[]
  readonly selector?: string
  readonly id?: IdSource
  readonly subjectsOf?: string
  readonly subjectNamespace?: string
  readonly kubeconfig?: string
  readonly context?: string
  readonly lease?: { readonly namespace: string; readonly name: string }
  readonly endpoint?: number | string
  readonly metrics?: { readonly host: string; readonly port: number }
  readonly mostRemovals: number
  readonly allowMassRemoval?: true
  readonly pageSize: number
  readonly watchSeconds: number
  readonly once?: true
}

const name = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const dotted = `${name}(?:\\.${name})*`

/** `sandboxes.agents.x-k8s.io/v1alpha1=sandbox`, `pods=pod` */
function readResource(text: string, before: SyncOptions['resources'] = []): SyncOptions['resources'] {
  const pattern = new RegExp(`^(${name})(?:\\.(${dotted}))?(?:/(v[0-9][a-z0-9]*))?=(.+)$`)
  const [, plural, group = '', apiVersion, kind = ''] = pattern.exec(text) ?? []
  if (plural === undefined || !resourceKind.test(kind))
    throw new InvalidArgumentError('expected PLURAL.GROUP[/VERSION]=KIND, such as sandboxes.agents.x-k8s.io=sandbox or pods=pod')
  if (before.some((one) => one.kind === kind)) throw new InvalidArgumentError(`the kind ${kind} is mirrored from one resource only`)
  return [...before, { plural, group, version: apiVersion, kind }]
}

function readNamespace(text: string, before: readonly string[]): readonly string[] {
  if (!new RegExp(`^${name}$`).test(text)) throw new InvalidArgumentError('expected the name of a namespace')
  return before.includes(text) ? before : [...before, text]
}

function readId(text: string): IdSource {
  if (text === 'name' || text === 'namespace.name') return { kind: text }
  const [, kind, key] = /^(label|annotation):(\S+)$/.exec(text) ?? []
  if (key === undefined) throw new InvalidArgumentError('expected name, namespace.name, label:KEY or annotation:KEY')
  return { kind: kind as 'label' | 'annotation', key }
}

function readLease(text: string): { namespace: string; name: string } {
  const [, namespace, lease] = new RegExp(`^(${name})/(${dotted})$`).exec(text) ?? []
  if (namespace === undefined || lease === undefined) throw new InvalidArgumentError('expected NAMESPACE/NAME')
  return { namespace, name: lease }
}

function readCluster(text: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(text))
    throw new InvalidArgumentError('expected letters, digits, ".", "_" and "-", at most 63')
  return text
}

function readEndpoint(text: string): number | string {
  if (/^\d+$/.test(text)) return wholeNumber(1, 65_535)(text)
  if (!new RegExp(`^${name}$`).test(text) || text.length > 15) throw new InvalidArgumentError('expected a port, or the name of one')
  return text
}

function readAddress(text: string): { host: string; port: number } {
  const [, host = '', port = ''] = /^\[?([0-9A-Fa-f.:]+?)\]?:(\d{1,5})$/.exec(text) ?? []
  if (isIP(host) === 0) throw new InvalidArgumentError('expected IP:PORT, such as 127.0.0.1:9194')
  return { host, port: wholeNumber(0, 65_535)(port) }
}

const wholeNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const number = Number(text)
    if (!/^\d+$/.test(text) || number < least || number > most) throw new InvalidArgumentError(`expected a number from ${least} to ${most}`)
    return number
  }

/** `postern sync kubernetes`: until SIGTERM or SIGINT, or once. */
export function syncCommand(program: Command, io: Io): void {
  const sync = program.command('sync').description('mirror owners and labels from where a platform keeps them')
  const command = sync
    .command('kubernetes')
    .description('mirror labels and owners of Kubernetes objects into state, beside the service')
    .requiredOption(
      '--resource <resource=kind>',
      'what is watched, and its kind here: PLURAL.GROUP[/VERSION]=KIND; may be given several times',
      readResource,
    )
    .requiredOption('--cluster <name>', 'name of this cluster: records say what mirrors them', readCluster)
    .option('--namespace <name>', 'only this namespace; may be given several times', readNamespace, [])
    .option('--selector <selector>', 'only objects with these labels')
    .option('--id <place>', 'what the id is: name, namespace.name, label:KEY or annotation:KEY', readId)
    .option('--subjects-of <validator>', 'the validator whose subjects the cluster names, without its subject_namespace')
    .option('--subject-namespace <prefix>', 'what is put before the subjects that the cluster names')
    .option('--kubeconfig <file>', 'kubeconfig file; the service account of the pod where absent')
    .option('--context <name>', 'context of the kubeconfig file, instead of its current one')
    .option('--lease <namespace/name>', 'Lease by which one of several processes leads', readLease)
    .option('--endpoint <port>', 'of pods, mirror podIP and this port (or its name) as the label ownership.endpoint.label', readEndpoint)
    .option('--metrics <ip:port>', 'show /metrics, /livez and /readyz here', readAddress)
    .option('--most-removals <percent>', 'percent of the records that one list may remove', wholeNumber(0, 100), 50)
    .option('--allow-mass-removal', 'let a list remove any number of records')
    .option('--page-size <objects>', 'objects of a page of a list', wholeNumber(1, 10_000), 500)
    .option('--watch-seconds <seconds>', 'a watch is renewed after so long; a silent one 10 s later', wholeNumber(5, 3600), 60)
    .option('--once', 'take in one list, and end')
  withCommon(command, io).action(async (options: KubernetesOptions) => {
    if (options.subjectsOf !== undefined && options.subjectNamespace !== undefined)
      throw new CommandFailed(2, 'expected one of --subjects-of and --subject-namespace')
    if (options.context !== undefined && options.kubeconfig === undefined)
      throw new CommandFailed(2, '--context: expected --kubeconfig too')
    const id = options.id ?? (options.namespace.length === 1 ? ({ kind: 'name' } as const) : undefined)
    if (id === undefined)
      throw new CommandFailed(2, '--id: names are unique in one namespace only: expected name, namespace.name, label:KEY or annotation:KEY')
    const loaded = await loadPolicy(options, io)
    const stop = new AbortController()
    const onSignal = (): void => stop.abort()
    process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
    try {
      const end = await syncKubernetes(
        {
          loaded,
          version,
          env: io.env,
          resources: options.resource,
          namespaces: options.namespace,
          selector: options.selector,
          id,
          subjects: subjectsOf(options),
          kubeconfig: options.kubeconfig,
          context: options.context,
          lease: options.lease,
          cluster: options.cluster,
          once: options.once ?? false,
          endpoint: options.endpoint,
          metrics: options.metrics,
          mostRemovals: options.allowMassRemoval ? 100 : options.mostRemovals,
          pageSize: options.pageSize,
          watchSeconds: options.watchSeconds,
        },
        stop.signal,
      )
      if (end === 'held')
        throw new CommandFailed(1, 'the list lacks more than may be removed at once: see the log; --allow-mass-removal lets it')
    } catch (cause) {
      throw cause instanceof StartRefused ? new CommandFailed(cause.fault === 'policy' ? 2 : 1, ...cause.sentences) : cause
    } finally {
      process.off('SIGTERM', onSignal).off('SIGINT', onSignal)
    }
  })
}

function subjectsOf({ subjectsOf: validator, subjectNamespace: prefix }: KubernetesOptions): SyncOptions['subjects'] {
  if (validator !== undefined) return { validator }
  return prefix === undefined ? undefined : { prefix }
}
