import assert from 'node:assert/strict'
import type { Request } from '../../src/core/request.ts'
import { createDecoder, DecodeFault } from '../../src/wire/decode.ts'
import type { ValueMessage } from '../../src/wire/messages.ts'
import { encodeRequest } from './support.ts'

const decode = createDecoder()

const varint = (value: number): number[] => (value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)])
type Part = Buffer | string | number[]
const bytesOf = (part: Part): Buffer => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))
/** A length-delimited field. */
const field = (number: number, ...parts: Part[]): Buffer => {
  const content = Buffer.concat(parts.map(bytesOf))
  return Buffer.concat([Buffer.from(varint((number << 3) | 2)), Buffer.from(varint(content.length)), content])
}
const entry = (number: number, key: Part, value: Part): Buffer => field(number, field(1, key), field(2, value))

const request = (...attributes: Part[]): Buffer => field(1, ...attributes)
const http = (...fields: Part[]): Buffer => request(field(4, field(2, ...fields)))
const header = (name: Part, value: Part): Buffer => entry(3, name, value)
const jwt = 'envoy.filters.http.jwt_authn'
/** One verified payload, from the bytes of its Struct. */
const payload = (...struct: Part[]): Buffer => request(field(11, entry(1, jwt, entry(1, 'users', field(5, ...struct)))))
const claim = (name: Part, ...value: Part[]): Buffer => field(1, field(1, name), field(2, ...value))

const fault = (bytes: Buffer): string | undefined => {
  const answer = decode(bytes)
  return answer instanceof DecodeFault ? answer.detail : undefined
}
const read = (bytes: Buffer): Request => {
  const answer = decode(bytes)
  if (answer instanceof DecodeFault) assert.fail(answer.detail)
  return answer
}

const noUtf8 = [0x61, 0xff]
const group = (number: number, ...parts: number[]): number[] => [(number << 3) | 3, ...parts, (number << 3) | 4]

describe('the decoder of CheckRequest, byte by byte', () => {
  const malformed: Record<string, Buffer> = {
    'a length beyond the end': Buffer.from([0x0a, 5, 0]),
    'a length that is missing': Buffer.from([0x0a]),
    'a length beyond its message, though not beyond the bytes': Buffer.concat([request(field(1, [0x22, 20])), Buffer.alloc(40)]),
    'field number 0': Buffer.from([0x02, 0]),
    'wire type 6': http([0x7e, 0]),
    'wire type 7': http([0x7f, 0]),
    'a group that ends without having begun': http([0x7c]),
    'a group without end': http([0x7b, 0x08, 1]),
    'a group that ends with another number': http([0x7b, 0x74]),
    'groups that nest too deep': http(new Array<number>(40).fill(0x7b), new Array<number>(40).fill(0x7c)),
    'a varint of eleven bytes in an unknown field': http([0x78, ...new Array<number>(10).fill(0x80), 1]),
    'a varint of eleven bytes': http([0x48, ...new Array<number>(10).fill(0x80), 1]),
    'a number of 32 bits in seven bytes': request(
      field(12, []),
      field(1, field(1, field(1, [0x18, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0]))),
    ),
    'a tag of six bytes': http([0x92, 0x80, 0x80, 0x80, 0x80, 0x00, 0]),
    'a tag above 32 bits': http([0x92, 0x80, 0x80, 0x80, 0x10, 0]),
    'a length above 32 bits': http([0x12, 0x80, 0x80, 0x80, 0x80, 0x10]),
    'a length of four thousand million': http([0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]),
    'a fixed64 that is cut off': http([0x79, 1, 2, 3]),
    'a fixed32 that is cut off': http([0x7d, 1, 2, 3]),
    'a varint that is cut off': http([0x48, 0x80]),
    'a text with the wire type of a number': http([0x10, 1]),
    'a number with the wire type of a text': http(field(9, 'x')),
    'a message with the wire type of a number': request([0x20, 1]),
    'a header with the wire type of a number': http([0x18, 1]),
    'method twice': http(field(2, 'GET'), field(2, 'POST')),
    'path twice': http(field(4, '/a'), field(4, '/b')),
    'id twice': http(field(1, 'a'), field(1, 'b')),
    'attributes twice': Buffer.concat([request(), request()]),
    'request twice': request(field(4), field(4)),
    'http twice': request(field(4, field(2), field(2))),
    'source twice': request(field(1), field(1)),
    'metadata_context twice': request(field(11), field(11)),
    'header_map twice': http(field(13), field(13)),
    'a header twice': http(header('a', '1'), header('a', '2')),
    'a header twice, far apart': http(header('a', '1'), field(4, '/'), header('b', ''), header('a', '2')),
    'a pseudo-header in two cases': http(header(':path', '/a'), header(':Path', '/b')),
    'a name twice in an entry': http(field(3, field(1, 'a'), field(1, 'b'), field(2, 'v'))),
    'a header without a name': http(field(3, field(2, 'v'))),
    'a header without anything': http(field(3)),
    'a name that is only a colon': http(header(':', 'v')),
    'a name with two colons': http(header('::a', 'v')),
    'a name that is no UTF-8': http(header(noUtf8, 'v')),
    'a name with a space': http(header('a b', 'v')),
    'method that is no UTF-8': http(field(2, noUtf8)),
    'path that is no UTF-8': http(field(4, noUtf8)),
    'host that is no UTF-8': http(field(5, noUtf8)),
    'host from a header that is no UTF-8': http(header('host', noUtf8)),
    'path from a pseudo-header that is no UTF-8': http(field(13, field(1, field(1, ':path'), field(2, noUtf8)))),
    'principal that is no UTF-8': request(field(1, field(4, noUtf8))),
    'certificate that is no UTF-8': request(field(1, field(5, noUtf8))),
    'a context extension that is no UTF-8': request(entry(10, 'realm', noUtf8)),
    'a context extension twice': request(entry(10, 'realm', 'a'), entry(10, 'realm', 'b')),
    'the namespace twice': request(field(11, entry(1, jwt, ''), entry(1, jwt, ''))),
    'a namespace without a value': request(field(11, field(1, field(1, jwt)))),
    'a payload twice': request(field(11, entry(1, jwt, Buffer.concat([claim('users', field(5)), claim('users', field(5))])))),
    'a malformed claim of a payload that nobody asked for': payload(claim('sub', [0x1a, 9, 0x61])),
    'a claim that is cut off': payload([0x0a, 3, 0x0a, 1]),
    'a claim of another wire type': payload(claim('sub', [0x18, 1])),
    'a claim without a value': payload(field(1, field(1, 'sub'))),
    'a malformed struct in another namespace': request(field(11, entry(1, 'other', claim('a', [0x11, 1])))),
    'a malformed address': request(field(2, field(1, field(1, [0x12, 9])))),
    'a malformed time': request(field(4, field(1, [0x08]))),
    'malformed route metadata': request(field(13, field(1, [0x0a, 9]))),
    'a malformed tls_session': request(field(12, [0x0a, 9])),
    'too many headers': http(...Array.from({ length: 1025 }, (_, i) => header(`x-${i}`, ''))),
    'too many payloads': request(field(11, entry(1, jwt, Buffer.concat(Array.from({ length: 33 }, (_, i) => claim(`p${i}`, field(5))))))),
  }
  for (const [what, bytes] of Object.entries(malformed)) {
    it(`refuses ${what}`, () => assert.match(fault(bytes) ?? 'accepted', /^no CheckRequest: /))
  }

  it('skips what it does not know, of any wire type', () => {
    const unknown = [0x78, 0xff, 0x01, 0x79, 1, 2, 3, 4, 5, 6, 7, 8, 0x7a, 1, 0x61, 0x7d, 1, 2, 3, 4, ...group(15, 0x08, 1, ...group(1))]
    const high = [0xfa, 0xff, 0xff, 0xff, 0x0f, 1, 0x61]
    const all = Buffer.from([...unknown, ...high])
    const bytes = Buffer.concat([
      all,
      request(
        all,
        field(1, all, field(4, 'spiffe://a/b')),
        field(4, all, field(2, all, field(4, '/p'), field(3, all, field(1, 'a'), field(2, 'v')))),
      ),
    ])
    const { path, peerPrincipal } = read(bytes)
    assert.deepEqual([path, peerPrincipal, read(bytes).header('a')], ['/p', 'spiffe://a/b', 'v'])
  })

  it('reads fields in any order, lengths and tags with more bytes than they need, and values before names', () => {
    const long = [0x92, 0x80, 0x00, 0x83, 0x80, 0x80, 0x00, 0x47, 0x45, 0x54]
    const bytes = http(field(4, '/p'), long, field(3, field(2, 'v'), field(1, 'A')), field(3, field(1, 'b')), header('c', 'w'))
    const found = read(bytes)
    assert.deepEqual([found.method, found.path, found.header('a'), found.header('b'), found.header('c')], ['GET', '/p', 'v', '', 'w'])
    assert.deepEqual([...found.headerNames()], ['a', 'b', 'c'])
  })

  it('reads a size of -1, which takes ten bytes', () => {
    assert.equal(read(http([0x48, ...new Array<number>(9).fill(0xff), 1], field(4, '/p'))).path, '/p')
  })

  it('keeps what a request asks for apart from the next request', () => {
    const first = read(http(field(4, '/first'), header('a', '1'), header('b', '2')))
    const others = Array.from({ length: 400 }, (_, i) =>
      read(http(field(4, `/${i}`), header('b', `${i}`), header('c', 'x'), header(`x-${i}`, 'y'))),
    )
    assert.deepEqual(
      [first.path, first.header('a'), first.header('b'), first.header('c'), first.headerCount('b')],
      ['/first', '1', '2', undefined, 1],
    )
    for (const [i, other] of others.entries()) {
      assert.deepEqual(
        [other.path, other.header('a'), other.header('b'), [...other.headerNames()]],
        [`/${i}`, undefined, `${i}`, ['b', 'c', `x-${i}`]],
      )
    }
  })

  it('reads as many headers as it allows, one request after the other', () => {
    for (let round = 0; round < 4; round++) {
      const found = read(http(...Array.from({ length: 1024 }, (_, i) => header(`x-${i}`, `${i + round}`))))
      assert.equal([...found.headerNames()].length, 1024)
      assert.deepEqual(
        [found.header('x-0'), found.header('x-700'), found.header('x-1023')],
        [`${round}`, `${700 + round}`, `${1023 + round}`],
      )
      assert.match(fault(http(...Array.from({ length: 300 }, (_, i) => header(`x-${i % 299}`, '')))) ?? '', /more than once/)
    }
  })

  it('does not take a header for another, or a text for one that was read before', () => {
    for (const name of ['get', 'GET', 'Get', 'gEt']) {
      assert.equal(read(http(field(2, name), header(name, 'v'))).method, name)
      assert.deepEqual([...read(http(header(name, 'v'))).headerNames()], ['get'])
    }
  })

  it('reads strings of every length', () => {
    for (const length of [0, 1, 63, 64, 65, 126, 127, 128, 129, 16_383, 16_384, 70_000]) {
      const text = 'a'.repeat(length)
      const found = read(
        request(
          field(1, field(4, text), field(5, text)),
          field(4, field(2, field(4, `/${text}`), header('n', text))),
          entry(10, 'realm', text),
        ),
      )
      assert.deepEqual(
        [found.peerPrincipal, found.peerCertificate, found.path, found.header('n'), found.extension('realm')],
        [text, text, `/${text}`, text, text],
      )
    }
  })
})

describe('a verified payload', () => {
  const struct = (fields: Record<string, ValueMessage>): Buffer =>
    encodeRequest({ attributes: { metadata_context: { filter_metadata: { [jwt]: { fields: { users: { struct_value: { fields } } } } } } } })
  const many = (count: number): [string, ValueMessage][] =>
    Array.from({ length: count }, (_, i) => [`claim-${i}`, { string_value: `${i}` }])

  it('is the same frozen object for the same members, in whatever order they come', () => {
    const nested = (names: string[]) => ({
      struct_value: { fields: Object.fromEntries(names.map((name) => [name, { string_value: name }])) },
    })
    const one = (names: string[]): Record<string, ValueMessage> =>
      Object.fromEntries(
        names.map((name) => [
          name,
          name === 'o'
            ? nested(names)
            : name === 'l'
              ? { list_value: { values: [nested(names), { number_value: 1 }] } }
              : { string_value: name },
        ]),
      )
    const names = ['o', 'l', 'sub', 'iss', 'family_name', 'familyaname']
    const first = read(struct(one(names))).verifiedPayload('users')!
    for (let turn = 1; turn < names.length; turn++) {
      const turned = [...names.slice(turn), ...names.slice(0, turn)]
      assert.equal(read(struct(one(turned))).verifiedPayload('users'), first)
      assert.equal(read(struct(one(turned.reverse()))).verifiedPayload('users'), first)
    }
    assert(Object.isFrozen(first) && Object.isFrozen(first['o']) && Object.isFrozen(first['l']))
    assert.deepEqual(first['l'], [first['o'], 1])
    assert.notEqual(read(struct({ ...one(names), sub: { string_value: 'suc' } })).verifiedPayload('users'), first)
  })

  it('keeps the order of lists', () => {
    const list = (...values: string[]) => struct({ roles: { list_value: { values: values.map((string_value) => ({ string_value })) } } })
    const first = read(list('a', 'b')).verifiedPayload('users')
    const second = read(list('b', 'a')).verifiedPayload('users')
    assert.deepEqual([first, second], [{ roles: ['a', 'b'] }, { roles: ['b', 'a'] }])
  })

  it('does not confuse a text with what it looks like', () => {
    const claims: ValueMessage[] = [
      { string_value: '1' },
      { number_value: 1 },
      { bool_value: true },
      { null_value: 0 },
      { struct_value: {} },
      { list_value: {} },
    ]
    const payloads = claims.map((value) => read(struct({ a: value })).verifiedPayload('users'))
    assert.deepEqual(payloads, [{ a: '1' }, { a: 1 }, { a: true }, { a: null }, { a: {} }, { a: [] }])
  })

  it('is read alike where it is too large to be kept', () => {
    for (const count of [127, 128, 129, 400]) {
      const fields = many(count)
      const expected = Object.fromEntries(fields.map(([name], i) => [name, `${i}`]))
      for (const order of [fields, fields.toReversed()])
        assert.deepEqual(read(struct(Object.fromEntries(order))).verifiedPayload('users'), expected)
    }
    const long = { sub: { string_value: 'x'.repeat(20_000) } }
    assert.deepEqual(read(struct(long)).verifiedPayload('users'), { sub: 'x'.repeat(20_000) })
  })

  const empty: Record<string, Buffer> = {
    'names a claim twice': payload(claim('sub', field(3, 'a')), claim('sub', field(3, 'b'))),
    'names a claim twice, deep inside': payload(claim('a', field(5, claim('sub', field(3, 'a')), claim('sub', field(3, 'b'))))),
    'has a claim of no kind': payload(claim('sub')),
    'has a claim of two kinds': payload(claim('sub', field(3, 'a'), [0x20, 1])),
    'has a claim that is no UTF-8': payload(claim('sub', field(3, noUtf8))),
    'has a claim whose name is no UTF-8': payload(claim(noUtf8, field(3, 'a')), claim('sub', field(3, 'a'))),
    'has a bool that is neither 0 nor 1': payload(claim('ok', [0x20, 2])),
    'has a bool of two bytes': payload(claim('ok', [0x20, 0x80, 0x01])),
    'is no object': request(field(11, entry(1, jwt, claim('users', field(3, 'a'))))),
    'has no kind': request(field(11, entry(1, jwt, claim('users')))),
    'is an object, and then something else': request(
      field(11, entry(1, jwt, claim('users', field(5, claim('sub', field(3, 'a'))), field(3, 'a')))),
    ),
  }
  for (const [what, bytes] of Object.entries(empty)) {
    it(`is empty where it ${what}`, () => {
      for (let i = 0; i < 2; i++) assert.deepEqual(read(bytes).verifiedPayload('users'), {})
    })
  }

  it('is read in full where it is written in an unusual way', () => {
    const unusual = payload(
      field(1, field(2, field(3, 'a')), field(1, 'sub')),
      claim([], field(3, 'no name')),
      claim('n', [0x78, 1], [0x20, 1]),
    )
    assert.deepEqual(read(unusual).verifiedPayload('users'), { sub: 'a', '': 'no name', n: true })
  })
})
