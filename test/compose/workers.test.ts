import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { createMetrics, type Metrics } from '../../src/adapters/metrics.ts'
import type { MetricsSnapshot } from '../../src/adapters/metrics-sum.ts'
import { unchangingOf, workersOf } from '../../src/compose/workers-count.ts'
import { replacementDelay } from '../../src/compose/workers-crew.ts'
import type { Member } from '../../src/compose/workers-member.ts'
import { metricsOfAll } from '../../src/compose/workers-metrics.ts'
import { readPolicy } from '../../src/config/read.ts'
import { observation } from '../adapters/log-observation.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const policy = (over: Readonly<Record<string, string>> = {}): string => {
  const parts = {
    listen: '{ check: { address: "unix:/tmp/check.sock" } }',
    state: '"file:./postern.db"',
    workers: '2',
    admin: '{ audience: postern-admin }',
    routes: '[{ id: health, path: /healthz, public: true }]',
    ...over,
  }
  return `version: 1\nidentity: [{ name: users, type: oidc, issuer: https://keycloak.example, audience: [router] }]\n${Object.entries(parts)
    .map(([name, text]) => `${name}: ${text}\n`)
    .join('')}`
}

describe('workers', () => {
  const folder = temporaryFolder()
  after(() => folder.remove())

  const settingsOf = async (text: string) => {
    const file = folder.file('postern.yaml')
    writeFileSync(file, text)
    const read = await readPolicy({ file, env: {}, secrets: 'warn' })
    assert.ok(read.ok, JSON.stringify(read))
    return read.loaded.settings
  }
  const count = async (over: Readonly<Record<string, string>>) => workersOf(await settingsOf(policy(over)))

  it('are as many as the policy says, one for each core, and one where state is in memory', async () => {
    assert.equal(await count({ workers: '3' }), 3)
    assert.equal(await count({ workers: 'auto' }), Math.min(64, availableParallelism()))
    assert.equal(await count({ workers: 'auto', state: '"memory:"' }), 1)
    assert.equal(await count({ workers: '1' }), 1)
  })

  it('must agree in what cannot change while the service runs, and in nothing else', async () => {
    const redis = (password: string) => `{ redis: { url: "redis://127.0.0.1:1/0", password: "\${env:${password}}" } }`
    const digest = async (over: Readonly<Record<string, string>> = {}) => unchangingOf(await settingsOf(policy(over)))
    const first = await digest({ state: redis('ONE') })
    assert.equal(await digest({ state: redis('ONE') }), first)
    assert.equal(await digest({ state: redis('ONE'), routes: '[]', log: '{ level: warn }' }), first)
    const others = [
      await digest({ state: redis('TWO') }),
      await digest(),
      await digest({ state: redis('ONE'), workers: '3' }),
      await digest({ state: redis('ONE'), realm: 'other' }),
      await digest({ state: redis('ONE'), listen: '{ check: { address: "unix:/tmp/other.sock" } }' }),
      await digest({ state: redis('ONE'), admin: '{ audience: other }' }),
    ]
    assert.equal(new Set([first, ...others]).size, others.length + 1)
    assert.equal(first.includes('ONE'), false)
  })

  it('that end soon after their start are replaced ever later, up to 30 s', () => {
    assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 7, 60].map(replacementDelay), [0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
  })

  describe('metrics of all', () => {
    const plain = { version: '1.2.3', processMetrics: false }
    const member = (metrics: Metrics): Member & { answers: boolean } => {
      const made = {
        answers: true,
        measure: async () => (made.answers ? (JSON.parse(JSON.stringify(await metrics.snapshot())) as MetricsSnapshot) : undefined),
      }
      return made as unknown as Member & { answers: boolean }
    }
    const value = async (metrics: Metrics, series: string) => {
      const line = (await metrics.expose()).split('\n').find((one) => one.startsWith(`${series} `))
      return line === undefined ? undefined : Number(line.slice(series.length))
    }
    const checks = 'postern_checks_total{route="invoke",reason="ok",decision="allow"}'

    it('are a sum whose counters never fall, though workers are silent, end and come anew', async () => {
      const own = createMetrics({
        ...plain,
        sources: { workers: () => ({ alive: 2, restarts: 0 }), inFlight: () => 0, stateUp: () => true },
      })
      const made = [3, 4].map((inFlight) =>
        createMetrics({ ...plain, sources: { inFlight: () => inFlight, stateUp: () => inFlight === 3 } }),
      )
      const members = made.map(member)
      const all = metricsOfAll(own, { members: () => members })
      for (const metrics of made) metrics.observe(observation())
      made[0]!.observe(observation())
      made[0]!.reloaded('success')
      own.reloaded('success')
      assert.equal(await value(all, checks), 3)
      assert.equal(await value(all, 'postern_in_flight'), 7)
      assert.equal(await value(all, 'postern_state_up'), 0)
      assert.equal(await value(all, 'postern_workers'), 2)
      assert.equal(await value(all, 'postern_build_info{version="1.2.3"}'), 1)
      assert.equal(await value(all, 'postern_policy_reloads_total{outcome="success"}'), 1)
      assert.equal(await value(all, 'postern_check_duration_seconds_count'), 3)

      members[0]!.answers = false
      assert.equal(await value(all, checks), 3)
      assert.equal(await value(all, 'postern_in_flight'), 4)
      assert.ok((await value(all, 'postern_worker_silences_total'))! >= 2)

      members.splice(0, 1, member(createMetrics(plain)))
      assert.equal(await value(all, checks), 3)
      made[1]!.observe(observation())
      assert.equal(await value(all, checks), 4)
      members.splice(1, 1)
      assert.equal(await value(all, checks), 4)
      assert.equal(await value(all, 'postern_check_duration_seconds_count'), 4)
    })

    it('are those of the process where there is one', async () => {
      const own = createMetrics(plain)
      assert.equal(metricsOfAll(own, undefined), own)
    })
  })
})
