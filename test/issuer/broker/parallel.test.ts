import assert from 'node:assert/strict'
import { openRedisState } from '../../../src/adapters/redis-state.ts'
import { openSqliteState } from '../../../src/adapters/sqlite-state.ts'
import { startRedis } from '../../support/redis.ts'
import { createStops } from '../../support/stops.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { openWorld, type World } from './world.ts'

const attempts = 1000

/** Registers so many agents at once with one launch token, in turn by each of the replicas. */
async function storm(replicas: readonly World[]): Promise<void> {
  const [first] = replicas as [World]
  const launch = await first.launch({ ttl: 300 })
  const worldOf = (i: number) => replicas[i % replicas.length]!
  const asked = Array.from({ length: attempts }, (_, i) => worldOf(i).registration(launch, { task: `task-${i}` }))
  const answers = await Promise.all(asked.map((registration, i) => worldOf(i).register(registration)))
  assert.equal(answers.filter(({ kind }) => kind === 'registered').length, 1)
  const reasons = new Set(answers.flatMap((answer) => (answer.kind === 'refused' ? [answer.reason] : [])))
  assert.deepEqual([...reasons], ['invalid_launch_token'])
  let [agents, tokens] = [0, 0]
  for (const [kind, add] of [
    ['agent', (n: number) => (agents += n)],
    ['token', (n: number) => (tokens += n)],
  ] as const) {
    for (let cursor: string | undefined; ; ) {
      const page = await first.state.records.list(kind, 100, cursor)
      add(page.records.length)
      if (page.cursor === undefined) break
      cursor = page.cursor
    }
  }
  assert.deepEqual({ agents, tokens }, { agents: 1, tokens: 1 })
}

describe('a thousand registrations at once with one launch token for a single use', function () {
  this.timeout(60_000)

  it('let one agent in, in memory', async () => {
    const world = await openWorld()
    try {
      await storm([world])
    } finally {
      await world.close()
    }
  })

  it('let one agent in, in a state file that two handles have open', async () => {
    const folder = temporaryFolder()
    const { started, stop } = createStops(folder.remove)
    try {
      const worlds: World[] = []
      for (const _ of [1, 2]) {
        const state = await openSqliteState({ path: folder.file('postern.db'), realm: 'default', onFault: () => {} })
        const world = await openWorld({ state })
        started({ stop: world.close })
        worlds.push(world)
      }
      await storm(worlds)
    } finally {
      await stop()
    }
  })

  it('let one agent in, on two replicas with one Redis', async () => {
    const { started, stop } = createStops(() => {})
    try {
      const redis = started(await startRedis())
      const worlds: World[] = []
      for (const _ of [1, 2]) {
        const state = await openRedisState({ place: { url: redis.url }, realm: 'default', onFault: () => {} })
        const world = await openWorld({ state })
        started({ stop: world.close })
        worlds.push(world)
      }
      await storm(worlds)
    } finally {
      await stop()
    }
  })
})
