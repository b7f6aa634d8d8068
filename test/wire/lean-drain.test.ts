import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { ClientHttp2Session } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startLeanServer } from '../../src/wire/lean-server.ts'
import { ask, connectTo, framed, type Outcome } from './http2-client.ts'
import { makeRig } from './transport-rig.ts'

const whole = framed(Buffer.alloc(1900, 1))

describe('the lean transport, drained under load', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-drain-'))
  const rig = makeRig(startLeanServer)

  afterEach(rig.clear)
  after(() => rmSync(folder, { recursive: true }))

  /** Asks without a pause until the server says that it goes: the session then takes no more calls. */
  const load = async (session: ClientHttp2Session, seen: Outcome[]): Promise<void> => {
    while (!session.closed) seen.push(await ask(session, { chunks: [whole] }))
  }

  for (const address of ['127.0.0.1:0', `unix:${folder}/check.sock`]) {
    it(`loses no call over ${address.split(':')[0] === 'unix' ? 'a unix socket' : 'TCP'}`, async () => {
      const answers = [Buffer.alloc(600), Buffer.alloc(30_000)]
      let asked = 0
      const handler = (): Buffer | Promise<Buffer> => {
        const answer = answers[asked++ % 2] as Buffer
        return asked % 5 === 0 ? sleep(5, answer) : answer
      }
      for (let round = 0; round < 3; round++) {
        const server = await rig.start(address, undefined, { handler })
        const sessions = [connectTo(server), connectTo(server)]
        const lastIds: number[] = []
        for (const session of sessions) session.on('goaway', (_code, id) => lastIds.push(id))
        const ends = sessions.map((session) => once(session, 'close'))
        const seen: Outcome[] = []
        const loads = sessions.flatMap((session) => Array.from({ length: 16 }, () => load(session, seen)))
        await sleep(100)
        const before = asked
        await server.close(5000)
        await Promise.all([...loads, ...ends])
        assert(before > 20, `${before} calls before the end`)
        const lost = seen.filter(({ status }) => status !== 0)
        assert.deepEqual(lost, [], `${lost.length} of ${seen.length}`)
        assert.equal(lastIds.filter((id) => id === 0x7fffffff).length, 2)
      }
    })
  }

  it('ends at once where nothing is under way', async () => {
    const server = await rig.start('127.0.0.1:0')
    const session = connectTo(server)
    await once(session, 'remoteSettings')
    const began = performance.now()
    await server.close(5000)
    assert(performance.now() - began < 500)
    session.destroy()
  })
})
