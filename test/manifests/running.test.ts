import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startProgram } from '../support/program.ts'
import { type ClientRequest, request } from '../support/request.ts'
import { until } from '../support/until.ts'
import { chartFolder, containers, manifests, missing, pods, renderers, renderings } from './rendered.ts'
import { type RunningManifests, runManifests } from './rig.ts'

/** Renderings that are run with Envoy before them, and how many Pods of each. */
const cases = [
  { name: 'deploy/kubernetes/overlays/redis-cluster', count: 2 },
  { name: 'deploy/kubernetes/overlays/sidecar', count: 1 },
  { name: 'the chart as it is', count: 1 },
  { name: 'the chart with values-minimal.yaml', count: 1 },
] as const

for (const { name, count } of cases)
  describe(`what ${name} describes, as processes`, function () {
    this.timeout(90_000)
    let running: RunningManifests
    before(async function () {
      if (missing(...renderers, 'POSTERN_TEST_ENVOY')) this.skip()
      const rendering = renderings().find((one) => one.name === name)
      running = await runManifests(manifests(rendering?.text() ?? ''), count)
    })
    after(() => running?.stop())

    const ask = (what: Omit<ClientRequest, 'port' | 'tls'>) =>
      request({ port: running.envoy?.port('edge') ?? 0, tls: { ca: running.certificates.caPem }, ...what })
    const user = async (sub: string, ...roles: string[]) => ({
      authorization: `Bearer ${await running.users.mint({ sub, aud: 'agentcube-router', realm_access: { roles } })}`,
    })

    it('answers the probes of the manifest', async () => {
      for (const replica of running.replicas)
        for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe'] as const)
          assert.equal(await replica.probe(probe), true, probe)
    })

    it('answers checks of Envoy by the configuration of the manifest', async () => {
      assert.equal((await ask({ path: '/healthz' })).status, 200)
      assert.equal((await ask({ path: '/v1/sandboxes/s1/run' })).status, name.startsWith('the chart') ? 403 : 401)
    })

    if (!name.startsWith('the chart'))
      it('lets owners in, whose labels are in Redis, and nobody else', async () => {
        await running.label('s1', 'alice')
        const path = '/v1/sandboxes/s1/run'
        const own = await ask({ path, headers: await user('alice', 'sandbox:invoke') })
        assert.equal(own.status, 200, own.body)
        assert.equal(JSON.parse(own.body).upstream, 'sandbox')
        assert.equal((await ask({ path, headers: await user('bob', 'sandbox:invoke') })).status, 403)
        assert.equal((await ask({ path, headers: await user('alice') })).status, 403)
      })

    it('has a changed ConfigMap in force within a second of the kubelet’s swap', async () => {
      assert.equal((await ask({ path: '/new' })).status, 403)
      const route = '- { id: new, methods: [GET], path: /new, public: true }'
      const changed = (text: string): string => {
        const indent = /\nroutes:\n( *)-/.exec(text)?.[1]
        return text.replace('\nroutes:\n', `\nroutes:\n${indent}${route}\n`)
      }
      for (const { policy, files } of running.replicas) policy.replace(files(changed))
      // Public, and Envoy has no upstream for it.
      await until('the new route', async () => (await ask({ path: '/new' })).status === 404, 5000)
      for (const { policy, files } of running.replicas) policy.replace(files())
      await until('the old policy', async () => (await ask({ path: '/new' })).status === 403, 5000)
    })

    if (name === 'the chart as it is')
      it('passes the test of `helm test`', async () => {
        const [{ ports } = { ports: undefined }] = running.replicas
        const env = {
          READY_URL: `https://127.0.0.1:${ports?.[9192]}/readyz`,
          KEYS_URL: `https://127.0.0.1:${ports?.[9193]}/jwks.json`,
          NODE_EXTRA_CA_CERTS: running.certificates.ca,
        }
        const script = readFileSync(join(chartFolder, 'files/ready.js'), 'utf8')
        const good = startProgram('node', ['-e', script], { env })
        assert.equal((await good.ended).code, 0, good.stderr.join('\n'))
        assert.equal((await startProgram('node', ['-e', script], { env: { ...env, KEYS_URL: env.READY_URL } }).ended).code, 1)
      })

    if (count > 1)
      it('loses no request when one of the Pods is ended: preStop, then SIGTERM', async () => {
        const [first] = running.replicas
        assert.ok(first)
        const seconds = running.pod.container['lifecycle'].preStop.sleep.seconds as number
        const statuses: number[] = []
        let going = true
        const load = (async () => {
          while (going) {
            statuses.push((await ask({ path: '/healthz' })).status)
            await sleep(20)
          }
        })()
        const begun = performance.now()
        await sleep(seconds * 1000)
        assert.equal(await first.probe('readinessProbe'), true, 'it answers during preStop')
        first.program.signal('SIGTERM')
        const { code } = await first.program.ended
        const took = (performance.now() - begun) / 1000
        await sleep(1000)
        going = false
        await load
        assert.equal(code, 0)
        assert.ok(took < running.pod.pod['spec'].terminationGracePeriodSeconds, `${took} s`)
        assert.ok(statuses.length > 50)
        assert.deepEqual(
          statuses.filter((status) => status !== 200),
          [],
        )
      })

    if (name.endsWith('/sidecar'))
      it('drains Envoy by the preStop of the manifest, while it answers', async () => {
        const objects = manifests(
          renderings()
            .find((one) => one.name === name)
            ?.text() ?? '',
        )
        const envoy = objects
          .flatMap(pods)
          .flatMap(containers)
          .find((container) => container.name === 'envoy')
        const [command = '', ...args] = (envoy?.['lifecycle']?.preStop?.exec?.command ?? []) as string[]
        assert.match(args.at(-1) ?? '', /sleep 15$/)
        // Whether the answer says that the connection ends with it, though the client would keep it.
        const kept = async () => {
          const { status, headers } = await ask({ path: '/healthz', headers: { connection: 'keep-alive' } })
          assert.equal(status, 200)
          return headers['connection']
        }
        assert.notEqual(await kept(), 'close')
        const hook = startProgram(
          command,
          args.map((arg) => arg.replace('9901', String(running.envoyAdmin)).replace('sleep 15', 'sleep 1')),
        )
        await until('clients to be asked to go elsewhere', async () => (await kept()) === 'close')
        const { code } = await hook.ended
        assert.equal(code, 0, hook.stderr.join('\n'))
        assert.match(hook.stdout.join('\n'), /200 OK/)
      })
  })

describe('what the chart with values-tenants.yaml describes, as a process', function () {
  this.timeout(90_000)
  let running: RunningManifests
  before(async function () {
    if (missing(...renderers, 'POSTERN_TEST_ENVOY')) this.skip()
    const rendering = renderings().find(({ name }) => name.endsWith('values-tenants.yaml'))
    running = await runManifests(manifests(rendering?.text() ?? ''), 1)
  })
  after(() => running?.stop())

  const keysOf = async (realm: string): Promise<unknown[]> => {
    const tls = { ca: running.certificates.caPem }
    const { status, body } = await request({ port: running.replicas[0]?.ports[9193] ?? 0, tls, path: `/realms/${realm}/jwks.json` })
    return status === 200 ? ((JSON.parse(body) as { keys: unknown[] }).keys ?? []) : []
  }

  it('serves each realm of the ConfigMap, with keys of its own', async () => {
    const [acme, globex] = [await keysOf('acme'), await keysOf('globex')]
    assert.ok(acme.length > 0 && globex.length > 0)
    assert.notDeepEqual(acme, globex)
    assert.deepEqual(await keysOf('other'), [])
  })

  it('takes a change of one realm’s file', async () => {
    const [replica] = running.replicas
    assert.ok(replica)
    const before = replica.program.stdout.length
    replica.policy.replace(replica.files((text) => text.replace('path: /healthz', 'path: /health')))
    await until(
      'the changed policy to be in force',
      () => replica.program.stdout.slice(before).some((line) => line.includes('policy in force')),
      5000,
    )
  })
})

for (const name of ['deploy/kubernetes/overlays/spire', 'the chart with values-spire.yaml', 'the chart with values-sidecar-spire.yaml'])
  describe(`what ${name} describes, as a process`, function () {
    this.timeout(90_000)
    let running: RunningManifests
    before(async function () {
      if (missing(...renderers, 'POSTERN_TEST_ENVOY')) this.skip()
      running = await runManifests(
        manifests(
          renderings()
            .find((one) => one.name === name)
            ?.text() ?? '',
        ),
        1,
      )
    })
    after(() => running?.stop())

    it('serves with the files that spiffe-helper writes, for Redis too', async () => {
      const [replica] = running.replicas
      assert.ok(replica)
      assert.equal(await replica.probe('livenessProbe'), true)
      const tls = { ca: running.certificates.caPem }
      const { status, body } = await request({ port: replica.ports[9193], tls, path: '/jwks.json' })
      assert.equal(status, 200)
      // They lie in Redis: without it there were none.
      assert.equal((JSON.parse(body) as { keys: unknown[] }).keys.length, 1)
    })
  })

it('POSTERN_PORT, which Kubernetes makes of a Service of that name, would be taken for a setting', () => {
  const shared = join(chartFolder, '../../kubernetes/overlays/shared/postern.yaml')
  const main = join(chartFolder, '../../../src/main.ts')
  const { status, stdout } = spawnSync(process.execPath, [main, 'lint', '--config', shared], {
    encoding: 'utf8',
    env: { ...process.env, POSTERN_PORT: 'tcp://10.0.0.12:9191' },
  })
  assert.equal(status, 2)
  assert.match(stdout, /enableServiceLinks: false/)
})
