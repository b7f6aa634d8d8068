import assert from 'node:assert/strict'
import { checkPath } from '../support/http2-headers.ts'
import { type Case, nameOf, runH2spec } from './h2spec.ts'
import { startBareServer, startCheckServer, type Transport } from './servers.ts'

const program = process.env['POSTERN_TEST_H2SPEC']

/**
 * Some cases race: the server may answer, and reset the stream, before it has seen the frame that is wrong. What fails is asked
 * again by itself; one that never passes fails.
 */
const tries = 8

/**
 * These look at the DATA of an answer, and h2spec's requests carry no message: a gRPC service answers them with HEADERS alone.
 * data.test.ts asks the same of the answers to checks. Any other case that nghttp2 passes has to be passed.
 */
const needData = [
  'generic/2: Sends a PRIORITY frame on half-closed (remote) stream',
  'generic/2: Sends a WINDOW_UPDATE frame on half-closed (remote) stream',
  'http2/6.5.3: Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE',
  'http2/6.9.1: Sends SETTINGS frame to set the initial window size to 1 and sends HEADERS frame',
  'http2/6.9.2: Changes SETTINGS_INITIAL_WINDOW_SIZE after sending HEADERS frame',
  'http2/6.9.2: Sends a SETTINGS frame for window size to be negative',
]

describe('h2spec', function () {
  this.timeout(120_000)
  /** The cases that nghttp2 passes in each of two runs at once, which is where races show. */
  let passable: Set<string>
  let cases: number

  before(async function () {
    if (program === undefined) return this.skip()
    const bare = await startBareServer('answer')
    const runs = await Promise.all([1, 2].map(() => runH2spec(program, { port: bare.port, path: '/' }))).finally(bare.stop)
    cases = runs[0]!.length
    passable = new Set(runs[0]!.filter(({ outcome }) => outcome === 'passed').map(nameOf))
    for (const each of runs[1]!) if (each.outcome !== 'passed') passable.delete(nameOf(each))
  })

  /** Of the cases that nghttp2 passes, those that do not pass: all are run, then again the sections of what failed. */
  async function unlikeNghttp2(port: number, path: string): Promise<Case[]> {
    let left: Case[] = []
    for (let turn = 0; turn < tries; turn++) {
      const sections = [...new Set(left.map(({ section }) => section))]
      const names = new Set(left.map(nameOf))
      const run = await runH2spec(program!, { port, path, ...(turn === 0 ? {} : { sections }) })
      left = run.filter((each) => each.outcome !== 'passed' && passable.has(nameOf(each)) && (turn === 0 || names.has(nameOf(each))))
      if (left.every((each) => needData.includes(nameOf(each)))) break
    }
    return left
  }

  it('has cases that a bare nghttp2 server passes', () => {
    assert.ok(cases >= 140, `${cases} cases`)
    assert.ok(passable.size >= 130, `${passable.size} pass`)
  })

  it('asks for DATA in the named cases alone: a bare server without a body fails no other', async () => {
    const bodiless = await startBareServer()
    const left = await unlikeNghttp2(bodiless.port, '/').finally(bodiless.stop)
    assert.deepEqual(left.map(nameOf).sort(), needData)
  })

  for (const transport of ['lean', 'grpc-js'] satisfies Transport[]) {
    it(`${transport} passes what nghttp2 passes`, async () => {
      const server = await startCheckServer(transport)
      // Of an unknown method, and of the one that waits for a message.
      const runs = await Promise.all(['/', checkPath].map((path) => unlikeNghttp2(server.port, path))).finally(server.stop)
      for (const left of runs) {
        const sentences = left
          .filter((each) => !needData.includes(nameOf(each)))
          .map((each) => `${nameOf(each)}: ${each.detail || each.outcome}`)
        assert.deepEqual(sentences, [])
      }
    })
  }
})
