import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { checkers, faultsOf, versions } from './kubeconform.ts'
import { containers, type Manifest, manifests, missing, pods, program, renderers, renderings } from './rendered.ts'

const overlays = fileURLToPath(new URL('../../deploy/kubernetes/overlays', import.meta.url))
const holds = (labels: Record<string, string>, selector: Record<string, string>): boolean =>
  Object.entries(selector).every(([key, value]) => labels[key] === value)
const deploymentWith = (objects: readonly Manifest[], container: string): Manifest => {
  const found = objects.find(
    (object) => object.kind === 'Deployment' && pods(object).some((pod) => containers(pod).some((one) => one.name === container)),
  )
  assert.ok(found, container)
  return found
}

/** What values-minimal.yaml turns off. */
const minimal = 'the chart with values-minimal.yaml'

describe('what a deployment of Postern is made of', function () {
  this.timeout(60_000)
  before(function () {
    if (missing(...renderers)) this.skip()
  })

  for (const { name, text } of renderings().filter((one) => /overlays|chart/.test(one.name)))
    it(`${name}: spread, disruption budget, autoscaler, network policy, drain, account`, () => {
      const objects = manifests(text())
      for (const container of ['postern', 'envoy']) {
        const deployment = deploymentWith(objects, container)
        const [pod] = pods(deployment)
        assert.ok(pod)
        const labels = pod.metadata.labels ?? {}
        const of = (kind: string) => objects.filter((object) => object.kind === kind)
        const { spec } = pod as unknown as {
          spec: Record<string, never> & { topologySpreadConstraints: { topologyKey: string }[]; serviceAccountName: string }
        }
        assert.deepEqual(
          spec.topologySpreadConstraints.map(({ topologyKey }) => topologyKey),
          ['kubernetes.io/hostname', 'topology.kubernetes.io/zone'],
        )
        const budgets = of('PodDisruptionBudget').filter((one) => holds(labels, one['spec'].selector.matchLabels))
        assert.equal(budgets.length, name === minimal ? 0 : 1)
        assert.ok(of('NetworkPolicy').some((one) => holds(labels, one['spec'].podSelector.matchLabels)))
        const account = of('ServiceAccount').find(({ metadata }) => metadata.name === spec.serviceAccountName)
        assert.equal(account?.['automountServiceAccountToken'], false)
        // A sidecar container is ended after the others; it needs no time of its own.
        const own = containers(pod).find((one) => one.name === container)
        if (own?.['restartPolicy'] !== 'Always') assert.ok(own?.['lifecycle'].preStop, container)
        assert.equal(deployment['spec'].strategy.rollingUpdate.maxUnavailable, 0)
        const scaler = of('HorizontalPodAutoscaler').find((one) => one['spec'].scaleTargetRef.name === deployment.metadata.name)
        if (container === 'postern' && name !== minimal) assert.equal(scaler?.['spec'].metrics[0].resource.name, 'cpu')
      }
    })

  it('the Service that Envoy asks is headless, and its Pods’ check port', () => {
    for (const { name, text } of renderings().filter((one) => /overlays|chart/.test(one.name))) {
      const objects = manifests(text())
      const checks = objects.find(({ kind, spec }) => kind === 'Service' && spec.ports.some((one: { port: number }) => one.port === 9191))
      const [pod] = pods(deploymentWith(objects, 'postern'))
      const port = containers(pod!)
        .find((one) => one.name === 'postern')
        ?.['ports']?.find((one: { name: string }) => one.name === 'check')
      if (checks === undefined) assert.equal(port, undefined, name)
      else assert.deepEqual([checks['spec'].clusterIP, port.containerPort], ['None', 9191], name)
    }
  })
})

describe('the component prometheus', function () {
  this.timeout(60_000)
  let folder: TemporaryFolder
  before(function () {
    if (missing(...renderers, ...checkers)) this.skip()
    folder = temporaryFolder('component')
  })
  after(() => folder?.remove())

  for (const [overlay, scaled] of [
    ['shared', 'postern'],
    ['sidecar', 'router'],
  ] as const)
    it(`with the overlay ${overlay} scales ${scaled} on the latency of checks too`, () => {
      const own = folder.file(overlay)
      mkdirSync(own)
      const at = (path: string): string => relative(own, `${overlays}/${path}`)
      const text = `resources: [${at(overlay)}]\ncomponents: [${at('components/prometheus')}]\n`
      writeFileSync(`${own}/kustomization.yaml`, text)
      const built = execFileSync(program('POSTERN_TEST_KUSTOMIZE'), ['build', own], { encoding: 'utf8' })
      const objects = manifests(built)
      const scalers = objects.filter(({ kind }) => kind === 'HorizontalPodAutoscaler')
      assert.deepEqual(
        scalers.map(({ spec }) => [
          spec.scaleTargetRef.name,
          ...spec.metrics.map(
            (one: { pods?: { metric: { name: string } }; resource?: { name: string } }) => one.pods?.metric.name ?? one.resource?.name,
          ),
        ]),
        [[scaled, 'cpu', 'postern_check_duration_p95']],
      )
      const monitor = objects.find(({ kind }) => kind === 'ServiceMonitor')
      const watched = objects.filter(
        ({ kind, metadata }) => kind === 'Service' && holds(metadata.labels ?? {}, monitor?.['spec'].selector.matchLabels),
      )
      assert.deepEqual(
        watched.map(({ metadata, spec }) => [
          metadata.name,
          spec.ports.some((one: { name: string }) => one.name === monitor?.['spec'].endpoints[0].port),
        ]),
        [['postern-api', true]],
      )
      for (const version of versions) assert.deepEqual(faultsOf([built], version), [[]])
    })
})
