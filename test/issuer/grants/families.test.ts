import assert from 'node:assert/strict'
import { createMemoryStore, openMemoryState } from '../../../src/adapters/memory-state.ts'
import { openRedisState } from '../../../src/adapters/redis-state.ts'
import { openSqliteState } from '../../../src/adapters/sqlite-state.ts'
import type { Revocation, State } from '../../../src/core/ports.ts'
import { type Families, families } from '../../../src/issuer/grants/families.ts'
import { startRedis } from '../../support/redis.ts'
import { createStops } from '../../support/stops.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const now = 1_800_000_000_000
const t = now / 1000

/** Opens handles of one state, as replicas have them. */
type Place = () => Promise<() => Promise<State>>

const stops = createStops(() => {})
const places: Readonly<Record<string, Place>> = {
  memory: async () => {
    const store = createMemoryStore()
    return () => openMemoryState({ realm: 'default', store })
  },
  'SQLite file': async () => {
    const folder = temporaryFolder()
    stops.started({ stop: async () => folder.remove() })
    return () => openSqliteState({ path: folder.file('postern.db'), realm: 'default' })
  },
  Redis: async () => {
    const redis = stops.started(await startRedis())
    return () => openRedisState({ place: { url: redis.url }, realm: 'default' })
  },
}

describe('families of refresh tokens', function () {
  this.timeout(20_000)
  after(() => stops.stop())
  for (const [name, place] of Object.entries(places)) {
    describe(name, () => {
      let replicas: { readonly state: State; readonly families: Families }[]
      let revoked: Revocation[]
      before(async () => {
        const open = await place()
        replicas = []
        for (let i = 0; i < 2; i++) {
          const state = await open()
          stops.started({ stop: () => state.close() })
          replicas.push({ state, families: families({ records: state.records, revoke: async (one) => void revoked.push(one) }) })
        }
      })
      beforeEach(() => {
        revoked = []
      })
      const begin = (id: string, given: { id: string; expiresAt: number }[] = []) =>
        replicas[0]!.families.begin({ id, client: 'router', subject: 'u1', until: t + 3600 }, given)

      it('a turn is taken once, whoever asks', async () => {
        await begin('once')
        const takes = await Promise.all(Array.from({ length: 24 }, (_, i) => replicas[i % 2]!.families.take('once', 0)))
        assert.equal(takes.filter((turn) => turn === 'spent').length, 23)
        const [turn] = takes.filter((one) => typeof one === 'object')
        assert.equal(await turn!.give({ id: 'a', expiresAt: t + 60 }, now), true)
        assert.equal(await replicas[1]!.families.take('once', 0), 'spent')
        assert.equal(typeof (await replicas[1]!.families.take('once', 1)), 'object')
      })

      it('one that ended gives nothing, and what it gave is revoked, what had ended is not', async () => {
        await begin('ends', [
          // The edge admits a token for a minute after its end.
          { id: 'old', expiresAt: t - 60 },
          { id: 'young', expiresAt: t + 60 },
        ])
        assert.deepEqual(await replicas[1]!.families.end('ends', now), ['young'])
        assert.deepEqual(revoked, [{ level: 'token', target: 'young', at: t, until: t + 60 }])
        assert.equal(await replicas[0]!.families.take('ends', 0), 'ended')
        // Whoever ended it may have been stopped before it had revoked all.
        assert.deepEqual(await replicas[0]!.families.end('ends', now), ['young'])
      })

      it('one that ends while a token is issued has that token revoked', async () => {
        await begin('race')
        const turn = await replicas[0]!.families.take('race', 0)
        assert.ok(typeof turn === 'object')
        assert.deepEqual(await replicas[1]!.families.end('race', now), [])
        assert.equal(await turn.give({ id: 'late', expiresAt: t + 60 }, now), false)
        assert.deepEqual(
          revoked.map(({ target }) => target),
          ['late'],
        )
      })

      it('nobody’s is known', async () => {
        assert.equal(await replicas[0]!.families.take('nobody', 0), 'ended')
        assert.deepEqual(await replicas[0]!.families.end('nobody', now), [])
        await replicas[0]!.state.records.write('token', { id: 'a-token', value: { kind: 'edge' }, until: t + 60 }, undefined)
        assert.equal(await replicas[0]!.families.take('a-token', 0), 'ended')
        assert.deepEqual(await replicas[0]!.families.end('a-token', now), [])
      })

      it('two do not begin under one name', async () => {
        await begin('twice')
        await assert.rejects(begin('twice'), { name: 'Unavailable' })
      })
    })
  }
})
