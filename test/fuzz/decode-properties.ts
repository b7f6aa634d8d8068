import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import type { Request } from '../../src/core/request.ts'
import { createDecoder, DecodeFault } from '../../src/wire/decode.ts'
import { damaged, damages, encoded } from './decode-messages.ts'
import { type Answers, oracle, prefixes, type Questions, table } from './decode-oracle.ts'
import { property } from './property.ts'

/** A CheckRequest as Envoy sent it once. */
export const captured = readFileSync(new URL('../wire/fixtures/check-request.bin', import.meta.url))
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
export function judge(bytes: Buffer): void {
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

function alike(bytes: Buffer): void {
  const expected = oracle(bytes)
  const request = decode(bytes)
  if (!expected) assert(request instanceof DecodeFault)
  else if (request instanceof DecodeFault) assert.fail(`${request.detail}: ${bytes.toString('base64')}`)
  else assert.deepEqual(ask(request, expected.questions), expected.answers)
}

/** The decoder of CheckRequest beside protobufjs. */
export const decodeProperties = [
  property('decode: answers alike about messages that are well-formed', encoded, alike, { weight: 4, few: 300 }),
  property(
    'decode: never accepts what protobufjs refuses, and never answers otherwise, about messages that are damaged',
    fc.tuple(encoded, damages),
    ([bytes, list]) => judge(damaged(bytes, list)),
    { weight: 10, few: 1500 },
  ),
  property('decode: nor about a captured message that is damaged', damages, (list) => judge(damaged(captured, list)), {
    weight: 15,
    few: 2500,
  }),
  property(
    'decode: nor about two messages one after the other, which protobuf would merge',
    fc.tuple(encoded, encoded),
    ([a, b]) => judge(Buffer.concat([a, b])),
    { weight: 2, few: 150 },
  ),
  property('decode: nor about any bytes at all', fc.uint8Array({ maxLength: 300 }), (bytes) => judge(Buffer.from(bytes)), { weight: 10 }),
]
