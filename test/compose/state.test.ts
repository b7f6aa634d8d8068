import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { openState, placeOf } from '../../src/compose/state.ts'
import { readPolicy } from '../../src/config/read.ts'
import type { RedisSettings } from '../../src/config/schema-redis.ts'
import { startCluster } from '../support/redis-cluster.ts'
import { startSentinels } from '../support/redis-sentinel.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

describe('Redis as a policy names it', function () {
  this.timeout(30_000)
  let folder: TemporaryFolder
  beforeEach(() => {
    folder = temporaryFolder()
  })
  afterEach(() => folder.remove())

  const settingsOf = async (state: string): Promise<RedisSettings> => {
    const file = folder.file('postern.yaml')
    writeFileSync(
      file,
      `version: 1\nlisten: { check: { address: "unix:${folder.file('check.sock')}" } }\nidentity: [{ name: users, type: oidc, issuer: https://keycloak.example, audience: [router] }]\nroutes: []\nstate: ${state}\n`,
    )
    const read = await readPolicy({ file, env: {} })
    ok(read.ok, JSON.stringify(read))
    const { state: found } = read.loaded.settings
    ok(found.kind === 'redis')
    return found
  }

  it('is one Redis, Sentinels or a cluster, with what each needs and no more', async () => {
    const secret = folder.file('secret')
    writeFileSync(secret, 'one\n', { mode: 0o600 })
    const url = placeOf(await settingsOf('redis://u@host:6379/2'))
    deepEqual({ ...url }, { url: 'redis://u@host:6379/2' })
    const cluster = placeOf(
      await settingsOf(`{ redis: { cluster: ["a:6379", "[::1]:6380"], username: postern, password: "\${file:${secret}}" } }`),
    )
    deepEqual({ ...cluster }, { cluster: ['a:6379', '[::1]:6380'], tls: false, username: 'postern', password: 'one' })
    const sentinel = placeOf(
      await settingsOf(`{ redis: { sentinel: { name: m, hosts: ["a:26379"], username: s, password: "\${file:${secret}}" }, tls: {} } }`),
    )
    ok('sentinel' in sentinel)
    deepEqual(
      { ...sentinel, sentinel: { ...sentinel.sentinel } },
      {
        sentinel: { name: 'm', hosts: ['a:26379'], username: 's', password: 'one' },
        tls: true,
      },
    )
  })

  it('is opened in each form, and kept by what it said last', async () => {
    const faults: unknown[] = []
    const cluster = await startCluster()
    try {
      const state = await openState(await settingsOf(`{ redis: { cluster: ${JSON.stringify(cluster.hosts)} } }`), 'default', (fault) =>
        faults.push(fault),
      )
      await state.labels.write('sandbox', 's', new Map([['agentcube.io/owner', 'alice']]))
      ok(await state.labels.read('sandbox', 's'))
      match((await state.durability?.())?.missing[0] ?? '', /^127\.0\.0\.1:\d+: appendonly is no/)
      await state.close()
      equal(faults.length, 0)
    } finally {
      await cluster.stop()
    }
    const { name, hosts, stop } = await startSentinels()
    try {
      const state = await openState(await settingsOf(`{ redis: { sentinel: ${JSON.stringify({ name, hosts })} } }`), 'default', (fault) =>
        faults.push(fault),
      )
      await state.labels.write('sandbox', 's', new Map([['agentcube.io/owner', 'alice']]))
      equal(state.fault(), undefined)
      await state.close()
    } finally {
      await stop()
    }
  })

  it('is entered with the password of that moment', async () => {
    let password = 'one'
    const cluster = await startCluster()
    try {
      const clients = cluster.nodes.map(cluster.client)
      const set = (word: string) =>
        Promise.all(clients.map((client) => client.call('ACL', 'SETUSER', 'postern', 'resetpass', 'on', `>${word}`, '~*', '&*', '+@all')))
      await set(password)
      const place = {
        cluster: cluster.hosts,
        tls: false,
        username: 'postern',
        get password() {
          return password
        },
      }
      const state = await openRedisState({ place, realm: 'default' })
      try {
        equal(state.fault(), undefined)
        await set('two')
        for (const client of clients) await client.call('CLIENT', 'KILL', 'USER', 'postern')
        await until('the loss', () => /WRONGPASS/.test(state.fault() ?? ''), 3000)
        password = 'two'
        await until('a session with the new one', () => state.fault() === undefined, 3000)
        await state.labels.write('sandbox', 's', new Map([['agentcube.io/owner', 'alice']]))
      } finally {
        await state.close()
      }
    } finally {
      await cluster.stop()
    }
  })
})
