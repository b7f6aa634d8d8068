import assert from 'node:assert/strict'
import type { ClientHttp2Session } from 'node:http2'
import { status } from '@grpc/grpc-js'
import { type Ask, ask, connectTo, framed, type Outcome } from './http2-client.ts'
import { decodeResponse } from './support.ts'
import { makeRig, plain, transports } from './transport-rig.ts'

const whole = framed(plain)
const maxReceive = 4096

interface Case {
  readonly name: string
  readonly ask: Ask
  /** gRPC status, or HTTP status from 100 on. */
  readonly expect: number
  /** Where grpc-js differs: it is more lenient, and ours is what gRPC's documents say. */
  readonly grpcJs?: number
}

const cases: readonly Case[] = [
  { name: 'a message in one frame', ask: { chunks: [whole] }, expect: 0 },
  { name: 'a message cut after each byte of its prefix', ask: { chunks: cut(whole, [1, 2, 3, 4, 5]) }, expect: 0 },
  { name: 'a message in three frames', ask: { chunks: cut(whole, [7, 20]) }, expect: 0 },
  { name: 'empty frames between', ask: { chunks: [Buffer.alloc(0), ...cut(whole, [3]), Buffer.alloc(0)] }, expect: 0 },
  { name: 'no te', ask: { chunks: [whole], headers: { te: undefined } }, expect: 0 },
  { name: 'application/grpc+proto', ask: { chunks: [whole], headers: { 'content-type': 'application/grpc+proto' } }, expect: 0 },
  {
    name: 'a content type with parameters',
    ask: { chunks: [whole], headers: { 'content-type': 'application/grpc;charset=utf-8' } },
    expect: 0,
  },
  { name: 'encoding identity', ask: { chunks: [whole], headers: { 'grpc-encoding': 'identity' } }, expect: 0 },
  ...['1H', '59M', '99999999S', '100m', '99999999u', '99999999n'].map((text) => ({
    name: `grpc-timeout ${text}`,
    ask: { chunks: [whole], headers: { 'grpc-timeout': text } },
    expect: 0,
  })),
  { name: 'no body', ask: {}, expect: status.UNIMPLEMENTED },
  { name: 'an empty body', ask: { chunks: [Buffer.alloc(0)] }, expect: status.UNIMPLEMENTED },
  { name: 'a prefix that is cut', ask: { chunks: [whole.subarray(0, 3)] }, expect: status.UNIMPLEMENTED },
  { name: 'a message that is cut', ask: { chunks: [whole.subarray(0, 20)] }, expect: status.UNIMPLEMENTED },
  { name: 'two messages', ask: { chunks: [Buffer.concat([whole, whole])] }, expect: status.UNIMPLEMENTED },
  { name: 'a message over the limit', ask: { chunks: [framed(Buffer.alloc(maxReceive + 1))] }, expect: status.RESOURCE_EXHAUSTED },
  {
    name: 'the prefix of a message over the limit',
    ask: { chunks: [Buffer.from([0, 0xff, 0xff, 0xff, 0xff])], end: false },
    expect: status.RESOURCE_EXHAUSTED,
  },
  { name: 'an unknown service', ask: { headers: { ':path': '/x.Y/Z' } }, expect: status.UNIMPLEMENTED },
  {
    name: 'an unknown method with an open body',
    ask: { headers: { ':path': '/envoy.service.auth.v3.Authorization/X' }, chunks: [whole], end: false },
    expect: status.UNIMPLEMENTED,
  },
  { name: 'no content type', ask: { chunks: [whole], headers: { 'content-type': undefined } }, expect: 415 },
  { name: 'JSON', ask: { chunks: [whole], headers: { 'content-type': 'application/json' } }, expect: 415 },
  { name: 'an unreadable grpc-timeout', ask: { chunks: [whole], headers: { 'grpc-timeout': 'soon' } }, expect: status.INTERNAL },
  { name: 'an empty grpc-timeout', ask: { chunks: [whole], headers: { 'grpc-timeout': '' } }, expect: status.INTERNAL },
  {
    name: 'a grpc-timeout of nine digits',
    ask: { chunks: [whole], headers: { 'grpc-timeout': '123456789S' } },
    expect: status.INTERNAL,
    grpcJs: 0,
  },
  { name: 'gRPC-Web', ask: { chunks: [whole], headers: { 'content-type': 'application/grpc-web' } }, expect: 415, grpcJs: 0 },
  { name: 'GET', ask: { headers: { ':method': 'GET' } }, expect: 405, grpcJs: status.UNIMPLEMENTED },
  { name: 'a compressed flag without an encoding', ask: { chunks: [framed(plain, 1)] }, expect: status.INTERNAL, grpcJs: 0 },
  { name: 'an unknown encoding', ask: { chunks: [framed(plain, 1)], headers: { 'grpc-encoding': 'br' } }, expect: status.UNIMPLEMENTED },
  {
    name: 'an encoding that is not used',
    ask: { chunks: [whole], headers: { 'grpc-encoding': 'gzip' } },
    expect: status.UNIMPLEMENTED,
    grpcJs: 0,
  },
]

function cut(bytes: Buffer, at: readonly number[]): Buffer[] {
  return [0, ...at].map((from, index) => bytes.subarray(from, at[index] ?? bytes.length))
}

function check({ http, status: grpc, trailersOnly, headers, body, reset }: Outcome, expected: number): void {
  if (expected >= 100) {
    assert.deepEqual([http, grpc, body.length], [expected, undefined, 0])
    return
  }
  assert.deepEqual([http, grpc], [200, expected])
  assert.match(String(headers['content-type']), /^application\/grpc(\+proto)?$/)
  assert.equal(trailersOnly, expected !== 0)
  assert.equal(reset, 0)
  if (expected === 0) {
    assert.equal(body[0], 0)
    assert.equal(body.readUInt32BE(1), body.length - 5)
    assert.equal(decodeResponse(body.subarray(5)).status?.code ?? 0, 0)
  }
}

for (const transport of transports) {
  describe(`the ${transport.name} transport, asked in bare HTTP/2`, () => {
    const rig = makeRig(transport.start)
    let session: ClientHttp2Session

    beforeEach(async () => {
      session = connectTo(await rig.start('127.0.0.1:0', undefined, { maxReceive }))
    })
    afterEach(async () => {
      session.destroy()
      await rig.clear()
    })

    for (const { name, ask: asked, expect, grpcJs } of cases) {
      it(`${name}: ${expect}`, async () => {
        check(await ask(session, asked), transport.name === 'lean' ? expect : (grpcJs ?? expect))
        // The connection goes on.
        check(await ask(session, { chunks: [whole] }), 0)
      })
    }
  })
}
