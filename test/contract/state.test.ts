import { DatabaseSync } from 'node:sqlite'
import { Redis } from 'ioredis'
import { createMemoryStore, openMemoryState } from '../../src/adapters/memory-state.ts'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { startRedis } from '../support/redis.ts'
import { startCluster } from '../support/redis-cluster.ts'
import { startSentinels } from '../support/redis-sentinel.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { type Place, stateContract } from './state.contract.ts'

stateContract('memory', async () => {
  const store = createMemoryStore()
  const open = (realm: string) => openMemoryState({ realm, store })
  return { open, survives: true, close: async () => {} }
})

stateContract('SQLite file', async () => {
  const folder = temporaryFolder()
  const path = folder.file('state/postern.db')
  return {
    open: (realm) => openSqliteState({ path, realm }),
    writeStraight: async (realm, resource, id, name, value) => {
      const database = new DatabaseSync(path)
      database
        .prepare('INSERT INTO labels (realm, resource, id, labels) VALUES (?, ?, ?, ?)')
        .run(realm, resource, id, JSON.stringify([[name, value]]))
      database.close()
    },
    writeOdd: async (realm, resource, id) => {
      const database = new DatabaseSync(path)
      database.prepare('INSERT INTO labels (realm, resource, id, labels) VALUES (?, ?, ?, ?)').run(realm, resource, id, '{"damaged')
      database.close()
    },
    survives: true,
    close: async () => folder.remove(),
  }
})

async function redisPlace(url: string, stop: () => Promise<void>): Promise<Place> {
  const client = new Redis(url, { protocol: 2 })
  return {
    open: (realm) => openRedisState({ place: { url }, realm }),
    writeStraight: async (realm, resource, id, name, value) =>
      void (await client.hset(`postern:${realm}:labels:${resource}:${id}`, name, value)),
    writeOdd: async (realm, resource, id) => void (await client.set(`postern:${realm}:labels:${resource}:${id}`, 'no hash')),
    expire: async (realm, resource, id, ms) => void (await client.pexpire(`postern:${realm}:labels:${resource}:${id}`, ms)),
    survives: true,
    close: async () => {
      client.disconnect()
      await stop()
    },
  }
}

stateContract('Redis, native', async () => {
  const redis = await startRedis()
  return redisPlace(redis.url, redis.stop)
})

stateContract('Redis Sentinel, native', async () => {
  const { name, hosts, primary, stop } = await startSentinels()
  const place = await redisPlace(primary.url, stop)
  return { ...place, open: (realm) => openRedisState({ place: { sentinel: { name, hosts }, tls: false }, realm }) }
})

stateContract('Redis Cluster, native', async () => {
  const { hosts, at, stop } = await startCluster()
  const key = (realm: string, resource: string, id: string) => `postern:${realm}:labels:${resource}:${id}`
  return {
    open: (realm) => openRedisState({ place: { cluster: hosts, tls: false }, realm }),
    writeStraight: async (realm, resource, id, name, value) => {
      const [client, to] = [await at(key(realm, resource, id)), key(realm, resource, id)]
      await client.hset(to, name, value)
    },
    writeOdd: async (realm, resource, id) => {
      const [client, of] = [await at(key(realm, resource, id)), key(realm, resource, id)]
      await client.set(of, 'no hash')
    },
    expire: async (realm, resource, id, ms) => {
      const [client, of] = [await at(key(realm, resource, id)), key(realm, resource, id)]
      await client.pexpire(of, ms)
    },
    survives: true,
    close: stop,
  }
})

if (process.env['POSTERN_TEST_DOCKER'] === '1')
  stateContract('Redis, in a container', async () => {
    // Only now: testcontainers looks for an engine as soon as it is used.
    const { startContainedRedis } = await import('../support/redis-container.ts')
    const redis = await startContainedRedis()
    return redisPlace(redis.url, redis.stop)
  })
