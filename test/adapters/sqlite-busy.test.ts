import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { type State, Unavailable } from '../../src/core/ports.ts'
import { type Program, startProgram } from '../support/program.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])

describe('a state file that another process holds the write lock of', () => {
  let folder: TemporaryFolder
  let state: State
  let other: Program | undefined
  const faults: (string | undefined)[] = []
  beforeEach(async () => {
    folder = temporaryFolder()
    faults.length = 0
    state = await openSqliteState({ path: folder.file('p.db'), realm: 'default', onFault: (fault) => faults.push(fault) })
    await state.labels.write('sandbox', 's', owned('alice'))
  })
  afterEach(async () => {
    await other?.stop()
    await state.close()
    folder.remove()
  })

  /** Another process takes the lock, and has it when this resolves. */
  async function lockFor(ms: number): Promise<void> {
    other = startProgram(process.execPath, [
      '--input-type=module',
      '-e',
      `import { DatabaseSync } from 'node:sqlite'
      const database = new DatabaseSync(${JSON.stringify(folder.file('p.db'))})
      database.exec('BEGIN IMMEDIATE')
      console.log('locked')
      setTimeout(() => { database.exec('COMMIT'); database.close() }, ${ms})`,
    ])
    await until('the lock', () => other?.stdout.includes('locked'))
  }

  /** Reads as checks do until told to end. @returns how long each took, in order of length, milliseconds */
  function readOn(): () => Promise<readonly number[]> {
    const took: number[] = []
    let over = false
    const reading = (async () => {
      while (!over) {
        const begun = performance.now()
        deepEqual(state.labels.read('sandbox', 's'), { labels: owned('alice') })
        ok(performance.now() - state.feed.heardAt() < 1000)
        took.push(performance.now() - begun)
        await sleep(5)
      }
    })()
    return async () => {
      over = true
      await reading
      return took.sort((a, b) => a - b)
    }
  }
  /** All but the slowest hundredth, in which a busy machine may have taken the processor away. */
  const notHeldUp = (took: readonly number[]) => {
    const p99 = took[Math.floor(took.length * 0.99) - 1]!
    console.log(`      ${took.length} reads: p99 ${p99.toFixed(2)} ms, worst ${took.at(-1)?.toFixed(2)} ms`)
    ok(took.length >= 50 && p99 < 50, `${took.length} reads, p99 ${p99} ms`)
  }

  it('waits for two seconds, while checks go on', async () => {
    await lockFor(2000)
    const begun = performance.now()
    const ended = readOn()
    const [swapped] = await Promise.all([
      state.labels.swap('sandbox', 'new', undefined, owned('bob')),
      state.labels.writeMany([{ resource: 'sandbox', id: 'many', labels: owned('carol') }], 'absent'),
      state.revocations.append({ level: 'token', target: 'jti', at: 1, until: 99_999_999_999 }),
    ])
    equal(swapped, true)
    ok(performance.now() - begun > 1000, 'nobody held the lock')
    notHeldUp(await ended())
    deepEqual((await state.labels.read('sandbox', 'many'))?.labels, owned('carol'))
    deepEqual(faults, [])
  }).timeout(30_000)

  it('gives up after five seconds, says so, loses nothing of what it had acknowledged, and writes again', async () => {
    await lockFor(8000)
    const ended = readOn()
    const begun = performance.now()
    await rejects(
      state.labels.swap('sandbox', 'new', undefined, owned('bob')),
      (error: Error) => error instanceof Unavailable && /p\.db: another process has been writing for too long/.test(error.message),
    )
    const waited = performance.now() - begun
    ok(waited > 4000 && waited < 7500, `${waited} ms`)
    ok(faults.at(-1)?.includes('another process has been writing for too long'))
    notHeldUp(await ended())
    equal(await state.labels.read('sandbox', 'new'), undefined)
    await other?.ended
    equal(await state.labels.swap('sandbox', 'new', undefined, owned('carol')), true)
    equal(state.fault(), undefined)
    deepEqual((await state.labels.read('sandbox', 's'))?.labels, owned('alice'))
    deepEqual((await state.labels.read('sandbox', 'new'))?.labels, owned('carol'))
  }).timeout(40_000)
})
