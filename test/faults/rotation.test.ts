import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose'
import { type AdminClient, adminClient } from '../support/admin.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { type Asker, openAsker } from './asker.ts'
import { secrets } from './edge.ts'

const issuer = 'http://localhost:9193'
/** How long a client keeps the key set: shorter than `publish_before`, as 5 minutes are than 15. */
const keptMs = 1500
const policyOf = (check: string, admin: string, own: string, redis: string, algorithm: string): string => `version: 1
listen:
  check: { address: "unix:${check}" }
  admin: { address: "${admin}" }
  issuer: { address: "${own}", url: "${issuer}" }
state: "${redis}"
admin: { secret: "\${env:POSTERN_TEST_ADMIN_SECRET}" }
issuer:
  algorithm: ${algorithm}
  keys: { encryption_key: "\${env:POSTERN_TEST_ENCRYPTION_KEY}", publish_before: 3s }
identity:
  - { name: agents, type: postern, audience: postern, subject_namespace: "" }
roles: { invoke: {} }
routes:
  - { id: plain, methods: [GET], path: /v1/sandboxes, roles: [invoke] }
`

interface Replica {
  readonly postern: RunningPostern
  readonly admin: AdminClient
  readonly asker: Asker
  readonly rewrite: (algorithm: string) => void
  /** The key set as a client has it that keeps it for a while. */
  readonly keySet: () => Promise<ReturnType<typeof createLocalJWKSet>>
}

describe('two replicas on Redis whose keys are rotated under load', function () {
  this.timeout(60_000)
  let folder: TemporaryFolder
  let redis: RunningRedis
  const replicas: Replica[] = []
  const folders: TemporaryFolder[] = []

  const start = async (name: string): Promise<Replica> => {
    const [adminPort, issuerPort] = await freePorts(2)
    const own = temporaryFolder()
    const [check, address, at] = [folder.file(`${name}.sock`), `127.0.0.1:${adminPort}`, `127.0.0.1:${issuerPort}`]
    const policy = (algorithm: string): string => policyOf(check, address, at, redis.url, algorithm)
    const postern = await startPostern(policy('ES256'), { env: secrets, folder: own })
    let cached: { readonly set: Promise<ReturnType<typeof createLocalJWKSet>>; readonly since: number } | undefined
    const keySet = (): ReturnType<Replica['keySet']> => {
      if (!cached || performance.now() - cached.since > keptMs) {
        const set = fetch(`http://${at}/jwks.json`).then(async (answer) => createLocalJWKSet((await answer.json()) as JSONWebKeySet))
        cached = { set, since: performance.now() }
      }
      return cached.set
    }
    folders.push(own)
    const admin = await adminClient(address)
    const rewrite = (algorithm: string): void => postern.rewrite(policy(algorithm))
    return { postern, admin, asker: openAsker(`unix:${check}`), keySet, rewrite }
  }
  before(async () => {
    folder = temporaryFolder()
    redis = await startRedis()
    replicas.push(...(await Promise.all([start('one'), start('two')])))
  })
  after(async () => {
    for (const { asker } of replicas) asker.close()
    await Promise.all(replicas.map(({ postern }) => postern.stop()))
    await redis?.stop()
    for (const one of [folder, ...folders]) one?.remove()
  })

  const one = (): Replica => replicas[0]!
  const listed = async ({ admin }: Replica) =>
    ((await (await admin.call('GET', '/v1/admin/keys')).json()) as { keys: { kid: string; state: string; algorithm: string }[] }).keys
  const signing = async (replica: Replica) => (await listed(replica)).find(({ state }) => state === 'signing')

  /** Has tokens minted by either replica, and shown to both and to clients of both, while something is done. */
  async function underLoad(work: () => Promise<void>, clients: boolean): Promise<{ kids: Set<string>; asked: number }> {
    const kids = new Set<string>()
    const old: string[] = []
    const refused: string[] = []
    let asked = 0
    let over = false
    const show = async (token: string, what: string): Promise<void> => {
      const { kid } = decodeProtectedHeader(token)
      for (const [i, { asker, keySet }] of replicas.entries()) {
        const answer = await asker.ask('/v1/sandboxes', token)
        if (answer !== 'ok') refused.push(`${what} at replica ${i}: ${answer} (${kid})`)
        if (clients)
          await jwtVerify(token, await keySet(), { issuer, audience: 'postern' }).catch((cause: Error) =>
            refused.push(`${what} by a client of replica ${i}: ${cause.message} (${kid})`),
          )
        asked++
      }
    }
    const turn = async (replica: Replica): Promise<void> => {
      while (!over) {
        const { token } = await replica.admin.mint({ subject: 'crawler', roles: ['invoke'], ttl: 600 })
        kids.add(decodeProtectedHeader(token).kid!)
        await show(token, 'a new token')
        if (old.length < 200) old.push(token)
        await show(old[asked % old.length]!, 'an old token')
        await sleep(2)
      }
    }
    const turns = replicas.flatMap((replica) => [turn(replica), turn(replica)])
    try {
      await work()
    } finally {
      over = true
    }
    await Promise.all(turns)
    for (const token of old) await show(token, 'a token of before')
    assert.deepEqual(refused.slice(0, 5), [])
    return { kids, asked }
  }

  it('three times by command: no valid token is refused by a replica, or by a client that keeps the key set', async () => {
    const { kids, asked } = await underLoad(async () => {
      for (let i = 0; i < 3; i++) {
        const answer = await replicas[i % 2]!.admin.call('POST', '/v1/admin/keys/rotate', {})
        const { kid } = (await answer.json()) as { kid: string }
        assert.notEqual((await signing(one()))?.kid, kid, 'it is published first')
        for (const replica of replicas) await until('the new key to sign', async () => (await signing(replica))?.kid === kid, 8000)
        await sleep(300)
      }
    }, true)
    assert.equal(kids.size, 4, 'the first key, and three more')
    assert.ok(asked > 200, `${asked}`)
  })
  it('three times at once: no replica refuses a token, whoever rotates and whoever minted', async () => {
    const { kids } = await underLoad(async () => {
      for (let i = 0; i < 3; i++) {
        // Both rotate: nothing that either was told is undone.
        const told = await Promise.all(
          replicas.map(
            async ({ admin }) => (await (await admin.call('POST', '/v1/admin/keys/rotate', { now: true })).json()) as { kid: string },
          ),
        )
        const state = async (kid: string) => (await listed(one())).find((key) => key.kid === kid)?.state
        for (const { kid } of told) await until('the new key to sign', async () => (await state(kid)) !== 'published', 5000)
        for (const { kid } of told) assert.ok(['signing', 'retired'].includes((await state(kid))!), 'and it is still there')
        await sleep(300)
      }
    }, false)
    assert.ok(kids.size >= 4, `${kids.size}`)
  })
  it('to another algorithm, by a reload of one replica after the other', async () => {
    const { kids } = await underLoad(async () => {
      replicas[0]!.rewrite('EdDSA')
      await until('the new key', async () => (await listed(replicas[1]!)).some(({ algorithm }) => algorithm === 'EdDSA'), 5000)
      replicas[1]!.rewrite('EdDSA')
      for (const replica of replicas) await until('it to sign', async () => (await signing(replica))?.algorithm === 'EdDSA', 8000)
      await sleep(500)
    }, true)
    assert.equal(kids.size, 2)
    assert.equal((await listed(one())).filter(({ algorithm }) => algorithm === 'EdDSA').length, 1, 'one key for both')
  })
})
