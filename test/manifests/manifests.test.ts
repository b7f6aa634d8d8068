import assert from 'node:assert/strict'
import { checkers, faultsOf, versions } from './kubeconform.ts'
import { containers, type Manifest, manifests, missing, pods, renderers, renderings } from './rendered.ts'
import { rules } from './rules.ts'

describe('the manifests of Kubernetes', function () {
  this.timeout(60_000)
  before(function () {
    if (missing(...renderers, ...checkers)) this.skip()
  })

  const all = renderings()
  for (const version of versions)
    it(`fit the schemas of Kubernetes ${version}, without an unknown field`, () => {
      const faults = faultsOf(
        all.map(({ text }) => text()),
        version,
      )
      assert.deepEqual(
        all.map(({ name }, i) => [name, faults[i]]),
        all.map(({ name }) => [name, []]),
      )
    })

  for (const rendering of all)
    describe(rendering.name, () => {
      for (const { name, faults } of rules)
        it(name, () => {
          const objects = manifests(rendering.text())
          assert.ok(objects.length > 0)
          assert.deepEqual(
            objects.flatMap((object) => faults(object).map((fault) => `${object.kind} ${object.metadata.name}: ${fault}`)),
            [],
          )
        })

      it('selects its own Pods', () => {
        const objects = manifests(rendering.text())
        const labels = objects.flatMap(pods).map((pod) => pod.metadata.labels ?? {})
        const chosen = (selector: Record<string, string>) =>
          labels.some((those) => Object.entries(selector).every(([key, value]) => those[key] === value))
        for (const { kind, metadata, spec } of objects) {
          const selector = kind === 'Service' ? spec.selector : kind === 'PodDisruptionBudget' ? spec.selector.matchLabels : undefined
          if (selector) assert.ok(chosen(selector), `${kind} ${metadata.name} selects nothing`)
          const target = kind === 'HorizontalPodAutoscaler' ? spec.scaleTargetRef.name : undefined
          if (target)
            assert.ok(
              objects.some(
                (other) => other.kind === 'Deployment' && other.metadata.name === target && other['spec'].replicas === undefined,
              ),
            )
        }
      })
    })
})

/** Manifests that are broken in one place each. */
const broken: readonly { readonly name: string; readonly rule?: string; readonly change: (pod: Manifest, object: Manifest) => void }[] = [
  { name: 'an unknown field', change: (pod) => Object.assign(pod['spec'], { enableServiceLink: false }) },
  { name: 'a text for a number', change: (pod) => Object.assign(pod['spec'], { terminationGracePeriodSeconds: '30s' }) },
  {
    name: 'a probe of a kind that is none',
    change: (pod) => Object.assign(containers(pod)[0]!, { livenessProbe: { http: { path: '/' } } }),
  },
  {
    name: 'an image of no version',
    rule: 'each image has a tag or digest, and never latest',
    change: (pod) => Object.assign(containers(pod)[0]!, { image: 'postern' }),
  },
  {
    name: 'the latest image',
    rule: 'each image has a tag or digest, and never latest',
    change: (pod) => Object.assign(containers(pod)[0]!, { image: 'postern:latest' }),
  },
  {
    name: 'root',
    rule: 'no container runs as root',
    change: (pod) => Object.assign(containers(pod)[0]!, { securityContext: { runAsUser: 0 } }),
  },
  { name: 'service links', rule: 'no Service makes environment variables', change: (pod) => delete pod['spec'].enableServiceLinks },
  {
    name: 'no resources',
    rule: 'each container asks for CPU and memory, and has a limit of memory',
    change: (pod) => delete containers(pod)[0]!['resources'],
  },
  {
    name: 'a password',
    rule: 'no value of a secret stands in a container',
    change: (pod) => Object.assign(containers(pod)[0]!, { env: [{ name: 'REDIS_PASSWORD', value: 'hunter2' }] }),
  },
  {
    name: 'little time',
    rule: 'Postern has time to drain: 10 s, and what preStop takes',
    change: (pod) => Object.assign(pod['spec'], { terminationGracePeriodSeconds: 10 }),
  },
  { name: 'no readiness', rule: 'Postern has the three probes', change: (pod) => delete containers(pod)[0]!['readinessProbe'] },
]

describe('a broken manifest', function () {
  this.timeout(60_000)
  before(function () {
    if (missing(...renderers, ...checkers)) this.skip()
  })

  const shared = renderings().find(({ name }) => name.endsWith('/shared'))
  const changed = (change: (typeof broken)[number]['change']): Manifest => {
    const object = manifests(shared?.text() ?? '').find(({ kind, metadata }) => kind === 'Deployment' && metadata.name === 'postern')
    assert.ok(object)
    for (const pod of pods(object)) change(pod, object)
    return object
  }

  it('is refused by the schemas', () => {
    const against = broken.filter(({ rule }) => rule === undefined)
    const faults = faultsOf(
      against.map(({ change }) => JSON.stringify(changed(change))),
      '1.37.0',
    )
    assert.deepEqual(
      against.map(({ name }, i) => [name, faults[i]?.length]),
      against.map(({ name }) => [name, 1]),
    )
  })

  for (const { name, rule, change } of broken.filter((one) => one.rule !== undefined))
    it(`with ${name} breaks a rule`, () => {
      assert.equal(rules.find((one) => one.name === rule)?.faults(changed(change)).length, 1)
    })
})
