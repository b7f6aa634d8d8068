import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { Check } from '../../src/check/check.ts'
import type { Answer } from '../../src/core/answer.ts'
import { bareDenial, type WireReason } from '../../src/wire/bare-denial.ts'
import { budgetMs, type CheckHandler, type CheckHandlerOptions, createCheckHandler } from '../../src/wire/check-handler.ts'
import { allow, allowAll, decodeResponse, encodeRequest, plainRequest } from './support.ts'

const fixture = readFileSync(new URL('fixtures/check-request.bin', import.meta.url))
const plain = encodeRequest(plainRequest)

function build(check: Check, more: Partial<CheckHandlerOptions> = {}): { handle: CheckHandler; refusals: [WireReason, string][] } {
  const refusals: [WireReason, string][] = []
  const refuse = (reason: WireReason, detail: string): Answer => {
    refusals.push([reason, detail])
    return bareDenial(reason)
  }
  return {
    handle: createCheckHandler({
      check,
      refuse,
      maxInFlight: 4,
      maxMessage: 256 * 1024,
      maxDeadlineMs: 2000,
      turns: { waitedMs: () => 0 },
      ...more,
    }),
    refusals,
  }
}

const outcome = (buffer: Buffer | Promise<Buffer>): [code: number | undefined, status: number | undefined] => {
  assert(buffer instanceof Buffer)
  const { status, denied_response } = decodeResponse(buffer)
  // proto3 does not write a zero.
  return [status && (status.code ?? 0), denied_response?.status?.code]
}

describe('the check handler', () => {
  it('answers synchronously where the check does', () => {
    const { handle } = build(allowAll)
    assert.deepEqual(outcome(handle(fixture, 1000)), [0, undefined])
    assert.deepEqual(outcome(handle(Buffer.alloc(0), 1000)), [3, 400])
  })

  it('gives a check three quarters of the time, bounded', () => {
    const given: number[] = []
    const { handle } = build((_request, ms) => {
      given.push(ms)
      return allow
    })
    for (const timeout of [undefined, 1000, 200, 60_000, 0, -5]) handle(plain, timeout)
    // Where nothing is left, nothing is checked.
    assert.deepEqual(given, [150, 750, 150, 2000])
    assert.equal(budgetMs(undefined, 100), 100)
  })

  it('denies what is no CheckRequest, and says so once', () => {
    const { handle, refusals } = build(() => assert.fail('asked'))
    assert.deepEqual(outcome(handle(Buffer.from([0x0a, 0xff, 0xff]), 1000)), [3, 400])
    assert.deepEqual(outcome(handle(Buffer.alloc(256 * 1024 + 1), 1000)), [3, 400])
    assert.deepEqual(
      refusals.map(([reason]) => reason),
      ['bad_request', 'bad_request'],
    )
  })

  it('denies where the check throws, rejects or answers what cannot be sent', async () => {
    const throwing = build(() => {
      throw new Error('boom')
    })
    assert.deepEqual(outcome(throwing.handle(plain, 1000)), [13, 500])
    const rejecting = build(() => Promise.reject(new Error('boom')))
    assert.deepEqual(outcome(await rejecting.handle(plain, 1000)), [13, 500])
    const bad: Answer = {
      ...allow,
      kind: 'allow',
      reason: 'ok',
      mutations: { shared: [], own: [['x', 'a\r\nb']], remove: [], removeAlso: [], removeQuery: [] },
    }
    const { handle, refusals } = build(() => bad)
    assert.deepEqual(outcome(handle(plain, 1000)), [13, 500])
    assert.equal(refusals[0]?.[0], 'internal')
  })

  it('has a last resort where even the refusal fails', () => {
    const { handle } = build(() => assert.fail('boom'), {
      refuse: () => {
        throw new Error('no')
      },
    })
    assert.deepEqual(outcome(handle(plain, 1000)), [13, 500])
  })

  it('bounds how many checks wait', async () => {
    const waiting: ((answer: Answer) => void)[] = []
    const { handle, refusals } = build(() => new Promise((resolve) => waiting.push(resolve)))
    const pending = [1, 2, 3, 4].map(() => handle(plain, 1000))
    assert.deepEqual(outcome(handle(plain, 1000)), [14, 503])
    assert.equal(refusals[0]?.[0], 'overloaded')
    assert.equal(waiting.length, 4)
    waiting.shift()?.(allow)
    assert.deepEqual(outcome(await pending[0]!), [0, undefined])
    const next = handle(plain, 1000)
    assert(next instanceof Promise)
    for (const answer of waiting) answer(allow)
    for (const each of [...pending, next]) assert.deepEqual(outcome(await each), [0, undefined])
  })

  it('answers early what has waited too long already', () => {
    let waited = 0
    const given: number[] = []
    const check: Check = (request, ms) => {
      given.push(ms)
      return allowAll(request)
    }
    const { handle, refusals } = build(check, { turns: { waitedMs: () => waited } })
    for (waited of [0, 100, 749, 750, 2000]) handle(plain, 1000)
    assert.deepEqual(given, [750, 650, 1])
    assert.deepEqual(
      refusals.map(([reason]) => reason),
      ['overloaded', 'overloaded'],
    )
  })

  it('never throws on broken messages, and never allows what has no path', () => {
    let seed = 42
    const random = (below: number): number => {
      // xorshift32
      seed ^= seed << 13
      seed ^= seed >>> 17
      seed ^= seed << 5
      return (seed >>> 0) % below
    }
    const { handle } = build((request, ms) => {
      for (const text of [request.method, request.host, request.path, request.scheme, request.peerPrincipal, request.peerCertificate]) {
        assert.equal(typeof text, 'string')
      }
      for (const name of request.headerNames()) {
        assert.match(name, /^[^A-Z:\s]+$/)
        assert.equal(typeof request.header(name), 'string')
        assert(request.headerCount(name) >= 1)
      }
      request.verifiedPayload('users')
      request.extension('realm')
      assert.equal(ms, 750)
      return allowAll(request)
    })
    let decoded = 0
    for (let i = 0; i < 1000; i++) {
      let message: Buffer = Buffer.from(fixture)
      for (let n = random(8) + 1; n > 0; n--) message[random(message.length)] = random(256)
      if (random(4) === 0) message = message.subarray(0, random(message.length))
      const [code] = outcome(handle(message, 1000))
      assert(code === 0 || code === 3, `${i}: ${code}`)
      if (code === 0) decoded++
    }
    assert(decoded > 50 && decoded < 1000, `${decoded}`)
  })

  it('survives nesting that would exhaust the stack', () => {
    const { handle } = build(allowAll)
    let value: Buffer = Buffer.alloc(0)
    const wrap = (tag: number, body: Buffer): Buffer => {
      const length: number[] = []
      for (let n = body.length; ; n >>>= 7) {
        length.push(n > 127 ? (n & 127) | 128 : n)
        if (n <= 127) break
      }
      return Buffer.concat([Buffer.from([tag, ...length]), body])
    }
    for (let i = 0; i < 5000; i++) value = wrap(0x32, wrap(0x0a, value))
    const struct = wrap(0x0a, Buffer.concat([wrap(0x0a, Buffer.from('k')), wrap(0x12, value)]))
    const metadata = wrap(0x0a, Buffer.concat([wrap(0x0a, Buffer.from('ns')), wrap(0x12, struct)]))
    assert.deepEqual(outcome(handle(wrap(0x0a, wrap(0x5a, metadata)), 1000)), [3, 400])
  })
})
