import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { Request } from '../../src/core/request.ts'
import { createDecoder, DecodeFault } from '../../src/wire/decode.ts'
import type { CheckRequestMessage, ValueMessage } from '../../src/wire/messages.ts'
import { encodeRequest } from './support.ts'

const decode = createDecoder()

function read(message: CheckRequestMessage): Request {
  const request = decode(encodeRequest(message))
  if (request instanceof DecodeFault) assert.fail(request.detail)
  return request
}

function fault(message: CheckRequestMessage): string {
  const request = decode(encodeRequest(message))
  assert(request instanceof DecodeFault)
  return request.detail
}

const http = (fields: NonNullable<NonNullable<CheckRequestMessage['attributes']>['request']>['http']): CheckRequestMessage => ({
  attributes: { request: { http: fields ?? {} } },
})

const payload = (fields: Record<string, ValueMessage>): CheckRequestMessage => ({
  attributes: {
    metadata_context: { filter_metadata: { 'envoy.filters.http.jwt_authn': { fields: { users: { struct_value: { fields } } } } } },
  },
})

describe('the decoder of CheckRequest', () => {
  it('reads a request that an Envoy sent', () => {
    const request = decode(readFileSync(new URL('fixtures/check-request.bin', import.meta.url)))
    if (request instanceof DecodeFault) assert.fail(request.detail)
    assert.equal(request.method, 'POST')
    assert.equal(request.host, '127.0.0.1:10099')
    assert.equal(request.peerPrincipal, 'spiffe://acme.internal/ns/edge/sa/gateway-client')
    assert.equal(request.header('x-forwarded-host'), 'api.acme.example.com')
    assert.equal(request.header('content-length'), '12')
    assert.equal(request.header(':authority'), undefined)
    const names = [...request.headerNames()]
    assert(names.includes('cookie') && names.includes('traceparent'))
    assert.deepEqual(
      names.filter((name) => name.startsWith(':')),
      [],
    )
    assert.equal(request.headerCount('cookie'), 1)
    assert.equal(request.headerCount('no-such'), 0)
    assert.match(request.path, /^\//)
  })

  it('reads header_map with raw bytes, joins and counts duplicates', () => {
    const raw = (key: string, value: string) => ({ key, raw_value: Buffer.from(value) })
    const request = read(
      http({
        method: 'GET',
        path: '/a?b=c',
        host: 'h',
        header_map: { headers: [raw(':path', '/a?b=c'), raw('Accept', 'a'), raw('accept', 'ü'), raw('x-empty', '')] },
      }),
    )
    assert.equal(request.header('accept'), 'a,ü')
    assert.equal(request.headerCount('accept'), 2)
    assert.equal(request.header('x-empty'), '')
    assert.equal(request.headerCount('x-empty'), 1)
    assert.deepEqual([...request.headerNames()], ['accept', 'x-empty'])
  })

  it("reads what gRPC's own client sends: header_map only, no host, no scheme", () => {
    const headers = [
      { key: ':authority', value: 'svc.example' },
      { key: 'te', value: 'trailers' },
    ]
    const request = read(http({ method: 'POST', path: '/pkg.Service/Method', header_map: { headers } }))
    assert.equal(request.host, 'svc.example')
    assert.equal(request.scheme, '')
    assert.equal(request.peerPrincipal, '')
    assert.equal(request.extension('realm'), undefined)
    assert.equal(request.verifiedPayload('users'), undefined)
    const bare = read(
      http({
        header_map: {
          headers: [
            { key: ':method', value: 'POST' },
            { key: ':path', value: '/p' },
            { key: 'host', value: 'h' },
          ],
        },
      }),
    )
    assert.deepEqual([bare.method, bare.path, bare.host], ['POST', '/p', 'h'])
  })

  it('refuses what could be read in two ways', () => {
    const bytes = Buffer.from([0x61, 0xff])
    assert.match(fault(http({ header_map: { headers: [{ key: 'x', raw_value: bytes }] } })), /UTF-8/)
    assert.match(fault(http({ header_map: { headers: [{ key: 'x', value: 'a', raw_value: Buffer.from('b') }] } })), /differ/)
    assert.match(fault(http({ headers: { a: 'b' }, header_map: { headers: [{ key: 'a', value: 'c' }] } })), /both/)
    const twice = [
      { key: ':path', value: '/a' },
      { key: ':path', value: '/b' },
    ]
    assert.match(fault(http({ header_map: { headers: twice } })), /more than once/)
    for (const name of ['', 'a b', 'x:y', 'na\u212ae', 'a\r\nb']) assert.match(fault(http({ headers: { [name]: 'v' } })), /token/, name)
    assert.match(fault(http({ path: '/\ufffd' })), /UTF-8/)
  })

  it('lower-cases names, and counts those that become equal', () => {
    const request = read(http({ headers: { Authorization: 'Bearer a', authorization: 'Bearer b' } }))
    assert.equal(request.header('authorization'), 'Bearer a,Bearer b')
    assert.equal(request.headerCount('authorization'), 2)
  })

  it('makes an empty request of a message without attributes', () => {
    for (const message of [Buffer.alloc(0), encodeRequest({ attributes: {} }), encodeRequest({ attributes: { request: {} } })]) {
      const request = decode(message)
      if (request instanceof DecodeFault) assert.fail(request.detail)
      assert.deepEqual([request.method, request.host, request.path, [...request.headerNames()]], ['', '', '', []])
    }
  })

  it('is not fooled by the names of object members', () => {
    const request = read({
      attributes: {
        request: { http: { path: '/', headers: JSON.parse('{"__proto__":"a","constructor":"b"}') } },
        context_extensions: { realm: 'acme' },
        metadata_context: { filter_metadata: { 'envoy.filters.http.jwt_authn': { fields: {} } } },
      },
    })
    assert.equal(request.header('__proto__'), 'a')
    assert.equal(request.header('constructor'), 'b')
    assert.equal(request.header('toString'), undefined)
    assert.equal(request.headerCount('hasOwnProperty'), 0)
    assert.equal(request.extension('realm'), 'acme')
    assert.equal(request.extension('constructor'), undefined)
    assert.equal(request.extension('__proto__'), undefined)
    assert.equal(request.verifiedPayload('constructor'), undefined)
    assert.equal(request.verifiedPayload('__proto__'), undefined)
  })

  it('turns a verified payload into plain JSON', () => {
    const request = read(
      payload({
        sub: { string_value: '' },
        exp: { number_value: 1_900_000_000 },
        ok: { bool_value: false },
        none: { null_value: 0 },
        empty: { struct_value: {} },
        realm_access: { struct_value: { fields: { roles: { list_value: { values: [{ string_value: 'admin' }] } } } } },
        list: { list_value: {} },
      }),
    )
    assert.deepEqual(request.verifiedPayload('users'), {
      sub: '',
      exp: 1_900_000_000,
      ok: false,
      none: null,
      empty: {},
      realm_access: { roles: ['admin'] },
      list: [],
    })
    assert.equal(request.verifiedPayload('others'), undefined)
    // Read from the message once, however many ask.
    assert.equal(request.verifiedPayload('users'), request.verifiedPayload('users'))
  })

  it('keeps a claim named __proto__ a claim', () => {
    const request = read(
      payload(JSON.parse('{"__proto__":{"struct_value":{"fields":{"admin":{"bool_value":true}}}},"sub":{"string_value":"a"}}')),
    )
    const claims = request.verifiedPayload('users')
    assert(claims)
    assert.equal((claims as { admin?: unknown }).admin, undefined)
    assert.equal(Object.getPrototypeOf(claims), Object.prototype)
  })

  it('gives no payload at all where a part of it is no JSON', () => {
    let deep: ValueMessage = { string_value: 'x' }
    for (let i = 0; i < 40; i++) deep = { list_value: { values: [deep] } }
    const bad: ValueMessage[] = [{ number_value: Number.NaN }, { number_value: Number.POSITIVE_INFINITY }, {}, deep]
    for (const value of bad) assert.deepEqual(read(payload({ sub: { string_value: 'a' }, bad: value })).verifiedPayload('users'), {})
    const notStruct: CheckRequestMessage = {
      attributes: {
        metadata_context: { filter_metadata: { 'envoy.filters.http.jwt_authn': { fields: { users: { string_value: 'x' } } } } },
      },
    }
    assert.deepEqual(read(notStruct).verifiedPayload('users'), {})
  })
})
