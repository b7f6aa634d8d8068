import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { encryptedKeyStore, keyCipher, readEncryptionKey } from '../../src/adapters/key-cipher.ts'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { type KeyRing, openKeyRing } from '../../src/issuer/key-ring.ts'
import { keySet } from '../../src/issuer/key-set.ts'
import { isPageKey } from '../../src/issuer/signing-key.ts'
import { type AdminClient, adminClient } from '../support/admin.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { type Asker, openAsker } from './asker.ts'
import { policyOf, secrets } from './edge.ts'
import { startProxy, type TcpProxy } from './proxy.ts'

/** Milliseconds that are promised. */
const promised = 1000
/** Of each level. */
const revocations = 200
/** Revoked and waited for at the same time. */
const atOnce = 10
const path = '/v1/sandboxes'
/** That many come at once. */
const flood = 200_000
const issuer = 'http://127.0.0.1:9193'
const levels = ['token', 'subject', 'agent', 'task', 'chain', 'client', 'key'] as const
type Level = (typeof levels)[number]

interface Replica {
  readonly policy: string
  readonly folder: TemporaryFolder
  readonly asker: Asker
  readonly address: string
  postern: RunningPostern
  admin: AdminClient
}

/** Something that can be presented, and what revokes it. */
interface Victim {
  readonly credential: string
  readonly level: Level
  readonly target: string
}

/** Bytes of memory of the process. */
const resident = ({ postern }: Replica): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${postern.program.pid}/status`, 'utf8'))?.[1]) * 1024

for (const kind of ['redis', 'file'] as const) {
  const count = kind === 'redis' ? 3 : 2
  describe(`revocations on ${count} ${kind === 'redis' ? 'replicas with Redis' : 'processes with one file'}`, function () {
    this.timeout(120_000)
    let shared: TemporaryFolder
    let redis: RunningRedis | undefined
    /** Between Redis and the last replica. */
    let proxy: TcpProxy | undefined
    let ring: KeyRing
    let closeState: () => Promise<void>
    const replicas: Replica[] = []
    const revoked: Victim[] = []

    const start = (replica: Pick<Replica, 'policy' | 'folder'>) =>
      startPostern(replica.policy, { env: secrets, folder: replica.folder, limit: 40_000 })
    /** A token of the service's own, with all that our issuer may write into one. */
    const token = (claims: object): string => {
      const iat = Math.floor(Date.now() / 1000)
      const all = {
        iss: issuer,
        aud: 'postern',
        sub: `sub-${randomUUID()}`,
        roles: ['sandbox:invoke'],
        iat,
        exp: iat + 600,
        jti: randomUUID(),
      }
      return ring.sign({ ...all, ...claims }, 'at+jwt')
    }
    const answers = (credential: string) => Promise.all(replicas.map(({ asker }) => asker.ask(path, credential)))

    before(async () => {
      shared = temporaryFolder()
      redis = kind === 'redis' ? await startRedis(['--appendonly', 'yes', '--appendfsync', 'always']) : undefined
      proxy = redis && (await startProxy(redis.port))
      const url = (i: number) =>
        redis && proxy ? `redis://127.0.0.1:${i === count - 1 ? proxy.port : redis.port}/0` : `file:${shared.file('postern.db')}`
      const ports = await freePorts(2 * count)
      const started = Array.from({ length: count }, async (_, i) => {
        const folder = temporaryFolder()
        const check = `unix:${folder.file('check.sock')}`
        const [admin, at] = [`127.0.0.1:${ports[2 * i]}`, `127.0.0.1:${ports[2 * i + 1]}`]
        const policy = policyOf('revocations.yaml', { check, admin, issuer: at, state: url(i) })
        const postern = await start({ policy, folder })
        replicas.push({ policy, folder, address: admin, postern, admin: await adminClient(admin), asker: openAsker(check) })
      })
      await Promise.all(started)
      replicas.sort((a, b) => Number(a.policy.includes(`:${proxy?.port}/`)) - Number(b.policy.includes(`:${proxy?.port}/`)))
      const state = redis
        ? await openRedisState({ place: { url: redis.url }, realm: 'default' })
        : await openSqliteState({ path: shared.file('postern.db'), realm: 'default' })
      closeState = state.close
      const cipher = keyCipher(readEncryptionKey(secrets.POSTERN_TEST_ENCRYPTION_KEY))
      const times = { publishBeforeMs: 900_000, rotateEveryMs: Number.POSITIVE_INFINITY, keepForMs: 900_000 }
      ring = await openKeyRing({
        store: keySet(encryptedKeyStore(state.keys, cipher), (key) => !isPageKey(key)),
        feed: state.feed,
        ...times,
      })
    })
    after(async () => {
      ring?.close()
      await closeState?.()
      for (const { asker, postern, folder } of replicas) {
        asker.close()
        await postern.stop()
        folder.remove()
      }
      await proxy?.stop()
      await redis?.stop()
      shared?.remove()
    })

    async function victim(level: Level): Promise<Victim> {
      const id = `spiffe://agents.local/agent/o/t/${randomUUID()}`
      switch (level) {
        case 'key': {
          const answer = await replicas[0]!.admin.call('POST', '/v1/api-keys', { owner: 'acme' })
          const made = (await answer.json()) as { id: string; key: string }
          await until('the key everywhere', async () => (await answers(made.key)).every((answer) => answer === 'ok'), 3000)
          return { level, credential: made.key, target: made.id }
        }
        case 'token':
          return { level, target: id, credential: token({ jti: id }) }
        case 'subject':
          return { level, target: `agent:${id}`, credential: token({ sub: id }) }
        case 'agent':
          return { level, target: id, credential: token({ act: { sub: id } }) }
        case 'chain':
          return { level, target: id, credential: token({ act: { sub: 'spiffe://agents.local/agent/o/t/1', act: { sub: id } } }) }
        case 'task':
          return { level, target: id, credential: token({ task_id: id }) }
        case 'client':
          return { level, target: id, credential: token({ client_id: id }) }
      }
    }

    /** Milliseconds from the request to revoke, to the first refusal of each replica. */
    async function revoke({ level, target, credential }: Victim, by: Replica): Promise<number[]> {
      const begun = performance.now()
      const refused = replicas.map(async ({ asker }) => {
        await until('the refusal', async () => (await asker.ask(path, credential)) === 'revoked', 10_000)
        return performance.now() - begun
      })
      const answer = await by.admin.call('POST', '/v1/revoke', { level, target })
      assert.equal(answer.status, 200, await answer.text())
      return Promise.all(refused)
    }

    for (const level of levels) {
      it(`level ${level}: ${revocations} of them are in force everywhere within 1 s`, async () => {
        const took: number[] = []
        for (let done = 0; done < revocations; done += atOnce) {
          const victims = await Promise.all(Array.from({ length: atOnce }, () => victim(level)))
          for (const { credential } of victims) assert.deepEqual(new Set(await answers(credential)), new Set(['ok']))
          // By each replica in turn, so that each hears of the others'.
          took.push(...(await Promise.all(victims.map((one, i) => revoke(one, replicas[(done + i) % count]!)))).flat())
          revoked.push(victims[0]!)
        }
        took.sort((a, b) => a - b)
        const ms = (part: number) => Math.round(took[Math.min(took.length - 1, Math.floor(took.length * part))]!)
        console.log(`      ${kind}, ${level}: p50 ${ms(0.5)} ms, p99 ${ms(0.99)} ms, longest ${ms(1)} ms over ${took.length} refusals`)
        assert.equal(took.length, revocations * count)
        assert.ok(ms(1) < promised, `${ms(1)} ms`)
      })
    }

    it('say in the metrics how many there were of each level', async () => {
      const text = (await Promise.all(replicas.map(({ admin }) => admin.metrics()))).join('\n')
      for (const level of levels) {
        const found = [...text.matchAll(new RegExp(`^postern_tokens_revoked_total\\{level="${level}"\\} (\\d+)$`, 'gm'))]
        assert.equal(
          found.reduce((sum, [, n]) => sum + Number(n), 0),
          revocations,
          level,
        )
      }
    })

    it('lift a subject for its API keys everywhere within 1 s, and not for its tokens', async () => {
      const [one, last] = [replicas[0]!, replicas.at(-1)!]
      const made = (await (await one.admin.call('POST', '/v1/api-keys', { owner: 'lifted' })).json()) as { key: string }
      await until('the key everywhere', async () => (await answers(made.key)).every((answer) => answer === 'ok'), 3000)
      const target = 'agent:lifted'
      const old = token({ sub: 'lifted' })
      await one.admin.call('POST', '/v1/revoke', { level: 'subject', target })
      await revoke({ level: 'subject', target: 'key:lifted', credential: made.key }, one)
      await until('the refusal of the token', async () => (await answers(old)).every((answer) => answer === 'revoked'), promised)
      for (const lifted of [target, 'key:lifted']) {
        const answer = await last.admin.call('POST', '/v1/revoke/lift', { level: 'subject', target: lifted })
        assert.equal(answer.status, 200, await answer.text())
      }
      await until('the key again', async () => (await answers(made.key)).every((answer) => answer === 'ok'), promised)
      assert.deepEqual(new Set(await answers(old)), new Set(['revoked']))
      const took = await revoke({ level: 'subject', target: 'key:lifted', credential: made.key }, one)
      assert.ok(Math.max(...took) < promised)
    })

    it('are in force after everything was killed and started again', async () => {
      await Promise.all(replicas.map(({ postern }) => postern.kill()))
      if (redis) {
        await redis.kill()
        await redis.start()
      }
      await Promise.all(
        replicas.map(async (replica) => {
          replica.postern = await start(replica)
          replica.admin = await adminClient(replica.address)
        }),
      )
      const fresh = token({})
      await until('both are asked again', async () => (await answers(fresh)).every((answer) => answer === 'ok'), 10_000)
      for (const { credential, level } of revoked) assert.deepEqual(new Set(await answers(credential)), new Set(['revoked']), level)
    })

    if (kind === 'redis') {
      it(`of which ${flood.toLocaleString('en')} come at once are taken up while checks go on, and cost little memory`, async () => {
        const good = token({})
        const last = token({ jti: `flood-${flood - 1}` })
        const before = replicas.map(resident)
        const seen = new Map<string, number>()
        const slow: number[] = []
        let over = false
        const watching = replicas.map(async ({ asker }) => {
          while (!over) {
            const asked = performance.now()
            const answer = await asker.ask(path, good)
            seen.set(answer, (seen.get(answer) ?? 0) + 1)
            slow.push(performance.now() - asked)
            await sleep(5)
          }
        })
        const client = redis!.client()
        const begun = performance.now()
        const end = String(Math.floor(Date.now() / 1000) + 4 * 86_400)
        for (let i = 0; i < flood; i += 500) {
          const batch = client.pipeline()
          for (let j = i; j < i + 500; j++)
            batch.xadd('postern:default:revocations', '*', 'level', 'token', 'target', `flood-${j}`, 'at', '1', 'until', end)
          await batch.exec()
        }
        const written = performance.now()
        await until('the last of them', async () => (await answers(last)).every((answer) => answer === 'revoked'), 20_000)
        const took = performance.now() - written
        over = true
        await Promise.all(watching)
        const grown = replicas.map((replica, i) => Math.round((resident(replica) - before[i]!) / 1e6))
        slow.sort((x, y) => x - y)
        console.log(
          `      written in ${Math.round(written - begun)} ms, in force everywhere ${Math.round(took)} ms later; ${slow.length} checks meanwhile, ${seen.get('revocation_unavailable') ?? 0} of them unavailable, ` +
            `p99 ${Math.round(slow[Math.floor(slow.length * 0.99)]!)} ms; the processes grew by ${grown.join(', ')} MB`,
        )
        // Whoever falls more than max_staleness behind, on a machine that is busy with other things, says so and guesses nothing.
        assert.deepEqual(
          [...seen.keys()].filter((answer) => answer !== 'ok' && answer !== 'revocation_unavailable'),
          [],
        )
        assert.deepEqual(new Set(await answers(good)), new Set(['ok']))
        assert.ok(Math.max(...grown) < 100, grown.join())
        assert.equal(await replicas[0]!.asker.ask(path, token({ jti: 'flood-77' })), 'revoked')
      })

      it('are not guessed by a replica that is cut off: it answers revocation_unavailable, and hears of them once it is back', async () => {
        const link = proxy!
        const [one, cut] = [replicas[0]!, replicas.at(-1)!]
        const good = token({})
        const bad = await victim('chain')
        const begun = performance.now()
        link.stall()
        assert.equal((await one.admin.call('POST', '/v1/revoke', { level: bad.level, target: bad.target })).status, 200)
        await until('the refusal', async () => (await one.asker.ask(path, bad.credential)) === 'revoked', promised)
        await until('the distrust', async () => (await cut.asker.ask(path, good)) === 'revocation_unavailable', 5000)
        const took = performance.now() - begun
        assert.ok(took < 2000 + 700, `${took} ms`)
        assert.equal(await cut.asker.ask(path, bad.credential), 'revocation_unavailable')
        assert.deepEqual([await one.asker.ask(path, good), await cut.asker.ask('/healthz')], ['ok', 'ok'])
        await sleep(300)
        link.forward()
        const back = performance.now()
        await until('the recovery', async () => (await cut.asker.ask(path, good)) === 'ok', 8000)
        assert.equal(await cut.asker.ask(path, bad.credential), 'revoked')
        console.log(
          `      cut off: revocation_unavailable after ${Math.round(took)} ms, well again after ${Math.round(performance.now() - back)} ms`,
        )
      })
    }
  })
}
