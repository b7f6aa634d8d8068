import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { ownerLabelValue } from '../../src/core/ownership.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { answerStatus, type RecordingProxy, startProxy } from './proxy.ts'
import { owner, type Rig, type RunningSync, startRig, withoutCluster } from './rig.ts'

const resource = ['--resource', 'sandboxes.agents.x-k8s.io=sandbox']

describe('labels of a real Kubernetes API server', function () {
  this.timeout(120_000)
  let rig: Rig
  let proxy: RecordingProxy
  before(async function () {
    if (withoutCluster() !== undefined) this.skip()
    rig = await startRig()
    proxy = await startProxy(rig.kubernetes)
  })
  after(async () => {
    await proxy?.stop()
    await rig?.stop()
  })

  const sync = (...args: string[]): RunningSync => rig.sync(...resource, '--subjects-of', 'keycloak', ...args)
  const labels = (id: string) => rig.labels('sandbox', id)
  const ownerIs = async (id: string, subject: string | undefined) =>
    until(`${id} to belong to ${subject}`, async () => {
      const found = await labels(id)
      return subject === undefined ? found === undefined : found?.[owner] === ownerLabelValue(`kc:${subject}`)
    })

  it('are mirrored as they come, change and go', async () => {
    await rig.namespace('demo')
    await rig.sandbox.create('demo', 'early', { labels: { [owner]: 'alice', app: 'shell' } })
    const running = sync('--namespace', 'demo')
    await running.log('in step with the cluster')
    await ownerIs('early', 'alice')
    const { metadata } = (await rig.kubernetes.call('GET', '/apis/agents.x-k8s.io/v1alpha1/namespaces/demo/sandboxes/early')) as {
      metadata: { uid: string }
    }
    assert.deepEqual(await labels('early'), {
      [owner]: ownerLabelValue('kc:alice'),
      [`annotation:${owner}`]: 'kc:alice',
      app: 'shell',
      'mark:source': `kubernetes:test/${metadata.uid}`,
    })

    const at = performance.now()
    await rig.sandbox.create('demo', 's1', { labels: { [owner]: 'alice' } })
    await ownerIs('s1', 'alice')
    const created = performance.now() - at
    assert.ok(created < 2000, `mirrored after ${created} ms`)
    await rig.sandbox.change('demo', 's1', { labels: { [owner]: 'alice' }, annotations: { [owner]: 'auth0|abc' } })
    await ownerIs('s1', 'auth0|abc')
    assert.equal((await labels('s1'))?.[`annotation:${owner}`], 'kc:auth0|abc')
    await rig.sandbox.change('demo', 's1', { labels: { app: 'x' } })
    await until('s1 to have no owner', async () => {
      const found = await labels('s1')
      return found?.[owner] === undefined && found?.['app'] === 'x'
    })
    await rig.sandbox.remove('demo', 's1')
    await ownerIs('s1', undefined)

    const events = (await rig.audit('owner_changed')).filter(({ target }) => target === 'sandbox:s1')
    assert.deepEqual(
      events.map(({ actor, detail }) => [actor, detail?.['before'], detail?.['after']]),
      [
        ['kubernetes:test', null, 'kc:alice'],
        ['kubernetes:test', 'kc:alice', 'kc:auth0|abc'],
        ['kubernetes:test', 'kc:auth0|abc', null],
      ],
    )
    assert.equal(await running.stop(), 0)
  })

  /** A sync whose requests are written down. */
  const recorded = (...args: string[]): RunningSync => {
    proxy.asked.length = 0
    proxy.instead = undefined
    return sync('--kubeconfig', rig.config('proxy', rig.kubernetes.admin, proxy.url), ...args)
  }
  const rest = ['--namespace', 'rest']

  it('are watched from where it was after a restart, without a list', async () => {
    await rig.namespace('rest')
    await rig.sandbox.create('rest', 'r1', { labels: { [owner]: 'alice' } })
    await rig.sandbox.create('rest', 'r2', { labels: { [owner]: 'alice' } })
    const first = recorded(...rest)
    await ownerIs('r1', 'alice')
    await first.log('in step with the cluster')
    assert.equal(proxy.lists().length, 1)
    assert.equal(await first.stop(), 0)

    await rig.sandbox.change('rest', 'r1', { labels: { [owner]: 'bob' } })
    await rig.sandbox.remove('rest', 'r2')
    await rig.sandbox.create('rest', 'r3', { labels: { [owner]: 'carol' } })
    const second = recorded(...rest)
    await ownerIs('r1', 'bob')
    await ownerIs('r2', undefined)
    await ownerIs('r3', 'carol')
    // A crash loses nothing either.
    await second.kill()
    await rig.sandbox.change('rest', 'r3', { labels: { [owner]: 'dave' } })
    const third = sync('--kubeconfig', rig.config('proxy', rig.kubernetes.admin, proxy.url), ...rest)
    await ownerIs('r3', 'dave')
    assert.deepEqual(proxy.lists(), [])
    assert.ok(proxy.watches().every(({ query }) => Number(query.get('resourceVersion')) > 0 && query.get('allowWatchBookmarks') === 'true'))
    await third.stop()
  })

  it('are listed anew where the scope is another one, and what is out of it goes', async () => {
    const narrow = recorded(...rest, '--selector', 'team=red')
    await narrow.log('list taken in')
    await ownerIs('r1', undefined)
    assert.equal(proxy.lists()[0]?.query.get('labelSelector'), 'team=red')
    await narrow.stop()
    const wide = recorded(...rest)
    await ownerIs('r1', 'bob')
    await wide.stop()
  })

  it('are listed anew after etcd has forgotten what happened since, and what is gone goes', async () => {
    const list = (await rig.kubernetes.call('GET', '/apis/agents.x-k8s.io/v1alpha1/namespaces/rest/sandboxes')) as {
      metadata: { resourceVersion: string }
    }
    await rig.sandbox.remove('rest', 'r3')
    await rig.sandbox.change('rest', 'r1', { labels: { [owner]: 'erin' } })
    await rig.kubernetes.killApi()
    const compacted = await fetch(`${rig.kubernetes.etcd}/v3/kv/compaction`, {
      method: 'POST',
      body: JSON.stringify({ revision: String(Number(list.metadata.resourceVersion) + 2), physical: true }),
    })
    assert.equal(compacted.status, 200, await compacted.text())
    await rig.kubernetes.startApi()
    const running = recorded(...rest)
    await ownerIs('r1', 'erin')
    await ownerIs('r3', undefined)
    await running.log('the API server does not keep what happened since: a list is needed')
    assert.equal(proxy.lists().length, 1)
    await running.stop()
  })

  for (const form of ['an HTTP status', 'an event'] as const)
    it(`are listed anew after 410 as ${form}`, async () => {
      const running = recorded(...rest)
      await running.log('in step with the cluster')
      let told = 0
      proxy.instead = ({ query }, response) => {
        if (!query.has('watch') || told++ > 0) return false
        if (form === 'an HTTP status') return answerStatus(response, 410, 'Expired', 'too old resource version')
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(`${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' } })}\n`)
        return true
      }
      proxy.cut()
      await until('a list', () => proxy.lists().length === 1)
      await rig.sandbox.create('rest', 'after-410', { labels: { [owner]: 'alice' } })
      await ownerIs('after-410', 'alice')
      await rig.sandbox.remove('rest', 'after-410')
      await ownerIs('after-410', undefined)
      await running.stop()
    })

  it('are asked for again from the first page where the rest of a list has expired', async () => {
    for (const name of ['p1', 'p2', 'p3']) await rig.sandbox.create('rest', name, { labels: { [owner]: 'alice' } })
    const running = sync(
      '--kubeconfig',
      rig.config('proxy', rig.kubernetes.admin, proxy.url),
      ...rest,
      '--page-size',
      '2',
      '--selector',
      '!x',
    )
    proxy.asked.length = 0
    proxy.instead = ({ query }, response) =>
      query.has('continue') && answerStatus(response, 410, 'Expired', 'the continue token is too old')
    await ownerIs('p3', 'alice')
    await running.log('in step with the cluster')
    const limits = proxy.lists().map(({ query }) => `${query.get('limit') ?? 'all'}${query.has('continue') ? ' rest' : ''}`)
    assert.deepEqual(limits, ['2', '2 rest', '2', '2 rest', 'all'])
    await running.stop()
  })

  it('are kept where a list lacks more than may be removed at once', async () => {
    for (let i = 0; i < 20; i++) await rig.sandbox.create('rest', `many-${i}`, { labels: { [owner]: 'alice' } })
    const first = recorded(...rest)
    await ownerIs('many-19', 'alice')
    await first.stop()
    const empty = { apiVersion: 'agents.x-k8s.io/v1alpha1', kind: 'SandboxList', metadata: { resourceVersion: '1' }, items: [] }
    const answerEmpty: RecordingProxy['instead'] = ({ path, query }, response) => {
      if (query.has('watch') || !path.endsWith('/sandboxes')) return false
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(empty))
      return true
    }
    const once = recorded(...rest, '--once')
    proxy.instead = answerEmpty
    assert.equal((await once.program.ended).code, 1)
    assert.match([...once.program.stdout, ...once.program.stderr].join('\n'), /removals are held.*--allow-mass-removal/)
    await ownerIs('many-19', 'alice')
    const allowed = recorded(...rest, '--once', '--allow-mass-removal')
    proxy.instead = answerEmpty
    assert.equal((await allowed.program.ended).code, 0)
    await ownerIs('many-19', undefined)
    const [event] = (await rig.audit('owners_imported')).filter(({ detail }) => detail?.['listed'] === 0).slice(-1)
    assert.ok(Number(event?.detail?.['removed']) >= 20, JSON.stringify(event))
  })

  it('go on from where they were when the API server is killed and comes back', async () => {
    const running = recorded(...rest)
    await running.log('in step with the cluster')
    await rig.kubernetes.killApi()
    await until('the sync to notice', () => running.logs().some(({ msg }) => /^(?:watch|list) failed$/.test(String(msg))))
    await rig.kubernetes.startApi()
    await rig.sandbox.create('rest', 'after-restart', { labels: { [owner]: 'alice' } })
    await ownerIs('after-restart', 'alice')
    await running.stop()
  })

  it('survive lines that are cut off, and streams that break', async () => {
    const running = recorded(...rest)
    await running.log('in step with the cluster')
    let told = 0
    proxy.instead = ({ query }, response) => {
      if (!query.has('watch') || told++ > 2) return false
      response.writeHead(200, { 'content-type': 'application/json' })
      response.write('{"type":"ADDED","object":{"metadata":{"name":"half')
      setTimeout(() => response.destroy(), 50)
      return true
    }
    proxy.cut()
    await until('watches to break', () => told > 2)
    await rig.sandbox.create('rest', 'after-cut', { labels: { [owner]: 'alice' } })
    await ownerIs('after-cut', 'alice')
    assert.equal(await labels('half'), undefined)
    assert.equal(proxy.lists().length <= 1, true)
    await running.stop()
  })

  it('are those of several namespaces, each watched from where it was', async () => {
    for (const name of ['left', 'right', 'other']) {
      await rig.namespace(name)
      await rig.sandbox.create(name, 'same', { labels: { [owner]: `of-${name}` } })
    }
    const both = ['--namespace', 'left', '--namespace', 'right', '--id', 'namespace.name', '--cluster', 'two']
    const first = recorded(...both)
    await ownerIs('left.same', 'of-left')
    await ownerIs('right.same', 'of-right')
    await first.log('in step with the cluster')
    await first.stop()
    assert.equal(await labels('other.same'), undefined)
    await rig.sandbox.remove('left', 'same')
    await rig.sandbox.change('right', 'same', { labels: { [owner]: 'bob' } })
    const second = recorded(...both)
    await ownerIs('left.same', undefined)
    await ownerIs('right.same', 'bob')
    assert.deepEqual(proxy.lists(), [])
    // One of them has to be listed anew: so has the other, and nothing of it goes.
    let told = 0
    proxy.instead = ({ path, query }, response) =>
      query.has('watch') && path.includes('/left/') && told++ === 0 && answerStatus(response, 410, 'Expired', 'too old')
    proxy.cut()
    await until('two lists', () => proxy.lists().length === 2)
    await rig.sandbox.create('left', 'again', { labels: { [owner]: 'alice' } })
    await ownerIs('left.again', 'alice')
    await ownerIs('right.same', 'bob')
    await second.stop()
  })

  it('are those of the cluster after kills at any moment', async () => {
    await rig.namespace('chaos')
    const args = ['--namespace', 'chaos', '--cluster', 'chaos']
    const owners = new Map<string, string>()
    let running = sync(...args)
    let kills = 0
    const working = (async () => {
      for (let i = 0; i < 400; i++) {
        const id = `c-${Math.floor(Math.random() * 40)}`
        const subject = `user-${i}`
        const now = { labels: { [owner]: subject } }
        if (!owners.has(id)) await rig.sandbox.create('chaos', id, now)
        else if (Math.random() < 0.3) {
          await rig.sandbox.remove('chaos', id)
          owners.delete(id)
          continue
        } else await rig.sandbox.change('chaos', id, now)
        owners.set(id, subject)
        await sleep(15)
      }
    })()
    let over = false
    void working.finally(() => {
      over = true
    })
    while (!over) {
      await sleep(400 + Math.random() * 1200)
      await running.kill()
      kills++
      running = sync(...args)
    }
    await working
    assert.ok(kills >= 3, `${kills} kills`)
    await until('records as the cluster has them', async () => {
      for (let i = 0; i < 40; i++) {
        const subject = owners.get(`c-${i}`)
        const found = (await labels(`c-${i}`))?.[owner]
        if (found !== (subject === undefined ? undefined : ownerLabelValue(`kc:${subject}`))) return false
      }
      return true
    })
    await running.stop()
  })

  it('come back to a Redis that was lost with everything in it', async () => {
    await rig.namespace('redis')
    const redis = await startRedis()
    try {
      const running = sync('--namespace', 'redis', '--config', rig.policyFor(redis.url))
      const held = () => redis.client().hget('postern:default:labels:sandbox:redis-1', owner)
      await running.log('in step with the cluster')
      await rig.sandbox.create('redis', 'redis-1', { labels: { [owner]: 'alice' } })
      await until('the owner in Redis', async () => (await held()) === ownerLabelValue('kc:alice'))
      await redis.kill()
      await rig.sandbox.change('redis', 'redis-1', { labels: { [owner]: 'bob' } })
      await running.log('state failed')
      await redis.start()
      await until('the owner in Redis again', async () => (await held()) === ownerLabelValue('kc:bob'), 30_000)
      await running.stop()
    } finally {
      await redis.stop()
    }
  })
})
