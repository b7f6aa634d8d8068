import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parse } from 'yaml'
import { freePort } from '../support/free-port.ts'
import { startProgram } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { type Cluster, type Entry, mayMount, startCluster, withoutCluster } from './cluster.ts'
import { createContainer } from './container.ts'
import { helperConfiguration } from './helper.ts'
import { type Kubelet, startKubelet } from './kubelet.ts'
import { type Manifest, missing, pathOf, shippedFile, shippedFiles, shippedManifests } from './manifests.ts'

const execute = promisify(execFile)
const namespace = 'agentcube-system'
const guide = new URL('../../docs/guides/spire.md', import.meta.url)

describe('SPIRE’s manifests', function () {
  this.timeout(120_000)
  let cluster: Cluster
  let withWebhook = false
  let kubelet: Kubelet
  before(async function () {
    if (withoutCluster() !== undefined) return this.skip()
    cluster = await startCluster()
    await cluster.applyDefinitions()
    // "restricted": what is the strictest that Pod security has.
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' }
    await cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } } as Manifest)
    withWebhook = await mayMount()
    kubelet = await startKubelet(cluster.kubernetes, 'node-1')
  })
  after(async () => {
    await cluster?.stop()
    await kubelet?.stop()
  })

  it('are all in the kustomization', () => {
    const { resources } = parse(readFileSync(new URL('../../deploy/kubernetes/spire/kustomization.yaml', import.meta.url), 'utf8'))
    assert.deepEqual([...resources].sort(), shippedFiles().sort())
  })

  it('are accepted by the API server, and nothing of them is pruned', async () => {
    for (const manifest of shippedManifests()) {
      const found = await cluster.apply(manifest)
      assert.deepEqual(missing(manifest, found), [], pathOf(manifest))
    }
    // A second time nothing changes.
    for (const manifest of shippedManifests().filter(({ kind }) => kind !== 'ClusterSPIFFEID')) await cluster.apply(manifest)
  })

  it('hold files that SPIRE accepts', async () => {
    const folder = temporaryFolder()
    try {
      for (const [program, key] of [
        ['spire-server', 'server.conf'],
        ['spire-agent', 'agent.conf'],
      ] as const) {
        writeFileSync(folder.file(key), shippedFile(program, key))
        await execute(join(process.env['POSTERN_TEST_SPIRE'] ?? '', program), ['validate', '-config', folder.file(key)])
      }
    } finally {
      folder.remove()
    }
  })

  it('demand of Pod security what their pods need, and no pod of the platform’s more than "restricted"', async () => {
    const podOf = (name: string, kind: string): Manifest => {
      const owner = shippedManifests().find((one) => one.kind === kind && one.metadata.name === name)
      const { template } = (owner as unknown as { spec: { template: { spec: object; metadata: object } } }).spec
      return { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'spire' }, spec: template.spec }
    }
    for (const name of ['spire-agent', 'spiffe-csi-driver']) await cluster.apply(podOf(name, 'DaemonSet'), true)
    const server = podOf('spire-server', 'StatefulSet')
    // Its volume is made of the claim template.
    const spec = server['spec'] as { volumes: object[] }
    const volumes = [...spec.volumes, { name: 'data', emptyDir: {} }]
    await cluster.apply({ ...server, metadata: { name: 'spire-server', namespace }, spec: { ...spec, volumes } }, true)
    await assert.rejects(cluster.apply({ ...podOf('spire-agent', 'DaemonSet'), metadata: { name: 'agent', namespace } }, true), /hostPath/)
    for (const pod of podsOfGuide()) await cluster.apply(pod, true)
  })

  describe('with the server that they describe', () => {
    before(() => cluster?.startServer())

    it('publish its authorities', async () => {
      const path = '/api/v1/namespaces/spire/configmaps/spire-bundle'
      const read = async () => ((await cluster.kubernetes.call('GET', path)) as { data?: Record<string, string> }).data?.['bundle.crt']
      const bundle = await until('the bundle in its ConfigMap', read)
      assert.match(bundle, /^-----BEGIN CERTIFICATE-----/)
      // Applying them again does not take it away.
      const empty = shippedManifests().find((one) => pathOf(one) === path)
      await cluster.apply(empty as Manifest)
      assert.equal(await read(), bundle)
    })

    it('let the agent of a node in by the token of its pod', async () => {
      const uid = await createNode('node-1')
      const { kubernetes } = cluster
      await createPod('spire', 'spire-agent-1', 'spire-agent', {}, 'node-1')
      const pod = (await kubernetes.call('GET', '/api/v1/namespaces/spire/pods/spire-agent-1')) as { metadata: { uid: string } }
      const spec = {
        audiences: ['spire-server'],
        expirationSeconds: 7200,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'spire-agent-1', uid: pod.metadata.uid },
      }
      const asked = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec }
      const made = await kubernetes.call('POST', '/api/v1/namespaces/spire/serviceaccounts/spire-agent/token', asked)
      await cluster.startAgent((made['status'] as { token: string }).token, kubelet.port)
      assert.ok((await cluster.server('agent', 'list')).includes(`spiffe://cluster.local/spire/agent/k8s_psat/main/${uid}`))
    })
  })

  describe('with the controller manager that they describe', () => {
    before(async function () {
      if (cluster === undefined) return this.skip()
      await cluster.server(
        'entry',
        'create',
        '-parentID',
        'spiffe://cluster.local/by-hand',
        '-spiffeID',
        'spiffe://cluster.local/hand',
        '-selector',
        'unix:uid:1',
      )
      await cluster.startManager(withWebhook)
    })

    const idsNow = async (): Promise<string[]> => (await cluster.entries()).map(({ spiffe_id: { path } }) => path).sort()
    const entryOf = (path: string): Promise<Entry> =>
      until(`an entry for ${path}`, async () => (await cluster.entries()).find(({ spiffe_id }) => spiffe_id.path === path), 30_000)

    for (const account of ['router', 'postern', 'workloadmanager', 'picod'])
      it(`give the pods of ${account} their SPIFFE ID`, async () => {
        const pod = await createPod(namespace, `${account}-1`, account, { 'app.kubernetes.io/name': account }, 'node-1')
        const node = (await cluster.kubernetes.call('GET', '/api/v1/nodes/node-1')) as { metadata: { uid: string } }
        const entry = await entryOf(`/ns/${namespace}/sa/${account}`)
        assert.equal(entry.spiffe_id.trust_domain, 'cluster.local')
        assert.equal(entry.parent_id.path, `/spire/agent/k8s_psat/main/${node.metadata.uid}`)
        assert.deepEqual(entry.selectors, [{ type: 'k8s', value: `pod-uid:${pod}` }])
        assert.equal(entry.x509_svid_ttl, 3600)
        const named = account === 'router' || account === 'postern'
        // The issuer's and the admin listener's Service is postern-api, in whichever Pod Postern runs.
        const names = [account, 'postern-api'].flatMap((name) => [`${name}.${namespace}.svc`, `${name}.${namespace}.svc.cluster.local`])
        assert.deepEqual(entry.dns_names, named ? names : [])
      })

    it('name a pod by its service account, whatever its label says', async () => {
      await createPod(namespace, 'impostor', 'default', { 'app.kubernetes.io/name': 'router' }, 'node-1')
      await entryOf(`/ns/${namespace}/sa/default`)
      const routers = (await cluster.entries()).filter(({ spiffe_id: { path } }) => path.endsWith('/sa/router'))
      assert.equal(routers.length, 1)
    })

    it('give none to other pods and other namespaces, and take that of a pod that is gone', async () => {
      await cluster.kubernetes.call('POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'elsewhere' } })
      await createPod('elsewhere', 'router-1', 'router', { 'app.kubernetes.io/name': 'router' }, 'node-1')
      await createPod(namespace, 'other-1', 'other', { 'app.kubernetes.io/name': 'other' }, 'node-1')
      await cluster.kubernetes.call('DELETE', `/api/v1/namespaces/${namespace}/pods/impostor?gracePeriodSeconds=0`)
      const paths = ['/hand', ...['picod', 'postern', 'router', 'workloadmanager'].map((account) => `/ns/${namespace}/sa/${account}`)]
      // The one that was made by hand stays.
      await until('the entries that should be', async () => JSON.stringify(await idsNow()) === JSON.stringify(paths), 30_000)
    })

    it('guard the SPIFFE IDs by a webhook with a certificate of the trust domain', async function () {
      // In a pod the manager finds its credentials; here they take a mount of their own.
      if (!withWebhook) this.skip()
      const path = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/spire-controller-manager-webhook'
      const { webhooks } = (await cluster.kubernetes.call('GET', path)) as { webhooks: { clientConfig: { caBundle?: string } }[] }
      assert.equal(webhooks.length, 2)
      for (const { clientConfig } of webhooks)
        assert.match(Buffer.from(clientConfig.caBundle ?? '', 'base64').toString(), /BEGIN CERTIFICATE/)
      // Nobody can reach a Service here: what cannot be asked is refused.
      const id = shippedManifests().find(({ kind }) => kind === 'ClusterSPIFFEID') as Manifest
      await assert.rejects(cluster.apply({ ...id, metadata: { name: 'another' } }), /clusterspiffeid\.spire\.spiffe\.io/)
    })
  })

  describe('with a process in a pod', () => {
    it('let spiffe-helper write the SVID of the pod that it is in', async function () {
      const { call } = cluster.kubernetes
      const path = `/api/v1/namespaces/${namespace}/pods/workloadmanager-1`
      const pod = (await call('GET', path)) as { metadata: { uid: string } }
      const container = createContainer(pod.metadata.uid)
      if (container === undefined || process.env['POSTERN_TEST_SPIFFE_HELPER'] === undefined) return this.skip()
      const folder = temporaryFolder('pod')
      const certs = folder.file('certs')
      mkdirSync(certs)
      const paths = { '/run/spire/agent-sockets/spire-agent.sock': cluster.agentSocket, '/run/spire/certs': certs }
      writeFileSync(folder.file('helper.conf'), helperConfiguration({ ...paths, 'bind_port = 8081': `bind_port = ${await freePort()}` }))
      const command = [process.env['POSTERN_TEST_SPIFFE_HELPER'], '-config', folder.file('helper.conf')]
      const [outside, inside] = [startProgram(command[0]!, command.slice(1)), container.start(command)]
      try {
        const there = () => existsSync(`${certs}/svid_bundle.pem`)
        await until('the files of the pod', there, 30_000).catch((cause) => {
          throw new Error([...inside.stdout, ...inside.stderr].join('\n'), { cause })
        })
        const { subjectAltName } = new X509Certificate(readFileSync(`${certs}/svid.pem`))
        assert.equal(subjectAltName, `URI:spiffe://cluster.local/ns/${namespace}/sa/workloadmanager`)
        // A process that is in no pod gets nothing, by the same socket.
        await until('what the other is told', () =>
          [...outside.stdout, ...outside.stderr].some((line) => line.includes('no identity issued')),
        )
        assert.ok(![...outside.stdout, ...outside.stderr].some((line) => line.includes('Received update')))
        assert.ok(kubelet.asked() > 0)
      } finally {
        await outside.stop()
        await inside.stop()
        container.remove()
        folder.remove()
      }
    })
  })

  /** @returns its uid */
  async function createNode(name: string): Promise<string> {
    const made = await cluster.kubernetes.call('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name } })
    return (made['metadata'] as { uid: string }).uid
  }

  /** As if it were scheduled. @returns its uid */
  async function createPod(where: string, name: string, account: string, labels: Record<string, string>, node: string): Promise<string> {
    const securityContext = {
      allowPrivilegeEscalation: false,
      runAsNonRoot: true,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    }
    const spec = { nodeName: node, serviceAccountName: account, containers: [{ name: 'main', image: 'x', securityContext }] }
    const body = { apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: where, labels }, spec }
    const made = await cluster.kubernetes.call('POST', `/api/v1/namespaces/${where}/pods`, body)
    return (made['metadata'] as { uid: string }).uid
  }
})

/** The pods that the guide shows. */
function podsOfGuide(): Manifest[] {
  const blocks = [...readFileSync(guide, 'utf8').matchAll(/^```yaml kubernetes\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text)
  const pods = blocks.map((text) => parse(text) as Manifest).filter((one) => one?.kind === 'Pod')
  assert.ok(pods.length > 0, 'docs/guides/spire.md shows no Pod')
  return pods
}
