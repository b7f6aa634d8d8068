import { deepEqual, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { slotOf } from '../../src/adapters/redis-slot.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { startCluster } from '../support/redis-cluster.ts'
import { startSentinels } from '../support/redis-sentinel.ts'
import { until } from '../support/until.ts'
import { type OwnedReplicas, startOwned } from './owned.ts'
import { type OwnedLoad, sandboxes, startOwnedLoad } from './owned-load.ts'

/** Checks of each fault; the full run has 1,000,000 in all (POSTERN_TEST_CHECKS: of each). */
const checks = Number(process.env['POSTERN_TEST_CHECKS'] ?? 15_000)

/** What is acknowledged is with a replica, so that a failover loses none of it. */
const durable = ['--min-replicas-to-write', '1', '--min-replicas-max-lag', '2']

/** A Redis of some form, and what is done to it while it is asked. */
interface Faulty {
  /** `state` of a policy, in YAML. */
  readonly state: string
  /** Resolves when the fault is over, as far as it can be from outside. */
  readonly fault: () => Promise<void>
  readonly stop: () => Promise<void>
}

const forms: Readonly<Record<string, () => Promise<Faulty>>> = {
  'a Redis that is paused for 5 s': async () => {
    const redis: RunningRedis = await startRedis(['--appendonly', 'yes'])
    return {
      state: `redis://127.0.0.1:${redis.port}/0`,
      fault: async () => {
        redis.hang()
        await sleep(5000)
        redis.resume()
      },
      stop: redis.stop,
    }
  },
  'a primary that is killed, which Sentinel replaces': async () => {
    const sentinels = await startSentinels({ flags: durable })
    return {
      state: `{ redis: { sentinel: { name: ${sentinels.name}, hosts: [${sentinels.hosts.map((host) => `"${host}"`).join(', ')}] } } }`,
      fault: async () => {
        const { primary, replica } = sentinels
        await primary.kill()
        await until('the failover', async () => (await sentinels.told()) === replica.port, 20_000)
        // It comes back as a replica of the other one.
        await primary.start()
      },
      stop: sentinels.stop,
    }
  },
  'a cluster whose slots are moved': async () => {
    const cluster = await startCluster()
    return {
      state: `{ redis: { cluster: [${cluster.hosts.map((host) => `"${host}"`).join(', ')}] } }`,
      fault: async () => {
        // Each slot that a sandbox is in goes to the next node.
        const slots = new Set(sandboxes.map((id) => slotOf(`postern:default:labels:sandbox:${id}`)))
        for (const slot of [...slots].slice(0, 40)) {
          const now = shareOf(slot)
          await cluster.moveSlot(slot, cluster.nodes[(now + 1) % 3]!)
          await sleep(20)
        }
      },
      stop: cluster.stop,
    }
  },
  'a cluster one of whose primaries is killed': async () => {
    const cluster = await startCluster({ replicas: 1, flags: durable })
    return {
      state: `{ redis: { cluster: [${cluster.hosts.map((host) => `"${host}"`).join(', ')}] } }`,
      fault: async () => {
        const key = `postern:default:labels:sandbox:${sandboxes[0]}`
        const killed = await cluster.ownerOf(key)
        await killed.kill()
        await until('the failover', async () => (await cluster.ownerOf(key).catch(() => killed)) !== killed, 20_000)
        await killed.start()
      },
      stop: cluster.stop,
    }
  },
}

/** Number of the node that has a slot at first. */
const shareOf = (slot: number): number => (slot <= 5460 ? 0 : slot <= 10922 ? 1 : 2)

for (const [name, start] of Object.entries(forms)) {
  describe(`owners that change while there is ${name}`, function () {
    this.timeout(90_000 + checks / 2)
    let faulty: Faulty
    let owned: OwnedReplicas
    let load: OwnedLoad

    before(async () => {
      faulty = await start()
      owned = await startOwned([faulty.state, faulty.state])
    })
    after(async () => {
      await load?.stop()
      await owned?.stop()
      await faulty?.stop()
    })

    it(`let nobody in who is not the owner, in ${checks.toLocaleString('en')} checks, and are asked again without a restart`, async () => {
      load = await startOwnedLoad(owned.replicas)
      await until('the first half', () => load.count() > checks / 2, 60_000 + checks)
      const before = load.changes()
      const begun = performance.now()
      await faulty.fault()
      const faultMs = performance.now() - begun
      const over = performance.now()
      // As soon as it can be had: changes are acknowledged again, and for a second nothing is unavailable.
      await until('changes again', () => load.changes().acknowledged > before.acknowledged + 50, 30_000)
      await until('a second without refusal', () => performance.now() - Math.max(load.lastUnavailable(), over) > 1000, 30_000)
      const recovery = Math.max(0, load.lastUnavailable() - over)
      await until('the second half', () => load.count() > checks, 60_000 + checks)
      await load.stop()
      const { acknowledged, failed } = load.changes()
      const told = [...load.answers].map(([answer, count]) => `${answer} ${count}`).join(', ')
      console.log(
        `      ${load.count()} checks (${told}), ${acknowledged} changes acknowledged and ${failed} not; the fault took ${Math.round(faultMs)} ms, the last refusal came ${Math.round(recovery)} ms after it`,
      )
      deepEqual(load.wrong.slice(0, 5), [])
      await sleep(1200)
      deepEqual(await load.settled(), [])
      ok(recovery < 10_000, `${recovery} ms`)
      deepEqual(
        [...load.answers.keys()].filter(
          (answer) =>
            !['ok', 'not_owner', 'owner_unavailable', 'revocation_unavailable', 'identity_unavailable', 'overloaded'].includes(answer),
        ),
        [],
      )
    })
  })
}
