import assert from 'node:assert/strict'
import { cli } from '../cli/captured.ts'
import { type AdminClient, adminClient } from '../support/admin.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { type Asker, openAsker } from './asker.ts'
import { policyOf, secrets } from './edge.ts'

/** What is changed by the admin API has to be in force on every worker within this, in milliseconds. */
const inForceMs = 1000

interface Worker {
  readonly worker: number
  readonly pid: number
  readonly serving: boolean
  readonly connections: number
  readonly revision: string
}

for (const kind of ['file', 'redis'] as const) {
  describe(`two workers with state in ${kind === 'file' ? 'a file' : 'Redis'}`, function () {
    this.timeout(30_000)
    let folder: TemporaryFolder
    let redis: RunningRedis | undefined
    let postern: RunningPostern
    let admin: AdminClient
    let policy: string
    /** One on each worker. */
    const askers: Asker[] = []
    const workers = async () => (await admin.status())['workers'] as readonly Worker[]
    const connections = async () => (await workers()).map((worker) => worker.connections)

    before(async () => {
      folder = temporaryFolder()
      redis = kind === 'redis' ? await startRedis() : undefined
      const [adminPort = 0, issuerPort = 0] = await freePorts(2)
      const address = `127.0.0.1:${adminPort}`
      policy = policyOf('workers.yaml', {
        check: `unix:${folder.file('check.sock')}`,
        admin: address,
        issuer: `127.0.0.1:${issuerPort}`,
        state: redis?.url ?? `file:${folder.file('postern.db')}`,
      })
      postern = await startPostern(policy, { env: secrets, folder })
      admin = await adminClient(address)
    })
    after(async () => {
      for (const { close } of askers) close()
      await postern?.stop()
      await redis?.stop()
      folder.remove()
    })

    it('get as many connections each, and more where one has lost some', async () => {
      for (let i = 0; i < 6; i++) {
        const asker = openAsker(`unix:${folder.file('check.sock')}`)
        askers.push(asker)
        assert.equal(await asker.ask('/healthz'), 'ok')
      }
      assert.deepEqual(await connections(), [3, 3])
      // Every other one is on the same worker.
      for (const i of [0, 2]) askers[i]!.close()
      await until('two connections less', async () => (await connections()).join() === '1,3' || (await connections()).join() === '3,1')
      for (const i of [0, 2]) {
        askers[i] = openAsker(`unix:${folder.file('check.sock')}`)
        await askers[i]!.ask('/healthz')
      }
      assert.deepEqual(await connections(), [3, 3])
      for (const { close } of askers.splice(2)) close()
      await until('four connections less', async () => (await connections()).join() === '1,1')
    })

    it('are listed by the status, which says that all serve', async () => {
      const status = await admin.status()
      assert.equal(status['ready'], true)
      const listed = await workers()
      assert.deepEqual(
        listed.map(({ worker, serving, revision }) => [worker, serving, revision]),
        [1, 2].map((worker) => [worker, true, status['revision']]),
      )
      assert.equal(new Set([...listed.map(({ pid }) => pid), postern.program.pid]).size, 3)
      const { code, out, err } = await cli(['status', '--config', postern.config], secrets)
      assert.equal(code, 0, err)
      for (const { worker, pid } of listed)
        assert.match(out, new RegExp(`^worker ${worker} +pid ${pid} since \\S+, policy ${String(status['revision'])}, connections 1$`, 'm'))
    })

    /** Until every worker answers so; all have to within the limit. */
    const everyWorker = async (what: string, path: string, token: string, answer: string, since: number) => {
      const took = await Promise.all(
        askers.map(async ({ ask }) => {
          await until(what, async () => (await ask(path, token)) === answer, 3000)
          return performance.now() - since
        }),
      )
      console.log(`      ${kind}: ${what} after ${took.map((ms) => `${Math.round(ms)} ms`).join(' and ')}`)
      assert.ok(Math.max(...took) < inForceMs, `${what} took ${took.join()} ms`)
    }
    const answers = async (path: string, token: string) => Promise.all(askers.map(({ ask }) => ask(path, token)))

    it('have a new owner, a new key and a revocation in force within 1 s', async () => {
      const crawler = await admin.mint({ subject: 'crawler', roles: ['sandbox:invoke'] })
      const indexer = await admin.mint({ subject: 'indexer', roles: ['sandbox:invoke'] })
      const sandbox = '/v1/sandboxes/s1/run'
      assert.deepEqual(await answers(sandbox, crawler.token), ['not_owner', 'not_owner'])

      let since = performance.now()
      await admin.setOwner('sandbox', 's1', 'agent:crawler')
      await everyWorker('the first owner', sandbox, crawler.token, 'ok', since)
      assert.deepEqual(await answers(sandbox, indexer.token), ['not_owner', 'not_owner'])

      since = performance.now()
      await admin.setOwner('sandbox', 's1', 'agent:indexer')
      await everyWorker('another owner', sandbox, crawler.token, 'not_owner', since)
      assert.deepEqual(await answers(sandbox, indexer.token), ['ok', 'ok'])

      since = performance.now()
      assert.ok((await admin.call('POST', '/v1/admin/keys/rotate', { now: true })).ok)
      const later = await admin.mint({ subject: 'crawler', roles: ['sandbox:invoke'] })
      await everyWorker('a key that signs at once', '/v1/sandboxes', later.token, 'ok', since)
      assert.equal(((await admin.status())['keys'] as unknown[]).length, 2)

      since = performance.now()
      await admin.revoke('token', later.jti)
      await everyWorker('the revocation of a token', '/v1/sandboxes', later.token, 'revoked', since)
      since = performance.now()
      await admin.revoke('subject', 'agent:indexer')
      await everyWorker('the revocation of a subject', sandbox, indexer.token, 'revoked', since)
      assert.deepEqual(await answers('/v1/sandboxes', crawler.token), ['ok', 'ok'])
    })

    it('are summed up by the metrics', async () => {
      const value = async (name: string) =>
        Number((await admin.metrics()).match(new RegExp(`^${name.replace(/[{}]/g, '\\$&')} (\\S+)$`, 'm'))?.[1])
      const series = 'postern_checks_total{route="health",reason="ok",decision="allow"}'
      const before = await value(series)
      for (const { ask } of askers) for (let i = 0; i < 5; i++) await ask('/healthz')
      assert.equal((await value(series)) - before, 10)
      assert.equal(await value('postern_workers'), 2)
      assert.equal(await value('postern_worker_restarts_total'), 0)
      assert.equal(await value('postern_worker_silences_total'), 0)
      assert.equal(await value('postern_state_up'), 1)
      assert.equal(await value('postern_build_info{version="0.1.0"}'), 1)
      assert.ok((await value('postern_feed_age_seconds')) < 1)
      assert.ok((await value('postern_event_loop_delay_seconds_count')) > 10)
    })

    it('take a changed policy within 1 s, and record it once', async () => {
      const since = performance.now()
      postern.rewrite(policy.replace('path: /healthz', 'path: /livez'))
      await Promise.all(askers.map(({ ask }) => until('the new policy', async () => (await ask('/livez')) === 'ok', 3000)))
      console.log(`      ${kind}: a policy after ${Math.round(performance.now() - since)} ms`)
      assert.ok(performance.now() - since < inForceMs)
      assert.deepEqual(await Promise.all(askers.map(({ ask }) => ask('/healthz'))), ['no_route', 'no_route'])
      const status = await until('the new revision on all', async () => {
        const now = await admin.status()
        return (now['workers'] as readonly Worker[]).every(({ revision }) => revision === now['revision']) && now
      })
      assert.ok((await admin.metrics()).includes(`postern_policy_info{realm="default",revision="${String(status['revision'])}"} 1`))
      assert.ok((await admin.metrics()).includes('postern_policy_reloads_total{outcome="success"} 1\n'))
    })

    it('are told apart in the log, whose lines are whole', () => {
      const checks = postern.logs().filter(({ msg }) => msg === 'check')
      assert.deepEqual([...new Set(checks.map(({ worker }) => worker))].sort(), [1, 2])
      // Several writers on one state hold each other up at most.
      assert.deepEqual(
        postern.logs().filter(({ level }) => level === 'error'),
        [],
      )
    })
  })
}
