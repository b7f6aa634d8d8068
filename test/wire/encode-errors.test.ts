import assert from 'node:assert/strict'
import { denyReasons, httpStatus, rpcCode } from '../../src/core/reasons.ts'
import { bareDenial } from '../../src/wire/bare-denial.ts'
import { createEncoder } from '../../src/wire/encode.ts'
import { allow, decodeResponse } from './support.ts'

/** The fields of a message that hold bytes, text or messages, by number; the published definitions end before `error_response`. */
function fields(message: Buffer): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>()
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++] ?? assert.fail('the message ends early')
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  while (at < message.length) {
    const tag = varint()
    assert.equal(tag & 7, 2)
    const length = varint()
    found.set(tag >>> 3, message.subarray(at, at + length))
    at += length
  }
  return found
}

describe('the encoder of CheckResponse, with outages as errors', () => {
  const denials = denyReasons.map((reason) => ({
    ...bareDenial('internal'),
    reason,
    status: httpStatus[reason],
    code: rpcCode[httpStatus[reason]],
  }))
  const plain = createEncoder()

  for (const denial of denials) {
    it(`${denial.reason}: ${denial.status >= 500 ? 'error_response (5), and what denied_response would hold' : 'denied_response as ever'}`, () => {
      const usual = fields(plain(denial))
      const told = fields(createEncoder(() => true)(denial))
      assert.deepEqual([...told.keys()].sort(), denial.status >= 500 ? [1, 4, 5] : [1, 2, 4])
      assert.deepEqual(told.get(denial.status >= 500 ? 5 : 2), usual.get(2))
      assert.deepEqual([told.get(1), told.get(4)], [usual.get(1), usual.get(4)])
    })
  }

  it('is a denial without a body to an Envoy that does not know the field', () => {
    const response = decodeResponse(createEncoder(() => true)(bareDenial('overloaded')))
    assert.deepEqual([response.status, response.denied_response, response.ok_response], [{ code: 14 }, undefined, undefined])
  })

  it('asks each time, and of outages alone', () => {
    let asked = 0
    let errors = false
    const encode = createEncoder(() => {
      asked++
      return errors
    })
    encode(allow)
    encode(bareDenial('bad_request'))
    assert.equal(asked, 0)
    assert.ok(fields(encode(bareDenial('overloaded'))).has(2))
    errors = true
    assert.ok(fields(encode(bareDenial('overloaded'))).has(5))
  })
})
