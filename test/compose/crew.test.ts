import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { type Crew, createCrew } from '../../src/compose/workers-crew.ts'
import { StartRefused } from '../../src/core/start-refused.ts'
import { until } from '../support/until.ts'

const entry = fileURLToPath(new URL('fixtures/worker.ts', import.meta.url))

describe('a crew of workers', function () {
  this.timeout(30_000)
  const lines: Record<string, unknown>[] = []
  let crew: Crew

  const crewOf = (env: Readonly<Record<string, string>>): Crew => {
    lines.length = 0
    crew = createCrew({
      size: 2,
      command: { entry, args: (number) => [`${number}`], env: { ...process.env, ...env } },
      unchanging: '',
      fingerprintKey: '',
      log: { error: ((fields: object, msg: string) => void lines.push({ ...fields, msg })) as never },
      pingEveryMs: 40,
    })
    return crew
  }
  afterEach(() => crew.close(1000))

  it('serves when all do, and ends with all', async () => {
    await crewOf({}).start()
    assert.deepEqual(crew.counts(), { alive: 2, restarts: 0 })
    const pids = crew.members().map(({ pid }) => pid)
    await crew.close(1000)
    assert.deepEqual(crew.members(), [])
    for (const pid of pids) assert.throws(() => process.kill(pid, 0))
    assert.deepEqual(lines, [])
  })

  it('refuses the start as the one does that will not', async () => {
    const refused = await crewOf({ WORKER_2: 'refuse' })
      .start()
      .then(
        () => undefined,
        (cause: unknown) => cause,
      )
    assert.ok(refused instanceof StartRefused)
    assert.deepEqual([refused.sentences, refused.fault], [['not today'], 'policy'])
  })

  it('replaces one that ends, even while others are starting', async () => {
    await crewOf({ WORKER_1: 'end', WORKER_2: 'late' }).start()
    await until('a replacement', () => crew.counts().restarts > 0)
    await until('its end', () => lines.some(({ worker, msg, code }) => worker === 1 && msg === 'a worker has ended' && code === 3))
    // From now on it waits, unless what was wrong is mended.
    const { restarts } = crew.counts()
    crew.hurry()
    assert.equal(crew.counts().restarts, restarts + 1)
  })

  it('kills one that hangs, and replaces it', async () => {
    await crewOf({ WORKER_2: 'hang' }).start()
    const [first, second] = crew.members()
    await until('the end of it', () => lines.some(({ worker, msg }) => worker === 2 && msg === 'a worker hangs'))
    await until('a replacement', () => crew.members().some(({ number, pid }) => number === 2 && pid !== second!.pid))
    assert.equal(crew.members()[0]!.pid, first!.pid)
    assert.deepEqual(
      lines.filter(({ worker }) => worker === 1),
      [],
    )
  })

  it('drops connections while nobody serves', () => {
    let destroyed = false
    const destroy = () => {
      destroyed = true
    }
    crewOf({}).take({ destroy } as unknown as Socket)
    assert.equal(destroyed, true)
  })
})
