import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import type { AnyRedisPlace } from '../../src/adapters/redis-options.ts'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { Unavailable } from '../../src/core/ports.ts'
import { type Place, stateContract } from '../contract/state.contract.ts'
import { testCertificates } from '../support/certificates.ts'
import { freePort } from '../support/free-port.ts'
import { startRedis } from '../support/redis.ts'
import { startCluster } from '../support/redis-cluster.ts'
import { startSentinels } from '../support/redis-sentinel.ts'
import { type RedisTls, tlsFlags } from '../support/redis-tls.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'

// The users of docs/guides/redis.md, over TLS, in each form of Redis: they may do all that state does, and nothing that it does not.

const guide = readFileSync(new URL('../../docs/guides/redis.md', import.meta.url), 'utf8')
const lines = [...guide.matchAll(/^ {4}ACL SETUSER (.+)$/gm)].map(([, line]) => line!)
const password = 'a word that is not guessed'
/** The contract opens many realms. */
const userOf = (line: string): string[] =>
  line.split(' ').map((word) => (word === '>PASSWORD' ? `>${password}` : word.replaceAll('default', '*')))
const [single, sentinel, cluster] = lines as [string, string, string]

/** WAIT needs a replica, ASKING a slot that moves: redis-durability.test.ts and below. */
const elsewhere = new Set(['wait', 'asking'])

/** What was refused, and rights that nothing used. */
async function judge(servers: readonly Redis[], line: string): Promise<void> {
  const used = new Set<string>()
  for (const server of servers) {
    const log = (await server.call('ACL', 'LOG')) as unknown[]
    deepEqual(log, [])
    const stats = await server.info('commandstats')
    for (const [, name] of stats.matchAll(/^cmdstat_([^:]+):calls=[1-9]/gm)) used.add(name!)
  }
  const rights = line.split(' ').flatMap((word) => (word.startsWith('+') ? [word.slice(1)] : []))
  deepEqual(
    rights.filter((right) => !used.has(right) && !elsewhere.has(right)),
    [],
  )
}

interface Secured {
  readonly folder: TemporaryFolder
  readonly tls: RedisTls
  /** What a place says beside the address. */
  readonly entry: { username: string; password: string; ca: string; cert: string; key: string }
}
function secured(): Secured {
  const folder = temporaryFolder()
  const { ca, caPem, server } = testCertificates(folder.path)
  const { cert, key, certPem, keyPem } = server('redis')
  return { folder, tls: { cert, key, ca }, entry: { username: 'postern', password, ca: caPem, cert: certPem, key: keyPem } }
}

function placed(place: AnyRedisPlace, servers: readonly Redis[], line: string, stop: () => Promise<unknown>): Place {
  return {
    open: (realm) => openRedisState({ place, realm }),
    survives: true,
    close: async () => {
      try {
        await judge(servers, line)
      } finally {
        await stop()
      }
    },
  }
}

stateContract('one Redis, TLS, with the rights of the guide', async () => {
  const { folder, tls, entry } = secured()
  const port = await freePort()
  const redis = await startRedis(tlsFlags(tls, port))
  const client = redis.client()
  await client.call('ACL', 'SETUSER', ...userOf(single))
  await client.config('RESETSTAT')
  return placed({ url: `rediss://127.0.0.1:${port}`, ...entry }, [client], single, async () => {
    await redis.stop()
    folder.remove()
  })
})

stateContract('Redis Sentinel, TLS, with the rights of the guide', async () => {
  const { folder, tls, entry } = secured()
  const allow = (redis: Redis) => redis.call('ACL', 'SETUSER', ...userOf(single))
  const { name, hosts, primary, sentinels, stop } = await startSentinels({ tls, prepare: allow })
  const clients = sentinels.map((one) => one.client())
  for (const client of clients) await client.call('ACL', 'SETUSER', ...userOf(sentinel))
  const place = { sentinel: { name, hosts, username: 'postern', password }, tls: true, ...entry }
  return placed(place, [primary.client()], single, async () => {
    for (const client of clients) deepEqual(await client.call('ACL', 'LOG'), [])
    await stop()
    folder.remove()
  })
})

stateContract('Redis Cluster, TLS, with the rights of the guide', async () => {
  const { folder, tls, entry } = secured()
  const running = await startCluster({ tls })
  const clients = running.nodes.map(running.client)
  for (const client of clients) {
    await client.call('ACL', 'SETUSER', ...userOf(cluster))
    await client.config('RESETSTAT')
  }
  return placed({ cluster: running.hosts, tls: true, ...entry }, clients, cluster, async () => {
    await running.stop()
    folder.remove()
  })
})

describe('the rights of the guide', function () {
  this.timeout(20_000)
  it('are three users, none of whom may touch what is not Postern’s', async () => {
    equal(lines.length, 3)
    const redis = await startRedis()
    try {
      const client = redis.client()
      for (const line of [single, cluster]) {
        await client.call('ACL', 'SETUSER', ...line.split(' '))
        for (const command of ['SET other x', 'GET postern:another:keys', 'KEYS *', 'FLUSHALL', 'CONFIG SET dir /tmp', 'SUBSCRIBE news'])
          ok(String(await client.call('ACL', 'DRYRUN', 'postern', ...command.split(' '))).includes('no permissions'), command)
      }
    } finally {
      await redis.stop()
    }
  })

  it('let a slot be read that is on its way', async () => {
    const running = await startCluster()
    try {
      const clients = running.nodes.map(running.client)
      for (const client of clients) await client.call('ACL', 'SETUSER', ...userOf(cluster))
      const state = await openRedisState({ place: { cluster: running.hosts, tls: false, username: 'postern', password }, realm: 'default' })
      try {
        const key = 'postern:default:labels:sandbox:s'
        const slot = Number(await clients[0]!.call('CLUSTER', 'KEYSLOT', key))
        const source = await running.ownerOf(key)
        await running.moveSlot(slot, running.nodes.find((node) => node !== source)!, async () => {
          equal(await state.labels.read('sandbox', 's'), undefined)
          await state.labels.write('sandbox', 's', new Map([['agentcube.io/owner', 'alice']]))
        })
        equal((await state.labels.read('sandbox', 's'))?.labels.get('agentcube.io/owner'), 'alice')
        for (const client of clients) deepEqual(await client.call('ACL', 'LOG'), [])
      } finally {
        await state.close()
      }
    } finally {
      await running.stop()
    }
  })

  it('are refused by name of the server, and no password, where it is the wrong one', async () => {
    const running = await startCluster()
    try {
      const state = await openRedisState({
        place: { cluster: running.hosts, tls: false, username: 'postern', password: 'wrong-word' },
        realm: 'default',
      })
      try {
        ok(/WRONGPASS/.test(state.fault() ?? '') && !/wrong-word/.test(state.fault() ?? ''), String(state.fault()))
        await rejects(async () => state.labels.read('sandbox', 's'), Unavailable)
      } finally {
        await state.close()
      }
    } finally {
      await running.stop()
    }
  })
})
