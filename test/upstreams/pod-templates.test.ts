import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { podFor, readPodTemplate } from '../../deploy/upstreams/pod.ts'
import { ownerLabel, ownerMetadata } from '../../sdk/typescript/src/index.ts'
import { ownerLabelValue } from '../../src/core/ownership.ts'

const folder = fileURLToPath(new URL('../../deploy/upstreams/pod-templates/', import.meta.url))
const templates = readdirSync(folder).sort()
const text = (file: string): string => readFileSync(`${folder}${file}`, 'utf8')

interface Spec {
  automountServiceAccountToken?: boolean
  enableServiceLinks?: boolean
  securityContext: { runAsNonRoot?: boolean }
  volumes: { name: string; csi?: object; emptyDir?: object; secret?: object; configMap?: object }[]
  initContainers?: SpecContainer[]
  containers: SpecContainer[]
}
interface SpecContainer {
  name: string
  env?: { name: string; value: string }[]
  volumeMounts: { name: string }[]
  securityContext: { readOnlyRootFilesystem?: boolean; allowPrivilegeEscalation?: boolean; capabilities: { drop: string[] } }
}

describe('owners on Kubernetes objects', () => {
  for (const subject of [
    'alice',
    'kc:alice',
    'a@b.example',
    'x'.repeat(64),
    'sha256-abc',
    '',
    'ä',
    '-a',
    'f3b1c7de-0000-4000-8000-000000000000',
  ])
    it(`stand as Postern writes them: ${JSON.stringify(subject.slice(0, 20))}`, () => {
      const { labels, annotations } = ownerMetadata(subject)
      assert.deepEqual(labels, { [ownerLabel]: ownerLabelValue(subject) })
      assert.deepEqual(annotations, ownerLabelValue(subject) === subject ? {} : { [ownerLabel]: subject })
    })
})

describe('the Pod templates', () => {
  it('are these', () => assert.deepEqual(templates, ['jwt.yaml', 'secrets.yaml', 'spire.yaml']))

  for (const file of templates)
    describe(file, () => {
      const pod = podFor(readPodTemplate(text(file), file), { sandbox: 's1', namespace: 'agents', owner: ownerMetadata('a@b.example') })
      const spec = pod.spec as unknown as Spec
      it('becomes the Pod of one sandbox, with its owner, which it is told', () => {
        const { metadata } = pod
        assert.deepEqual([metadata.name, metadata.namespace, metadata.labels?.['agentcube.io/sandbox']], ['s1', 'agents', 's1'])
        assert.match(metadata.labels?.[ownerLabel] ?? '', /^sha256-[a-z2-7]{52}$/)
        assert.equal(metadata.annotations?.[ownerLabel], 'a@b.example')
        assert.deepEqual(spec.containers[0]?.env?.at(-1), { name: 'PICOD_SANDBOX', value: 's1' })
      })
      it('gives what runs in it nothing that it does not need', () => {
        assert.deepEqual(
          [spec.automountServiceAccountToken, spec.enableServiceLinks, spec.securityContext.runAsNonRoot],
          [false, false, true],
        )
        for (const { securityContext } of [...spec.containers, ...(spec.initContainers ?? [])]) {
          assert.equal(securityContext.readOnlyRootFilesystem, true)
          assert.equal(securityContext.allowPrivilegeEscalation, false)
          assert.deepEqual(securityContext.capabilities.drop, ['ALL'])
        }
      })
      it('mounts only volumes that it has, and all of them', () => {
        const mounted = [...spec.containers, ...(spec.initContainers ?? [])].flatMap(({ volumeMounts }) =>
          volumeMounts.map(({ name }) => name),
        )
        assert.deepEqual([...new Set(mounted)].sort(), spec.volumes.map(({ name }) => name).sort())
      })
      it('names only settings that picod has', () => {
        const readme = readFileSync(`${folder}../README.md`, 'utf8')
        for (const { name } of spec.containers[0]?.env ?? [])
          assert.ok(readme.includes(`\`--${name.replace('PICOD_', '').toLowerCase().replaceAll('_', '-')}`), name)
      })
    })

  it('keep the agent’s socket from what runs in the sandbox', () => {
    const { containers, initContainers } = (parse(text('spire.yaml')) as { spec: Spec }).spec
    const socket = (one: SpecContainer) => one.volumeMounts.some(({ name }) => name === 'agent-socket')
    assert.deepEqual([containers.some(socket), initContainers?.every(socket)], [false, true])
  })

  const broken: Record<string, [string, RegExp]> = {
    'no Pod': ['kind: Deployment\napiVersion: apps/v1', /expected a Pod of v1/],
    'no container of that name': [
      '{ apiVersion: v1, kind: Pod, metadata: {}, spec: { containers: [{ name: x }] } }',
      /a container named picod/,
    ],
    'an owner': [
      `{ apiVersion: v1, kind: Pod, metadata: { labels: { ${ownerLabel}: eve } }, spec: { containers: [{ name: picod }] } }`,
      /written by the workload manager/,
    ],
  }
  for (const [name, [template, says]] of Object.entries(broken))
    it(`are refused with ${name}`, () => assert.throws(() => readPodTemplate(template, 'x.yaml'), says))
})
