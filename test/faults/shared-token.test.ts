import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { renameSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { type FaultEdge, policyOf, startFaultEdge } from './edge.ts'
import { type Load, type Shot, startLoad } from './load.ts'

/** Milliseconds that are promised. */
const promised = 30_000
/** Requests a second on each replica. */
const rate = 80
const path = '/v1/sandboxes'

describe('a shared token that is rotated', function () {
  this.timeout(150_000)
  const folder = temporaryFolder()
  const file = folder.file('token')
  const [old, next] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')]
  const replicas: FaultEdge[] = []
  const loads: Load[] = []

  /** In one step, as a mounted Secret changes. */
  const write = (...tokens: string[]): number => {
    writeFileSync(`${file}.new`, `${tokens.join('\n')}\n`, { mode: 0o600 })
    renameSync(`${file}.new`, file)
    return performance.now()
  }

  before(async () => {
    write(old)
    const policy = policyOf('shared-token.yaml', { token: file })
    for (let i = 0; i < 2; i++) replicas.push(await startFaultEdge(policy))
  })
  after(async () => {
    for (const load of loads) await load.stop()
    for (const replica of replicas) await replica.stop()
    folder.remove()
  })

  /** Waits until each replica has answered `ask` with `reason`, to a request sent after `since`. */
  const answered = (ask: string, reason: string, since: number) =>
    until(
      `${ask} to be answered with ${reason} on both replicas`,
      () => loads.every(({ shots }) => shots.some((shot) => shot.ask === ask && shot.reason === reason && shot.sentAt > since)),
      promised + 2000,
    )
  const of = ({ shots }: Load, ask: string): Shot[] => shots.filter((shot) => shot.ask === ask).sort((a, b) => a.sentAt - b.sentAt)
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

  it('takes effect on two replicas within 30 s, under load, and disturbs no other request', async () => {
    for (const replica of replicas) {
      loads.push(
        startLoad(replica.port, rate, [
          { name: 'user', path, headers: bearer(await replica.token('alice')) },
          { name: 'old', path, headers: bearer(old) },
          { name: 'next', path, headers: bearer(next) },
          { name: 'public', path: '/healthz' },
        ]),
      )
    }
    await sleep(1000)
    const both = write(old, next)
    await answered('next', 'ok', both)
    await sleep(1000)
    const alone = write(next)
    await answered('old', 'invalid_credential', alone)
    await sleep(1000)

    for (const [i, load] of loads.entries()) {
      await load.stop()
      for (const ask of ['user', 'public'])
        assert.deepEqual(
          of(load, ask).filter(({ status }) => status !== 200),
          [],
          `${ask} on replica ${i} was disturbed`,
        )
      // The old one counts until it is taken out, the new one from when it first counted: neither flickers.
      const [olds, news] = [of(load, 'old'), of(load, 'next')]
      const began = news.findIndex(({ reason }) => reason === 'ok')
      const ended = olds.findIndex(({ reason }) => reason !== 'ok')
      assert.ok(news.slice(0, began).every(({ status, reason }) => status === 401 && reason === 'invalid_credential'))
      assert.deepEqual(
        news.slice(began).filter(({ reason }) => reason !== 'ok'),
        [],
      )
      assert.deepEqual(
        olds.slice(ended).filter(({ reason }) => reason !== 'invalid_credential'),
        [],
      )
      const [first, last] = [news[began]!, olds[ended]!]
      assert.ok(first.doneAt >= both && last.doneAt >= alone, 'nothing changed before the file did')
      assert.ok(last.sentAt > first.doneAt, 'there was a time in which both counted')
      // What is sent after 30 s meets the new file; what is sent before may.
      for (const [what, changed, late] of [
        ['the new one', both, news.filter(({ sentAt, reason }) => sentAt > both + promised && reason !== 'ok')],
        ['the end of the old one', alone, olds.filter(({ sentAt, reason }) => sentAt > alone + promised && reason === 'ok')],
      ] as const) {
        assert.deepEqual(late, [], `${what} came late on replica ${i}`)
        const took = (changed === both ? first.sentAt : last.sentAt) - changed
        assert.ok(took <= promised, `${what} took ${took} ms on replica ${i}`)
        console.log(`      replica ${i}: ${what} after ${(took / 1000).toFixed(1)} s`)
      }
      console.log(`      replica ${i}: ${load.shots.length} requests, those of users and public ones all answered with 200`)
    }
  })
})
