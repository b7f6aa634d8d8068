import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'
import { ownerLabelValue } from '../../src/core/ownership.ts'
import { type OidcIssuer, startOidc } from '../support/oidc.ts'
import { request } from '../support/request.ts'
import { until } from '../support/until.ts'
import { type Sample, startSample } from '../upstreams/rig.ts'
import { owner, type Rig, startRig, withoutCluster } from './rig.ts'

const template = (name: string): string => fileURLToPath(new URL(`../../deploy/upstreams/pod-templates/${name}`, import.meta.url))
const rbac = fileURLToPath(new URL('../../deploy/upstreams/rbac.yaml', import.meta.url))
const namespace = 'agentcube-system'
const mail = 'alice@example.com'

interface Made {
  readonly metadata: {
    labels?: Record<string, string>
    annotations?: Record<string, string>
    ownerReferences?: { kind: string; name: string }[]
  }
  readonly spec: { podTemplate?: Made; containers?: { env: { name: string; value: string }[] }[] }
}

describe('the workload manager in a cluster', function () {
  this.timeout(120_000)
  let rig: Rig
  let issuer: OidcIssuer
  let manager: Sample
  const samples: Sample[] = []

  const start = async (pods: string): Promise<Sample> => {
    const token = rig.folder.file('manager.token')
    writeFileSync(token, await rig.kubernetes.token(namespace, 'workloadmanager'), { mode: 0o600 })
    const cluster = ['--kube-url', rig.kubernetes.url, '--kube-ca', rig.kubernetes.ca, '--kube-token-file', token]
    const common = ['--mode', 'jwt', '--issuer', issuer.issuer, '--jwks', issuer.jwksUri]
    const sample = await startSample('workloadmanager', [...common, ...cluster, '--pods', '--pod-template', template(pods)])
    samples.push(sample)
    return sample
  }

  before(async function () {
    if (withoutCluster() !== undefined) this.skip()
    issuer = await startOidc({ algorithms: ['ES256'] })
    rig = await startRig()
    await rig.kubernetes.createServiceAccount(namespace, 'workloadmanager')
    for (const manifest of parseAllDocuments(readFileSync(rbac, 'utf8')).map((one) => one.toJS() as { kind: string }))
      await rig.kubernetes.call(
        'POST',
        `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/${manifest.kind.toLowerCase()}s`,
        manifest,
      )
    manager = await start('jwt.yaml')
  })
  after(async () => {
    for (const sample of samples) await sample.stop()
    await rig?.stop()
    await issuer?.stop()
  })

  const ask = async (method: string, path: string, sub: string, resource?: string, body?: string, port = manager.port) => {
    const token = await issuer.mint({ sub, aud: 'workloadmanager', ...(resource !== undefined && { resource }) })
    return request({ port, method, path, headers: { authorization: `Bearer ${token}` }, ...(body !== undefined && { body }) })
  }
  const object = (name: string) =>
    rig.kubernetes.call(
      'GET',
      `/apis/agents.x-k8s.io/v1alpha1/namespaces/${namespace}/sandboxes/${name}`,
    ) as Promise<unknown> as Promise<Made>
  const pod = (name: string) =>
    rig.kubernetes.call('GET', `/api/v1/namespaces/${namespace}/pods/${name}`) as Promise<unknown> as Promise<Made>

  it('writes the subject on the Sandbox, its template and the Pod, as the label that the sync reads', async () => {
    const answer = await ask('POST', '/v1/sandboxes', 'alice', undefined, '{"id":"s1"}')
    assert.equal(answer.status, 201, answer.body)
    const made = await object('s1')
    assert.equal(made.metadata.labels?.[owner], 'alice')
    assert.equal(made.spec.podTemplate?.metadata.labels?.[owner], 'alice')
    const { metadata, spec } = await pod('s1')
    assert.equal(metadata.labels?.[owner], 'alice')
    assert.deepEqual(
      metadata.ownerReferences?.map(({ kind, name }) => `${kind}/${name}`),
      ['Sandbox/s1'],
    )
    assert.deepEqual(spec.containers?.[0]?.env.at(-1), { name: 'PICOD_SANDBOX', value: 's1' })
  })

  it('writes a subject that is no label value as a hash, with itself in the annotation', async () => {
    assert.equal((await ask('POST', '/v1/sandboxes', mail, undefined, '{"id":"s2"}')).status, 201)
    for (const { metadata } of [await object('s2'), await pod('s2')]) {
      assert.equal(metadata.labels?.[owner], ownerLabelValue(mail))
      assert.equal(metadata.annotations?.[owner], mail)
    }
  })

  it('lists to each their own', async () => {
    const ids = async (sub: string) =>
      (JSON.parse((await ask('GET', '/v1/sandboxes', sub)).body) as { items: { id: string }[] }).items.map(({ id }) => id)
    assert.deepEqual([await ids('alice'), await ids(mail), await ids('bob')], [['s1'], ['s2'], []])
  })

  it('answers 409 where the name is taken, and changes nothing', async () => {
    assert.equal((await ask('POST', '/v1/sandboxes', 'bob', undefined, '{"id":"s1"}')).status, 409)
    assert.equal((await object('s1')).metadata.labels?.[owner], 'alice')
  })

  it('is mirrored, so that Postern knows the owners', async () => {
    const sync = rig.sync('--namespace', namespace, '--resource', 'sandboxes.agents.x-k8s.io=sandbox', '--subject-namespace', '')
    await sync.log('in step with the cluster')
    const ownerOf = async (id: string) => {
      const labels = await rig.labels('sandbox', id)
      return labels?.[`annotation:${owner}`] ?? labels?.[owner]
    }
    await until('alice to own s1', async () => (await ownerOf('s1')) === 'alice')
    await until('s2 to have its owner', async () => (await ownerOf('s2')) === mail)
    assert.equal((await ask('DELETE', '/v1/sandboxes/s1', 'alice', 'sandbox:s1')).status, 204)
    await until('s1 to be nobody’s', async () => (await ownerOf('s1')) === undefined)
    await sync.stop()
  })

  it('deletes only what the token names', async () => {
    assert.equal((await ask('DELETE', '/v1/sandboxes/s2', mail, 'sandbox:s1')).status, 403)
    assert.equal((await ask('DELETE', '/v1/sandboxes/s2', mail)).status, 403)
    assert.equal((await ask('DELETE', '/v1/sandboxes/s2', mail, 'sandbox:s2')).status, 204)
    await assert.rejects(object('s2'))
    assert.equal((await ask('DELETE', '/v1/sandboxes/s2', mail, 'sandbox:s2')).status, 404)
  })

  for (const name of ['secrets.yaml', 'spire.yaml'])
    it(`makes Pods of ${name} that the API server takes`, async () => {
      const other = await start(name)
      const id = name.replace('.yaml', '')
      const answer = await ask('POST', '/v1/sandboxes', 'alice', undefined, JSON.stringify({ id }), other.port)
      assert.equal(answer.status, 201, answer.body)
      assert.equal((await pod(id)).metadata.labels?.[owner], 'alice')
    })

  it('leaves no Sandbox behind where the Pod cannot be made', async () => {
    await rig.kubernetes.call('POST', `/api/v1/namespaces/${namespace}/pods`, {
      ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'taken' } },
      spec: { containers: [{ name: 'x', image: 'x' }] },
    })
    assert.equal((await ask('POST', '/v1/sandboxes', 'alice', undefined, '{"id":"taken"}')).status, 500)
    await assert.rejects(object('taken'))
  })
})
