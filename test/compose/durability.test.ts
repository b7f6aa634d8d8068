import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Service, serve, startService } from '../faults/direct-service.ts'
import { policyOf } from '../faults/edge.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

interface Status {
  readonly ready: boolean
  readonly conditions: readonly { readonly type: string; readonly status: string; readonly reason: string; readonly missing?: string[] }[]
  readonly state: { readonly durability: string }
}

describe('a service on a Redis that keeps what it is given, or not', function () {
  this.timeout(60_000)
  let folder: TemporaryFolder
  let redis: RunningRedis | undefined
  let replica: RunningRedis | undefined
  let service: Service | undefined
  beforeEach(() => {
    folder = temporaryFolder()
  })
  afterEach(async () => {
    await service?.kill()
    await replica?.stop()
    await redis?.stop()
    service = redis = replica = undefined
    folder.remove()
  })
  const statusOf = async ({ call }: Service) => (await (await call('GET', '/status')).json()) as Status
  const durable = ({ conditions }: Status) => conditions.filter(({ type }) => type === 'StateDurable')

  it('says in status and in its log what is missing, and is ready', async () => {
    redis = await startRedis()
    service = await startService(folder, redis.url, await freePorts(3))
    const status = await statusOf(service)
    const [condition, ...others] = durable(status)
    deepEqual([condition?.status, condition?.reason, others.length], ['False', 'MayLoseWrites', 0])
    match(condition?.missing?.[0] ?? '', /^appendonly is no/)
    match(status.state.durability, /^a revocation may be lost: appendonly is no/)
    equal(status.ready, true)
    const lines = [...service.program.stdout, ...service.program.stderr].filter((line) =>
      line.includes('state may lose what it acknowledged'),
    )
    equal(lines.length, 1)
    ok(lines[0]!.includes('appendonly is no'))
  })

  it('has nothing to say with the settings of the guide, and a replica that confirms', async () => {
    const guide = readFileSync(fileURLToPath(new URL('../../docs/guides/redis-durability.md', import.meta.url)), 'utf8')
    const block = /```redis\.conf\n([^`]+)```/.exec(guide)?.[1] ?? ''
    const flags = block
      .trim()
      .split('\n')
      .flatMap((line) => `--${line}`.split(' '))
    equal(flags.length, 12)
    const at = '--repl-diskless-sync-delay'
    redis = await startRedis([...flags, at, '0'])
    replica = await startRedis([...flags, at, '0', '--replicaof', '127.0.0.1', String(redis.port)])
    const primary = redis.client()
    await until(
      'the replica',
      async () => (await primary.set('warm', '1').catch(() => null)) === 'OK' && (await primary.wait(1, 100)) === 1,
    )
    service = await startService(folder, redis.url, await freePorts(3))
    const status = await statusOf(service)
    deepEqual(
      durable(status).map((condition) => condition.status),
      ['True'],
    )
    equal(status.state.durability, 'a revocation is on the disk of Redis, and with 1 replica, before it is acknowledged')
    // One write more that nobody confirms is refused.
    replica.hang()
    equal((await service.call('POST', '/v1/revoke', { level: 'token', target: 'lost' })).status, 503)
    replica.resume()
  })

  it('does not start on one that may evict everything', async () => {
    redis = await startRedis(['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'])
    const [check, admin, issuer] = (await freePorts(3)).map((port) => `127.0.0.1:${port}`)
    const values = { check: check!, admin: admin!, issuer: issuer!, state: redis.url }
    writeFileSync(folder.file('postern.yaml'), policyOf('kill.yaml', values), { mode: 0o600 })
    const program = serve(folder)
    equal((await program.ended).code, 1)
    match(program.stderr.join('\n'), /^state: Redis at 127\.0\.0\.1:\d+: maxmemory-policy is allkeys-lru .* expected noeviction$/m)
  })
})
