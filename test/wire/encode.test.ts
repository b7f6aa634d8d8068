import assert from 'node:assert/strict'
import type { AllowAnswer, Answer, DenyAnswer } from '../../src/core/answer.ts'
import { bareDenial } from '../../src/wire/bare-denial.ts'
import { createEncoder, EncodeFault } from '../../src/wire/encode.ts'
import { allow, decodeResponse } from './support.ts'

const encode = createEncoder()
const denial = bareDenial('bad_request', { id: 'd-1', header: 'x-postern-decision', realm: 'default', policy: 'a1b2c3d4e5f6' })
const nothing = { shared: [], own: [], remove: [], removeAlso: [], removeQuery: [] }
const setting = (name: string, value: string): Answer => ({
  ...(allow as AllowAnswer),
  mutations: { ...nothing, own: [[name, value]] },
})
/** The same, as headers that many answers share. */
const sharing = (name: string, value: string): Answer => ({
  ...(allow as AllowAnswer),
  mutations: { ...nothing, shared: [new Map([[name, value]])] },
})
const denying = (change: Partial<DenyAnswer>): Answer => ({ ...denial, ...change })

describe('the encoder of CheckResponse', () => {
  it('spells an allow', () => {
    const response = decodeResponse(encode(allow))
    // proto3 does not write a zero: the status message is there, and its code is 0.
    assert.deepEqual(response.status, {})
    assert.deepEqual(response.ok_response, {
      headers: [
        { header: { key: 'x-postern-subject', value: 'alice' }, append: {}, append_action: 2 },
        { header: { key: 'x-postern-decision', value: 'd-1' }, append: {}, append_action: 2 },
      ],
      headers_to_remove: ['x-postern-owner', 'x_postern_owner'],
      query_parameters_to_remove: ['access_token'],
    })
    assert.equal(response.denied_response, undefined)
    assert.deepEqual(Object.keys(response.dynamic_metadata?.fields ?? {}), ['decision', 'enforced', 'reason', 'check_us'])
    assert.deepEqual(response.dynamic_metadata?.fields?.['check_us'], { number_value: 12 })
  })

  it('writes append: false as a wrapper that is present', () => {
    // HeaderValueOption: field 2 (append), a BoolValue; field 3 (append_action) = 2.
    const bytes = encode(setting('x-a', 'b')).toString('hex')
    assert.match(bytes, /0a080a03782d6112016212(020800|00)1802/)
  })

  it('spells a denial', () => {
    const response = decodeResponse(encode(denial))
    assert.deepEqual(response.status, { code: 3 })
    assert.deepEqual(response.denied_response?.status, { code: 400 })
    assert.deepEqual(
      response.denied_response?.headers?.map((option) => option?.header),
      [
        { key: 'x-postern-decision', value: 'd-1' },
        { key: 'cache-control', value: 'no-store' },
        { key: 'content-type', value: 'application/problem+json' },
      ],
    )
    assert.equal(JSON.parse(response.denied_response?.body ?? '').reason, 'bad_request')
    assert.equal(response.ok_response, undefined)
    assert.deepEqual(response.dynamic_metadata?.fields?.['reason'], { string_value: 'bad_request' })
    assert.deepEqual(response.dynamic_metadata?.fields?.['enforced'], { bool_value: true })
  })

  it('never writes an answer that Envoy would read in another way', () => {
    for (const answer of [setting, sharing]) {
      for (const value of ['a\r\nb', 'a\nb', 'a\0b', 'ü', '\x7f'])
        assert.throws(() => encode(answer('x-a', value)), EncodeFault, JSON.stringify(value))
      for (const name of [':path', 'host', '', 'X-A', 'a b', 'a\r\nb'])
        assert.throws(() => encode(answer(name, 'v')), EncodeFault, JSON.stringify(name))
    }
    for (const code of [0, -1, 17, 1.5, Number.NaN]) assert.throws(() => encode(denying({ code })), EncodeFault, `${code}`)
    for (const status of [200, 0, 399, 600]) assert.throws(() => encode(denying({ status })), EncodeFault, `${status}`)
    assert.throws(() => encode(denying({ headers: [['www-authenticate', 'a\nb']] })), EncodeFault)
    const group = new Map([['x-a', 'b']])
    for (const twice of [
      { own: [['x-a', 'b']] as const, remove: ['x-a'] },
      { own: [['x-a', 'b']] as const, removeAlso: ['x-a'] },
      { shared: [group], remove: ['x-a'] },
      { shared: [group], removeAlso: ['x-a'] },
      { shared: [group], remove: ['x-b', 'x-a'] },
    ]) {
      encode({ ...(allow as AllowAnswer), mutations: { ...nothing, shared: [group] } })
      assert.throws(() => encode({ ...(allow as AllowAnswer), mutations: { ...nothing, ...twice } }), EncodeFault)
    }
  })
})
