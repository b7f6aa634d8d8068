import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import type { Request } from '../../src/core/request.ts'
import { createDecoder, DecodeFault } from '../../src/wire/decode.ts'
import { damaged, damages, encoded } from './decode-messages.ts'
import { type Answers, oracle, prefixes, type Questions, table } from './decode-oracle.ts'

/**
 * `POSTERN_FUZZ_SECONDS` makes each of these run so long; without it they make a few hundred runs. The seed is
 * printed, and `POSTERN_FUZZ_SEED` sets it.
 */
const seconds = Number(process.env['POSTERN_FUZZ_SECONDS'] ?? 0)
const seed = Number(process.env['POSTERN_FUZZ_SEED'] ?? (seconds > 0 ? Date.now() % 1_000_000_007 : 20_261_123))
const runs = (few: number): fc.Parameters<unknown> =>
  seconds > 0
    ? { seed, numRuns: Number.MAX_SAFE_INTEGER, interruptAfterTimeLimit: seconds * 1000, markInterruptAsFailure: false }
    : { seed, numRuns: few }

const captured = readFileSync(new URL('../wire/fixtures/check-request.bin', import.meta.url))
const decode = createDecoder()

const ask = (request: Request, questions: Questions): Answers => ({
  method: request.method,
  host: request.host,
  path: request.path,
  scheme: request.scheme,
  names: [...request.headerNames()].sort(),
  alike: prefixes.map((prefix) => [...request.namesLike(prefix)].sort()),
  headers: table(questions.headers, (name) => request.header(name)),
  counts: table(questions.headers, (name) => request.headerCount(name)),
  peerPrincipal: request.peerPrincipal,
  peerCertificate: request.peerCertificate,
  extensions: table(questions.extensions, (name) => request.extension(name)),
  payloads: table(questions.payloads, (key) => request.verifiedPayload(key)),
})

/** Ours refuses, or gives no claims, or answers as the oracle does; what the oracle refuses, it refuses. */
function judge(bytes: Buffer): void {
  const expected = oracle(bytes)
  const request = decode(bytes)
  if (request instanceof DecodeFault) return
  assert(expected, `accepted what the oracle refuses: ${bytes.toString('base64')}`)
  const answers = ask(request, expected.questions)
  const payloads = Object.fromEntries(
    Object.entries(expected.answers.payloads).map(([key, claims]) => {
      const ours = answers.payloads[key]
      const isEmpty = ours !== undefined && Object.keys(ours).length === 0
      return [key, isEmpty && claims !== undefined ? {} : claims]
    }),
  )
  assert.deepEqual(answers, { ...expected.answers, payloads }, bytes.toString('base64'))
}

describe(`the decoder of CheckRequest beside protobufjs (seed ${seed})`, function () {
  this.timeout(Math.max(60_000, seconds * 2_000))

  it('answers alike about messages that are well-formed', () => {
    fc.assert(
      fc.property(encoded, (bytes) => {
        const expected = oracle(bytes)
        const request = decode(bytes)
        if (!expected) return assert(request instanceof DecodeFault)
        if (request instanceof DecodeFault) assert.fail(`${request.detail}: ${bytes.toString('base64')}`)
        assert.deepEqual(ask(request, expected.questions), expected.answers)
      }),
      runs(300),
    )
  })

  it('never accepts what protobufjs refuses, and never answers otherwise, about messages that are damaged', () => {
    fc.assert(
      fc.property(encoded, damages, (bytes, list) => judge(damaged(bytes, list))),
      runs(1500),
    )
  })

  it('nor about a captured message that is damaged', () => {
    fc.assert(
      fc.property(damages, (list) => judge(damaged(captured, list))),
      runs(2500),
    )
  })

  it('nor about two messages one after the other, which protobuf would merge', () => {
    fc.assert(
      fc.property(encoded, encoded, (a, b) => judge(Buffer.concat([a, b]))),
      runs(150),
    )
  })

  it('nor about any bytes at all', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => judge(Buffer.from(bytes))),
      runs(1000),
    )
  })

  it('refuses every beginning of a captured message but those that are messages themselves', () => {
    for (let end = 0; end < captured.length; end++) judge(Buffer.from(captured.subarray(0, end)))
  })

  it('sees every flipped bit of a captured message as the oracle does', () => {
    const step = seconds > 0 ? 1 : 7
    for (let at = 0; at < captured.length * 8; at += step) {
      const bytes = Buffer.from(captured)
      bytes[at >> 3]! ^= 1 << (at & 7)
      judge(bytes)
    }
  })
})
