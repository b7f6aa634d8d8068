import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { containers, type Manifest, manifests, missing, namespace, pods, renderers, renderings } from './rendered.ts'
import { posternPod } from './written.ts'

type Labels = Readonly<Record<string, string>>
interface Place {
  readonly labels: Labels
  readonly namespace: string
  /** Names of its ports. */
  readonly ports?: Readonly<Record<string, number>>
}
interface Peer {
  readonly podSelector?: { readonly matchLabels?: Labels }
  readonly namespaceSelector?: { readonly matchLabels?: Labels }
}
interface Rule {
  readonly from?: readonly Peer[]
  readonly to?: readonly Peer[]
  readonly ports?: readonly { readonly port: number | string; readonly protocol: string }[]
}

const holds = (labels: Labels, { matchLabels = {} }: { matchLabels?: Labels } = {}): boolean =>
  Object.entries(matchLabels).every(([key, value]) => labels[key] === value)

/** Whether NetworkPolicies let a TCP connection through: where none selects a Pod all may, else what some rule allows. */
function allowed(objects: readonly Manifest[], from: Place, to: Place, port: number): boolean {
  const policies = objects.filter(({ kind }) => kind === 'NetworkPolicy')
  const lets = (direction: 'Ingress' | 'Egress', own: Place, other: Place): boolean => {
    const selecting = policies.filter(
      ({ spec, metadata }) =>
        spec.policyTypes.includes(direction) && (metadata.namespace ?? namespace) === own.namespace && holds(own.labels, spec.podSelector),
    )
    const rules = selecting.flatMap(({ spec }) => (spec[direction.toLowerCase()] ?? []) as Rule[])
    const isPeer = ({ podSelector, namespaceSelector }: Peer): boolean =>
      holds(other.labels, podSelector) &&
      (namespaceSelector === undefined
        ? other.namespace === own.namespace
        : holds({ 'kubernetes.io/metadata.name': other.namespace }, namespaceSelector))
    const isPort = (one: NonNullable<Rule['ports']>[number]): boolean =>
      one.protocol === 'TCP' && (typeof one.port === 'number' ? one.port : to.ports?.[one.port]) === port
    return (
      selecting.length === 0 ||
      rules.some((rule) => {
        const peers = direction === 'Ingress' ? rule.from : rule.to
        return (peers === undefined || peers.some(isPeer)) && (rule.ports === undefined || rule.ports.some(isPort))
      })
    )
  }
  return lets('Egress', from, to) && lets('Ingress', to, from)
}

const named = (name: string, where = namespace): Place => ({ labels: { 'app.kubernetes.io/name': name }, namespace: where })
const others = {
  anybody: named('anybody', 'default'),
  neighbour: named('neighbour'),
  prometheus: named('prometheus', 'monitoring'),
  workloadmanager: named('workloadmanager'),
  picod: named('picod', 'sandboxes'),
  keycloak: named('keycloak'),
  redis: named('redis'),
  'redis-cluster': named('redis-cluster'),
}

const placeOf = (pod: Manifest): Place => ({
  labels: pod.metadata.labels ?? {},
  namespace: pod.metadata.namespace ?? namespace,
  ports: Object.fromEntries(
    containers(pod).flatMap(({ ports = [] }) =>
      ports.map(({ name, containerPort }: { name: string; containerPort: number }) => [name, containerPort]),
    ),
  ),
})

describe('who reaches whom, by the manifests', function () {
  this.timeout(30_000)
  before(function () {
    if (missing(...renderers)) this.skip()
  })

  for (const { name, text } of renderings().filter((one) => /overlays|chart/.test(one.name)))
    it(`${name}: what docs/guides/kubernetes.md says, and nothing else`, () => {
      const objects = manifests(text())
      const having = (container: string): Place => {
        const found = objects.flatMap(pods).find((pod) => containers(pod).some((one) => one.name === container))
        assert.ok(found, container)
        return placeOf(found)
      }
      const [postern, router] = [having('postern'), having('envoy')]
      const { listen, state } = parse(posternPod(objects).policy['postern.yaml'] ?? '') as {
        listen: Record<'check' | 'ext_proc' | 'admin' | 'issuer', { address: string } | undefined>
        state: { redis?: { cluster?: unknown } }
      }
      const shared = listen.check?.address === '0.0.0.0:9191'
      const open = (listener: keyof typeof listen): boolean => listen[listener]?.address.startsWith('0.0.0.0:') === true
      const store = state.redis?.cluster ? 'redis-cluster' : 'redis'
      const test = objects.find(({ kind, metadata }) => kind === 'Pod' && metadata.name.endsWith('-test'))
      const { anybody, neighbour, prometheus, workloadmanager, picod, keycloak } = others
      const table: readonly (readonly [string, Place, Place, number, boolean])[] = [
        ['anybody → router', anybody, router, 10000, true],
        ['anybody → admin of Envoy', anybody, router, 9901, false],
        ...(shared
          ? ([
              ['router → checks', router, postern, 9191, true],
              ['router → ext_proc', router, postern, 9194, open('ext_proc')],
              ['Postern → workload manager', postern, workloadmanager, 8080, false],
              ['router → Redis', router, others[store], 6379, false],
              ['router → admin', router, postern, 9192, false],
            ] as const)
          : []),
        ...[anybody, neighbour, workloadmanager, picod, prometheus].flatMap((who) => [
          [`${Object.values(who.labels)} → checks`, who, postern, 9191, false] as const,
          [`${Object.values(who.labels)} → ext_proc`, who, postern, 9194, false] as const,
        ]),
        ['Prometheus → metrics', prometheus, postern, 9192, open('admin')],
        ['a Prometheus of this namespace → metrics', named('prometheus'), postern, 9192, false],
        ['workload manager → owner API', workloadmanager, postern, 9192, open('admin')],
        ['anybody → admin', anybody, postern, 9192, false],
        ['neighbour → admin', neighbour, postern, 9192, false],
        ['picod → admin', picod, postern, 9192, false],
        ['workload manager → keys', workloadmanager, postern, 9193, open('issuer')],
        ['picod → keys', picod, postern, 9193, open('issuer')],
        ['neighbour → keys', neighbour, postern, 9193, false],
        ['Postern → its state', postern, others[store], 6379, true],
        ['Postern → another Redis', postern, others[store === 'redis' ? 'redis-cluster' : 'redis'], 6379, false],
        ['Postern → Keycloak', postern, keycloak, 8443, true],
        ['router → Keycloak', router, keycloak, 8443, true],
        ['router → workload manager', router, workloadmanager, 8080, true],
        ['router → picod, by mTLS', router, picod, 8443, true],
        ['router → neighbour', router, neighbour, 8080, false],
        ['Postern → anybody', postern, anybody, 443, false],
        ...(test
          ? ([
              ['helm test → readiness', placeOf(test), postern, 9192, open('admin')],
              ['helm test → keys', placeOf(test), postern, 9193, open('issuer')],
            ] as const)
          : []),
      ]
      assert.deepEqual(
        table.map(([what, from, to, port]) => `${what}: ${allowed(objects, from, to, port)}`),
        table.map(([what, , , , expected]) => `${what}: ${expected}`),
      )
    })

  it('tokens are issued under a name of a Service, which the certificate bears and the upstreams know', () => {
    const file = (path: string): string => readFileSync(fileURLToPath(new URL(`../../deploy/${path}`, import.meta.url)), 'utf8')
    const templates = fileURLToPath(new URL('../../deploy/upstreams/pod-templates', import.meta.url))
    const told = new Set([
      ...readdirSync(templates).flatMap(
        (one) => /PICOD_ISSUER, value: "([^"]+)"/.exec(readFileSync(join(templates, one), 'utf8'))?.[1] ?? [],
      ),
      ...[...file('upstreams/sidecar.yaml').matchAll(/issuer: (https:\S+)/g)].map(([, url]) => url ?? ''),
    ])
    const ids = manifests(file('kubernetes/spire/ids.yaml')).filter(({ kind }) => kind === 'ClusterSPIFFEID')
    let seen = 0
    for (const { name, text } of renderings().filter((one) => /overlays|chart/.test(one.name))) {
      const objects = manifests(text())
      const { pod, policy } = posternPod(objects)
      const { listen } = parse(policy['postern.yaml'] ?? '') as { listen: { issuer?: { url: string; tls: { cert: string } } } }
      if (listen.issuer === undefined) continue
      const { hostname, port, origin } = new URL(listen.issuer.url)
      const service = objects.find(({ kind, metadata }) => kind === 'Service' && `${metadata.name}.${namespace}.svc` === hostname)
      assert.ok(
        service?.['spec'].ports.some((one: { port: number }) => String(one.port) === port),
        `${name}: ${hostname}`,
      )
      assert.deepEqual([...told], [origin], name)
      seen++
      if (!containers(pod).some((one) => one.name === 'spiffe-helper')) continue
      const id = ids.find(({ spec }) => holds(pod.metadata.labels ?? {}, spec.podSelector))
      assert.ok(id, name)
      const account = pod['spec'].serviceAccountName as string
      const names = (id['spec'].dnsNameTemplates as string[]).map((one) =>
        one.replace('{{ .PodSpec.ServiceAccountName }}', account).replace('{{ .PodMeta.Namespace }}', namespace),
      )
      assert.ok(names.includes(hostname), `${name}: ${names.join(', ')}`)
    }
    assert.ok(seen > 5)
  })
})
