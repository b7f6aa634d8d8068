import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'
import { isJsonObject, type JsonObject } from '../../src/core/json.ts'
import { until } from '../support/until.ts'
import { owner, type Rig, type RunningSync, startRig, withoutCluster } from './rig.ts'

const manifests = fileURLToPath(new URL('../../deploy/kubernetes/sync/', import.meta.url))
const resource = ['--resource', 'sandboxes.agents.x-k8s.io=sandbox']
const none = ['--subject-namespace', '']
const read = (file: string): JsonObject[] =>
  parseAllDocuments(readFileSync(`${manifests}${file}`, 'utf8')).map((document) => document.toJS() as JsonObject)

/** Where a manifest of RBAC, or of an account, is posted to. */
function placeOf({ kind, metadata }: JsonObject): string {
  const namespace = isJsonObject(metadata) ? String(metadata['namespace']) : ''
  const rbac = '/apis/rbac.authorization.k8s.io/v1'
  switch (kind) {
    case 'ServiceAccount':
      return `/api/v1/namespaces/${namespace}/serviceaccounts`
    case 'Deployment':
      return `/apis/apps/v1/namespaces/${namespace}/deployments`
    case 'ClusterRole':
    case 'ClusterRoleBinding':
      return `${rbac}/${kind.toLowerCase()}s`
    default:
      return `${rbac}/namespaces/${namespace}/${String(kind).toLowerCase()}s`
  }
}

describe('a sync in a cluster', function () {
  this.timeout(120_000)
  let rig: Rig
  before(async function () {
    if (withoutCluster() !== undefined) this.skip()
    rig = await startRig()
    await rig.namespace('postern')
    await rig.namespace('agents')
    for (const manifest of read('rbac.yaml')) await rig.kubernetes.call('POST', placeOf(manifest), manifest)
  })
  after(async () => rig?.stop())

  const ownerOf = async (id: string) => (await rig.labels('sandbox', id))?.[owner]
  const ownerIs = (id: string, subject: string | undefined) =>
    until(`${id} to belong to ${subject}`, async () => (await ownerOf(id)) === subject)
  const asAccount = async (name: string): Promise<string> => rig.config(name, await rig.kubernetes.token('postern', 'postern-sync'))

  describe('with the rights of the manifests', () => {
    const args = async (): Promise<string[]> => [
      ...['--kubeconfig', await asAccount('account'), '--id', 'namespace.name', '--lease', 'postern/postern-sync', '--cluster', 'rights'],
      ...resource,
      ...none,
    ]

    it('mirrors', async () => {
      const running = rig.sync(...(await args()))
      await rig.sandbox.create('agents', 'a1', { labels: { [owner]: 'alice' } })
      await ownerIs('agents.a1', 'alice')
      assert.equal(await running.stop(), 0)
    })

    it('may do nothing else', async () => {
      const allowed = async (attributes: JsonObject): Promise<boolean> => {
        const review = {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SubjectAccessReview',
          spec: { user: 'system:serviceaccount:postern:postern-sync', resourceAttributes: attributes },
        }
        const { status } = await rig.kubernetes.call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', review)
        return (status as { allowed: boolean }).allowed
      }
      const sandboxes = { group: 'agents.x-k8s.io', resource: 'sandboxes', namespace: 'agents' }
      const leases = { group: 'coordination.k8s.io', resource: 'leases', namespace: 'postern', name: 'postern-sync' }
      assert.equal(await allowed({ ...sandboxes, verb: 'watch' }), true)
      for (const verb of ['create', 'update', 'patch', 'delete']) assert.equal(await allowed({ ...sandboxes, verb }), false, verb)
      assert.equal(await allowed({ ...leases, verb: 'update' }), true)
      assert.equal(await allowed({ ...leases, verb: 'update', name: 'another' }), false)
      assert.equal(await allowed({ ...leases, verb: 'delete' }), false)
      for (const kind of ['secrets', 'pods', 'configmaps'])
        assert.equal(await allowed({ group: '', resource: kind, namespace: 'postern', verb: 'list' }), false, kind)
    })

    const missing: { right: string; role: string; without: (rule: JsonObject) => JsonObject; says: RegExp }[] = [
      {
        right: 'list',
        role: 'ClusterRole',
        without: (rule) => ({ ...rule, verbs: ['watch'] }),
        says: /right to list sandboxes\.agents\.x-k8s\.io in all namespaces is missing/,
      },
      {
        right: 'watch',
        role: 'ClusterRole',
        without: (rule) => ({ ...rule, verbs: ['list'] }),
        says: /right to watch sandboxes\.agents\.x-k8s\.io in all namespaces is missing/,
      },
      {
        right: 'get of the Lease',
        role: 'Role',
        without: (rule) => ({ ...rule, verbs: (rule['verbs'] as string[]).filter((verb) => verb !== 'get') }),
        says: /right to get leases\.coordination\.k8s\.io "postern-sync" in namespace postern is missing/,
      },
      {
        right: 'update of the Lease',
        role: 'Role',
        without: (rule) => ({ ...rule, verbs: (rule['verbs'] as string[]).filter((verb) => verb !== 'update') }),
        says: /right to update leases\.coordination\.k8s\.io "postern-sync" in namespace postern is missing/,
      },
      {
        right: 'create of the Lease',
        role: 'Role',
        without: (rule) => ({ ...rule, verbs: (rule['verbs'] as string[]).filter((verb) => verb !== 'create') }),
        says: /right to create leases\.coordination\.k8s\.io in namespace postern is missing/,
      },
    ]
    for (const { right, role, without, says } of missing)
      it(`says that it lacks the right: ${right}`, async () => {
        const whole = read('rbac.yaml').find(({ kind }) => kind === role)!
        const path = `${placeOf(whole)}/postern-sync`
        const rules = (whole['rules'] as JsonObject[]).map(without).filter((rule) => (rule['verbs'] as string[]).length > 0)
        // Each begins without a Lease and without a position.
        await rig.kubernetes.call('DELETE', '/apis/coordination.k8s.io/v1/namespaces/postern/leases/postern-sync').catch(() => {})
        if (right === 'update of the Lease') {
          const lease = {
            apiVersion: 'coordination.k8s.io/v1',
            kind: 'Lease',
            metadata: { name: 'postern-sync' },
            spec: { holderIdentity: '' },
          }
          await rig.kubernetes.call('POST', '/apis/coordination.k8s.io/v1/namespaces/postern/leases', lease)
        }
        await rig.kubernetes.call('PUT', path, { ...whole, rules })
        const running = rig.sync(...(await args()), '--cluster', `without-${right.split(' ')[0]}`)
        try {
          const told = () => running.logs().find(({ fault }) => says.test(String(fault)))
          await until(`${says}`, told, 15_000)
        } finally {
          await rig.kubernetes.call('PUT', path, whole)
        }
        // It goes on by itself when the right is given.
        await running.log('in step with the cluster')
        await running.stop()
      })

    it('is started by a Deployment that the API takes', async () => {
      const [deployment] = read('deployment.yaml')
      const made = await rig.kubernetes.call('POST', `${placeOf(deployment!)}?dryRun=All&fieldValidation=Strict`, deployment)
      const spec = made['spec'] as { template: { spec: { containers: { args: string[] }[] } } }
      const given = spec.template.spec.containers[0]!.args.slice(2).filter((arg) => !/^--(?:config|metrics|cluster)=/.test(arg))
      const running = rig.sync('--kubeconfig', await asAccount('deployed'), ...given)
      await running.log('in step with the cluster')
      await running.stop()
    })
  })

  describe('one of two', () => {
    const pair = ['--namespace', 'agents', '--lease', 'postern/pair', '--cluster', 'pair', ...resource, ...none]
    const standby = (running: RunningSync) => !running.logs().some(({ msg }) => msg === 'leads')

    it('leads; the other takes over when it is killed, and nothing is listed again', async () => {
      const first = rig.sync(...pair)
      await first.log('in step with the cluster')
      const second = rig.sync(...pair)
      await second.log('sync started')
      await rig.sandbox.create('agents', 'b1', { labels: { [owner]: 'alice' } })
      await ownerIs('b1', 'alice')
      assert.ok(standby(second))
      await first.kill()
      await rig.sandbox.create('agents', 'b2', { labels: { [owner]: 'bob' } })
      const at = performance.now()
      await until('the other to lead', () => !standby(second), 30_000)
      const took = performance.now() - at
      // Not before the lease of 15 s has run out.
      assert.ok(took > 8000, `after ${took} ms`)
      await ownerIs('b2', 'bob')
      assert.ok(second.logs().some(({ msg }) => msg === 'the watch goes on where it was'))
      const { spec } = (await rig.kubernetes.call('GET', '/apis/coordination.k8s.io/v1/namespaces/postern/leases/pair')) as {
        spec: JsonObject
      }
      assert.equal(spec['leaseTransitions'], 1)
      assert.equal(spec['leaseDurationSeconds'], 15)
      await second.stop()
    })

    it('is handed over at once by SIGTERM', async () => {
      const first = rig.sync(...pair)
      await first.log('leads')
      const second = rig.sync(...pair)
      await second.log('sync started')
      await first.stop()
      await second.log('leads')
      await second.stop()
    })

    it('stops writing when it was frozen and another leads', async () => {
      const first = rig.sync(...pair)
      await first.log('in step with the cluster')
      const second = rig.sync(...pair)
      await second.log('sync started')
      first.program.signal('SIGSTOP')
      await until('the other to lead', () => !standby(second), 30_000)
      first.program.signal('SIGCONT')
      await first.log('does not lead any more')
      await rig.sandbox.create('agents', 'b3', { labels: { [owner]: 'alice' } })
      await ownerIs('b3', 'alice')
      assert.ok(!first.logs().some(({ msg }) => msg === 'state failed'))
      await first.stop()
      await second.stop()
    })
  })

  it('takes in thousands of objects by pages, told in the audit trail as one', async () => {
    await rig.namespace('many')
    const count = 2000
    for (let from = 0; from < count; from += 50)
      await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          rig.sandbox.create('many', `m-${from + i}`, { labels: { [owner]: `user-${(from + i) % 100}` } }),
        ),
      )
    const running = rig.sync('--namespace', 'many', '--cluster', 'many', '--once', ...resource, ...none)
    assert.equal((await running.program.ended).code, 0, [...running.program.stderr].join('\n'))
    assert.equal(await ownerOf('m-1999'), 'user-99')
    const [event] = (await rig.audit('owners_imported')).filter(({ actor }) => actor === 'kubernetes:many')
    assert.equal(event?.detail?.['created'], count)
    assert.deepEqual(
      (await rig.audit('owner_changed')).filter(({ actor }) => actor === 'kubernetes:many'),
      [],
    )
  })

  it('leaves what is another’s as it is, and says so', async () => {
    await rig.namespace('taken')
    await rig.state.labels.write('sandbox', 'taken.t1', new Map([[owner, 'bob']]))
    await rig.sandbox.create('taken', 't1', { labels: { [owner]: 'alice' } })
    const args = ['--namespace', 'taken', '--id', 'namespace.name', '--cluster', 'taken', '--metrics', '127.0.0.1:0', ...resource, ...none]
    const running = rig.sync(...args)
    await running.log('in step with the cluster')
    assert.deepEqual(await rig.labels('sandbox', 'taken.t1'), { [owner]: 'bob' })
    const [event] = await rig.audit('owner_conflict')
    assert.deepEqual(
      [event?.target, event?.reason, event?.detail?.['owner'], event?.detail?.['claimed']],
      ['sandbox:taken.t1', 'other_owner', 'bob', 'alice'],
    )
    const { metrics } = await running.log('metrics are shown')
    const page = await (await fetch(`http://${String(metrics)}/metrics`)).text()
    assert.match(page, /postern_sync_objects_total\{resource="sandbox",outcome="conflict"\} 1/)
    assert.match(page, /postern_sync_leader 1/)
    assert.equal((await fetch(`http://${String(metrics)}/readyz`)).status, 200)
    await running.stop()
  })

  it('mirrors where pods are reached', async () => {
    await rig.namespace('pods')
    const path = '/api/v1/namespaces/pods/pods'
    const spec = { containers: [{ name: 'shell', image: 'shell', ports: [{ name: 'http', containerPort: 8080 }] }] }
    const metadata = { name: 'p1', labels: { [owner]: 'alice' } }
    const made = await rig.kubernetes.call('POST', path, { apiVersion: 'v1', kind: 'Pod', metadata, spec })
    const running = rig.sync(
      '--resource',
      'pods=pod',
      '--namespace',
      'pods',
      '--cluster',
      'pods',
      '--endpoint',
      'http',
      ...none,
      '--config',
      rig.withEndpoints,
    )
    await running.log('in step with the cluster')
    assert.equal((await rig.labels('pod', 'p1'))?.['agentcube.io/endpoint'], undefined)
    await rig.kubernetes.call('PUT', `${path}/p1/status`, {
      ...made,
      status: { phase: 'Running', podIP: '10.1.2.3', podIPs: [{ ip: '10.1.2.3' }] },
    })
    await until('the endpoint', async () => (await rig.labels('pod', 'p1'))?.['agentcube.io/endpoint'] === '10.1.2.3:8080')
    await running.stop()
  })

  const refused: { what: string; args: string[]; code: number; says: RegExp }[] = [
    { what: 'no id for several namespaces', args: [...resource, ...none], code: 2, says: /--id: names are unique in one namespace only/ },
    {
      what: 'no word on whose subjects',
      args: [...resource, '--namespace', 'x'],
      code: 2,
      says: /keycloak have a subject_namespace.*--subjects-of/,
    },
    {
      what: 'a validator that is not there',
      args: [...resource, '--namespace', 'x', '--subjects-of', 'nobody'],
      code: 2,
      says: /no validator "nobody"/,
    },
    {
      what: 'a resource without a kind',
      args: ['--resource', 'pods', '--namespace', 'x'],
      code: 2,
      says: /PLURAL\.GROUP\[\/VERSION\]=KIND/,
    },
    {
      what: 'a resource that is not served',
      args: ['--resource', 'nothing.example.com=x', '--namespace', 'x', '--once', ...none],
      code: 1,
      says: /CustomResourceDefinition/,
    },
    {
      what: 'a kubeconfig that is not there',
      args: [...resource, ...none, '--namespace', 'x', '--kubeconfig', '/nowhere'],
      code: 1,
      says: /\/nowhere: cannot be read \(ENOENT\)/,
    },
    {
      what: 'endpoints without a label for them',
      args: [...resource, ...none, '--namespace', 'x', '--endpoint', '80'],
      code: 2,
      says: /ownership\.endpoint/,
    },
  ]
  for (const { what, args, code, says } of refused)
    it(`refuses ${what}`, async () => {
      const running = rig.sync(...args)
      assert.equal((await running.program.ended).code, code)
      assert.match([...running.program.stdout, ...running.program.stderr].join('\n'), says)
    })

  it('refuses a state that no other process sees', async () => {
    const running = rig.sync(...resource, ...none, '--namespace', 'x', '--config', rig.policyFor('memory:'))
    assert.equal((await running.program.ended).code, 2)
    assert.match(running.program.stderr.join('\n'), /state: memory is that of one process/)
  })

  it('refuses a token that the API server does not know', async () => {
    const running = rig.sync(...resource, ...none, '--namespace', 'x', '--once', '--kubeconfig', rig.config('nobody', 'not-a-token'))
    assert.equal((await running.program.ended).code, 1)
    assert.match(running.program.stderr.join('\n'), /does not admit the token/)
    assert.doesNotMatch(running.program.stderr.join('\n'), /not-a-token/)
  })
})
