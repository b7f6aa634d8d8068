import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type NearCache, openNearCache } from '../../src/adapters/near-cache.ts'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { openRevocationList } from '../../src/adapters/revocation-list.ts'
import { type Change, type LookedUp, type State, Unavailable } from '../../src/core/ports.ts'
import { testCertificates } from '../support/certificates.ts'
import { freePort } from '../support/free-port.ts'
import { type RunningRedis, startFake, startRedis } from '../support/redis.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const settings = { size: 1000, ttlMs: 30_000, negativeTtlMs: 2000, maxStaleMs: 0 }
const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])
const key = (id: string) => `postern:default:labels:sandbox:${id}`

describe('Redis that fails', function () {
  this.timeout(20_000)
  const ends: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of ends.reverse()) await end()
    ends.length = 0
  })

  const open = async (port: number, more: { username?: string; password?: string } = {}) => {
    const faults: (string | undefined)[] = []
    const state = await openRedisState({
      place: { url: `redis://127.0.0.1:${port}`, ...more },
      realm: 'default',
      onFault: (fault) => faults.push(fault),
    })
    ends.push(state.close)
    return { state, faults }
  }
  const start = async (flags?: string[]): Promise<RunningRedis> => {
    const redis = await startRedis(flags)
    ends.push(redis.stop)
    return redis
  }
  const nearCache = (state: State): NearCache =>
    openNearCache({ sources: new Map([[undefined, { reader: state.labels, feed: state.feed }]]), settings })
  const took = async (work: () => unknown) => {
    const began = performance.now()
    await rejects(async () => await work(), Unavailable)
    return performance.now() - began
  }

  it('starts while nobody listens, says so, and goes on once somebody does', async () => {
    const port = await freePort()
    const { state, faults } = await open(port)
    match(state.fault() ?? '', new RegExp(`^Redis at 127\\.0\\.0\\.1:${port}: ECONNREFUSED$`))
    equal(state.feed.heardAt(), Number.NEGATIVE_INFINITY)
    ok((await took(() => state.labels.read('sandbox', 's'))) < 50)
    await rejects(state.revocations.append({ level: 'token', target: 't', at: 1, until: 2 }), Unavailable)
    const redis = await startRedis([], port)
    ends.push(redis.stop)
    await until('the connection', () => state.fault() === undefined, 3000)
    equal(await state.labels.read('sandbox', 's'), undefined)
    equal(faults.at(-1), undefined)
  })

  it('gives up on a server that accepts and never answers', async () => {
    const fake = await startFake()
    ends.push(fake.stop)
    const began = performance.now()
    const { state } = await open(fake.port)
    ok(performance.now() - began < 1000)
    match(state.fault() ?? '', /no answer came within 500 ms/)
    ok((await took(() => state.labels.read('sandbox', 's'))) < 50)
  })

  it('is unavailable while Redis loads its data set', async () => {
    const fake = await startFake('-LOADING Redis is loading the dataset in memory\r\n')
    ends.push(fake.stop)
    const { state } = await open(fake.port)
    match(state.fault() ?? '', /it answered LOADING/)
    ok((await took(() => state.labels.read('sandbox', 's'))) < 50)
  })

  it('says what was refused, and neither user nor password', async () => {
    const redis = await start(['--requirepass', 'right-secret'])
    const { state } = await open(redis.port, { username: 'someone', password: 'wrong-secret' })
    match(state.fault() ?? '', /it answered WRONGPASS/)
    ok(!JSON.stringify(state.fault()).includes('wrong-secret'))
  })

  it('notices a hang within a second, and comes back with everything kept near dropped', async () => {
    const redis = await start()
    const { state, faults } = await open(redis.port)
    const cache = nearCache(state)
    await state.labels.write('sandbox', 's', owned('alice'))
    await cache.labels(undefined, 'sandbox', 's')
    equal((cache.labels(undefined, 'sandbox', 's') as LookedUp).cache, 'hit')
    redis.hang()
    const began = performance.now()
    await until('distrust', () => {
      try {
        void cache.labels(undefined, 'sandbox', 's')
        return false
      } catch {
        return true
      }
    })
    ok(performance.now() - began < 1100, `distrusted after ${performance.now() - began} ms`)
    ok((await took(() => state.labels.read('sandbox', 'other'))) < 600)
    await until('the fault', () => state.fault() !== undefined, 1000)
    redis.resume()
    await until('recovery', () => state.fault() === undefined, 3000)
    equal(((await cache.labels(undefined, 'sandbox', 's')) as LookedUp).cache, 'miss')
    equal(faults.at(-1), undefined)
  })

  it('answers a look-up that is under way when Redis hangs, within the time-out', async () => {
    const redis = await start()
    const { state } = await open(redis.port)
    redis.hang()
    ok((await took(() => state.labels.read('sandbox', 's'))) < 800)
    redis.resume()
  })

  it('recovers from a kill without a restart, and sees what changed meanwhile', async () => {
    const redis = await start(['--appendonly', 'yes', '--appendfsync', 'always'])
    const { state } = await open(redis.port)
    const cache = nearCache(state)
    const revocations = await openRevocationList({ store: state.revocations, feed: state.feed, maxStalenessMs: 2000 })
    ends.push(async () => revocations.close())
    const principal = {
      validator: 'v',
      issuer: 'i',
      subject: 'alice',
      rawSubject: 'alice',
      roles: [],
      scopes: [],
      claims: {},
      issuedAt: 0,
      expiresAt: 0,
      digest: '',
      tokenId: 't',
    }
    const check = () => revocations.check(principal, Date.now())
    await state.labels.write('sandbox', 's', owned('alice'))
    await cache.labels(undefined, 'sandbox', 's')
    equal(check(), 'clear')
    const heard: Change['kind'][] = []
    state.feed.subscribe(({ kind }) => heard.push(kind))

    await redis.kill()
    const killed = performance.now()
    await until('the fault', () => state.fault() !== undefined, 500)
    const frozen = state.feed.heardAt()
    state.audit.append({ id: 'kept', time: '', type: 'decision', outcome: 'deny', realm: 'default' })
    await until('distrust', () => {
      try {
        void cache.labels(undefined, 'sandbox', 's')
        return false
      } catch {
        return true
      }
    })
    ok(performance.now() - killed < 1100)
    equal(check(), 'clear')
    await until('max_staleness', () => check() === 'unavailable', 3000)
    ok(performance.now() - killed > 1500)
    equal(state.feed.heardAt(), frozen)
    deepEqual(heard, [])

    await redis.start()
    const client = redis.client()
    await client.hset(key('s'), 'agentcube.io/owner', 'bob')
    await client.xadd('postern:default:revocations', '*', 'level', 'token', 'target', 't', 'at', '1', 'until', '99999999999')
    await until('recovery', () => state.fault() === undefined, 3000)
    await until('the revocation', () => check() === 'revoked', 1000)
    deepEqual((await cache.labels(undefined, 'sandbox', 's')).labels, owned('bob'))
    deepEqual([...new Set(heard)].sort(), ['api-keys', 'keys', 'labels', 'revocations'])
    await until('the audit event', async () => (await state.audit.tail(10)).some(({ id }) => id === 'kept'), 3000)
  })

  it('speaks TLS, to a server whose certificate the given authority signed alone', async () => {
    const folder = temporaryFolder()
    ends.push(async () => folder.remove())
    const { ca, caPem, server: issue } = testCertificates(folder.path)
    const server = issue('redis')
    const tlsPort = await freePort()
    const flags = ['--tls-port', String(tlsPort), '--tls-cert-file', server.cert, '--tls-key-file', server.key, '--tls-ca-cert-file', ca]
    await start([...flags, '--tls-auth-clients', 'no'])
    const url = `rediss://localhost:${tlsPort}`
    const trusting = await openRedisState({ place: { url, ca: caPem }, realm: 'default' })
    ends.push(trusting.close)
    equal(trusting.fault(), undefined)
    await trusting.labels.write('sandbox', 's', owned('alice'))
    ok(await trusting.labels.read('sandbox', 's'))
    const strange = await openRedisState({ place: { url }, realm: 'default' })
    ends.push(strange.close)
    match(strange.fault() ?? '', /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN/)
  })

  it('refuses writes to a replica as unavailable, and takes a key of another type for one without owner', async () => {
    const redis = await start()
    const client = redis.client()
    const { state } = await open(redis.port)
    await client.set(key('odd'), 'a string')
    deepEqual((await state.labels.read('sandbox', 'odd'))?.labels, new Map())
    await client.replicaof('127.0.0.1', 1)
    await rejects(
      state.labels.write('sandbox', 's', owned('alice')),
      (error: Unavailable) => error instanceof Unavailable && /READONLY|replica/.test(error.message),
    )
  })

  it('hears nothing from a replica, whose primary may know of more', async () => {
    const redis = await start()
    const client = redis.client()
    const { state } = await open(redis.port)
    const list = await openRevocationList({ store: state.revocations, feed: state.feed, maxStalenessMs: 1000 })
    const check = () => list.check({ subject: 'alice', issuedAt: 0 }, Date.now())
    try {
      await state.revocations.append({ level: 'subject', target: 'bob', at: 1, until: 99_999_999_999 })
      equal(check(), 'clear')
      // A failover made another the primary, and this one has lost it: what is revoked there does not come here.
      await client.replicaof('127.0.0.1', 1)
      await until('the distrust', () => check() === 'unavailable', 3000)
      match(state.fault() ?? '', /is a replica/)
      const { state: late } = await open(redis.port)
      match(late.fault() ?? '', /is a replica/)
      await client.replicaof('NO', 'ONE')
      await until('the trust', () => check() === 'clear', 3000)
      await until('the trust of the other', () => late.fault() === undefined, 3000)
    } finally {
      list.close()
    }
  })

  it('refuses a url that is none, without repeating it', async () => {
    for (const url of ['http://user:hidden@host', 'nonsense hidden', 'redis://user:hidden@host/notanumber']) {
      await rejects(
        openRedisState({ place: { url }, realm: 'default' }),
        (error: Error) => error.name === 'StateRefused' && !error.message.includes('hidden'),
      )
    }
  })

  it('needs no more rights than it says', async () => {
    const redis = await start()
    const rights =
      '+ping +subscribe +client|id +client|tracking +client|trackinginfo +get +set +hget +hgetall +hset +hmget +hvals +hlen +hexists +hscan +scan +del +hdel +multi +exec +eval +exists +xadd +xrange +xrevrange +xdel +xlen +xtrim +zadd +zrem +zrange +info +config|get +wait'
    await redis
      .client()
      .call(
        'ACL',
        'SETUSER',
        'postern',
        'on',
        '>pass',
        'resetchannels',
        '&__redis__:invalidate',
        '~postern:default:*',
        ...rights.split(' '),
      )
    const { state } = await open(redis.port, { username: 'postern', password: 'pass' })
    equal(state.fault(), undefined)
    await state.labels.write('sandbox', 's', owned('alice'))
    ok(await state.labels.read('sandbox', 's'))
    equal(await state.labels.swap('sandbox', 's', owned('alice'), owned('bob')), true)
    deepEqual(await state.labels.writeMany([{ resource: 'sandbox', id: 's', labels: owned('carol') }], 'absent'), [false])
    equal((await state.labels.list({}, 1000)).entries.length, 1)
    equal(await state.labels.remove('sandbox', 's'), true)
    await state.revocations.append({ level: 'token', target: 't', at: 1, until: 2 })
    await state.revocations.list()
    equal(await state.keys.replace([], [{ kid: 'k', algorithm: 'ES256', createdAt: 1, activeAt: 1, privateKey: 'p' }]), true)
    equal((await state.keys.list()).length, 1)
    await state.audit.commit({ id: 'a', time: '', type: 'decision', outcome: 'deny', realm: 'default' })
    equal((await state.audit.tail(1)).length, 1)
    deepEqual((await state.apiKeys.list()).entries, [])
    await state.apiKeys.noteUsed(new Map([['k', 1]]))
    deepEqual(await state.apiKeys.lastUsed(['k']), new Map([['k', 1]]))
    ok(await state.records.write('app', { id: 'a', value: {}, until: 1 }, undefined))
    ok(await state.records.read('app', 'a'))
    equal((await state.records.list('app', 10)).records.length, 1)
    equal((await state.records.expired('app', 2, 10)).length, 1)
    equal(await state.records.remove('app', 'a'), true)
    equal(await state.replays.claim('p', Date.now() / 1000 + 60), true)
    equal(await state.secrets.shared('s', 'secret'), 'secret')
    await sleep(300)
    equal(state.fault(), undefined)
    deepEqual(await redis.client().call('ACL', 'LOG'), [])
  })
})
