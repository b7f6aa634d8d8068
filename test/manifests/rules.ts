import { containers, type Manifest, pods } from './rendered.ts'

/** What every manifest of the project keeps to. */
export interface Rule {
  readonly name: string
  /** What breaks it; none where nothing does. */
  readonly faults: (object: Manifest) => string[]
}

type Container = ReturnType<typeof containers>[number]

const inPods = (is: (pod: Manifest) => boolean, what: (pod: Manifest) => string) => (object: Manifest) =>
  pods(object)
    .filter((pod) => !is(pod))
    .map(what)
const inContainers = (is: (container: Container, pod: Manifest) => boolean) => (object: Manifest) =>
  pods(object).flatMap((pod) =>
    containers(pod)
      .filter((container) => !is(container, pod))
      .map(({ name }) => name),
  )

const tag = /^[^\s@:]+(?::\d+\/[^\s@:]+)?(?::(?!latest(?:@|$))[\w][\w.-]*(?:@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$/
/** Names under which a secret would stand. */
const secretName = /password|secret|token|encryption_key|private_key/i
const reference = /^(?:\$\{(?:file|env):[^}]+\}|)$/

/** Postern and what runs beside it; not what has to reach the node itself, such as SPIRE's agent and its driver. */
const privileged = (pod: Manifest): boolean =>
  pod['spec'].hostPID === true || (pod['spec'].volumes ?? []).some((volume: { hostPath?: object }) => volume.hostPath !== undefined)

export const rules: readonly Rule[] = [
  {
    name: 'no container runs as root',
    faults: inContainers((container, pod) => {
      const own = { ...pod['spec'].securityContext, ...container['securityContext'] }
      return privileged(pod) || (own.runAsNonRoot === true && own.runAsUser !== 0)
    }),
  },
  {
    name: 'no container may become more',
    faults: inContainers((container, pod) => privileged(pod) || container['securityContext']?.allowPrivilegeEscalation === false),
  },
  {
    name: 'all capabilities are dropped',
    faults: inContainers((container, pod) => privileged(pod) || container['securityContext']?.capabilities?.drop?.includes('ALL') === true),
  },
  {
    name: 'the root file system is read-only',
    faults: inContainers((container) => container['securityContext']?.readOnlyRootFilesystem === true || container.name === 'keycloak'),
  },
  {
    name: 'the seccomp profile is that of the runtime',
    faults: inContainers((container, pod) => {
      const profile = container['securityContext']?.seccompProfile ?? pod['spec'].securityContext?.seccompProfile
      return privileged(pod) || profile?.type === 'RuntimeDefault'
    }),
  },
  {
    name: 'each container asks for CPU and memory, and has a limit of memory',
    faults: inContainers(({ resources }) => Boolean(resources?.requests?.cpu && resources.requests.memory && resources.limits?.memory)),
  },
  {
    name: 'no Service makes environment variables',
    faults: inPods(
      (pod) => pod['spec'].enableServiceLinks === false || containers(pod).every(({ image }) => !/(?:^|\/)postern[:@]/.test(image)),
      () => 'enableServiceLinks is not false',
    ),
  },
  { name: 'each image has a tag or digest, and never latest', faults: inContainers(({ image }) => tag.test(image)) },
  {
    name: 'an account token is mounted where it is asked for alone',
    faults: inPods(
      (pod) => typeof pod['spec'].automountServiceAccountToken === 'boolean',
      () => 'automountServiceAccountToken is not said',
    ),
  },
  { name: 'no Secret is made', faults: ({ kind, metadata }) => (kind === 'Secret' ? [metadata.name] : []) },
  {
    name: 'no value of a secret stands in a container',
    faults: inContainers(({ env = [] }) =>
      env.every(
        ({ name, value = '' }: { name: string; value?: string }) =>
          !secretName.test(name) || reference.test(value) || /^(?:true|false|\/\S*)$/.test(value),
      ),
    ),
  },
  {
    name: 'no value of a secret stands in a policy',
    faults: ({ kind, data = {} }) =>
      kind !== 'ConfigMap'
        ? []
        : Object.entries(data as Record<string, string>).flatMap(([file, text]) =>
            file.endsWith('.yaml')
              ? [...text.matchAll(/^\s*(?:- )?\{?\s*(?:password|secret|encryption_key): ?"?([^"\n},]+\}?)/gm)]
                  .filter(([, value = '']) => !reference.test(value.trim()))
                  .map(([line]) => `${file}: ${line.trim()}`)
              : [],
          ),
  },
  {
    name: 'no policy is mounted by subPath, which is never updated',
    faults: inContainers(({ volumeMounts = [] }) =>
      volumeMounts.every(({ name, subPath }: { name: string; subPath?: string }) => name !== 'policy' || subPath === undefined),
    ),
  },
  {
    name: 'each mount names a volume',
    faults: (object) => {
      const claimed = (object['spec']?.volumeClaimTemplates ?? []).map(({ metadata }: Manifest) => metadata.name)
      return inContainers(({ volumeMounts = [] }, pod) => {
        const volumes = [...claimed, ...(pod['spec'].volumes ?? []).map(({ name }: { name: string }) => name)]
        return volumeMounts.every(({ name }: { name: string }) => volumes.includes(name))
      })(object)
    },
  },
  {
    name: 'a Deployment takes its Pods away one at a time',
    faults: ({ kind, spec }) =>
      kind !== 'Deployment' ||
      spec.replicas === 1 ||
      spec.strategy?.type === 'Recreate' ||
      spec.template.metadata.labels['app.kubernetes.io/name'] !== 'postern'
        ? []
        : spec.strategy?.rollingUpdate?.maxUnavailable === 0
          ? []
          : ['maxUnavailable is not 0'],
  },
  {
    name: 'Postern has time to drain: 10 s, and what preStop takes',
    faults: inPods(
      (pod) => {
        const postern = containers(pod).find(({ name }) => name === 'postern')
        if (postern === undefined) return true
        return (pod['spec'].terminationGracePeriodSeconds ?? 30) > 15 + (postern['lifecycle']?.preStop?.sleep?.seconds ?? 0)
      },
      () => 'terminationGracePeriodSeconds is too short',
    ),
  },
  {
    name: 'Postern has the three probes',
    faults: inContainers(
      (container) =>
        container.name !== 'postern' || ['startupProbe', 'readinessProbe', 'livenessProbe'].every((probe) => probe in container),
    ),
  },
]
