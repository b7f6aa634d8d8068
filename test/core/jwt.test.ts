import assert from 'node:assert/strict'
import { readCredential } from '../../src/core/credential.ts'
import { decodeBase64url, parseJwt } from '../../src/core/jwt.ts'
import { encode } from '../identity/tokens.ts'

const sig = encode('signature')
const header = encode({ alg: 'ES256' })
const bytes = (...parts: (string | number[])[]): string =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part)))).toString('base64url')

describe('parseJwt', () => {
  it('reads header and payload', () => {
    assert.deepEqual(parseJwt(`${header}.${encode({ sub: 'a:b', n: { x: [1, '":{'] } })}.${sig}`), {
      header: { alg: 'ES256' },
      payload: { sub: 'a:b', n: { x: [1, '":{'] } },
    })
  })

  const refused: Record<string, string> = {
    'no dots': 'abc',
    'two parts': `${header}.${encode({})}`,
    'four parts': `${header}.${encode({})}.${sig}.${sig}`,
    'no signature': `${header}.${encode({})}.`,
    'no header': `.${encode({})}.${sig}`,
    'no payload': `${header}..${sig}`,
    padding: `${header}.${Buffer.from('{"a":1}').toString('base64').replace(/=*$/, '==')}.${sig}`,
    'padded signature': `${header}.${encode({})}.${sig}==`,
    'white space behind': `${header}.${encode({})}.${sig} `,
    'white space inside': `${header}.${encode({}).slice(0, 2)} ${encode({}).slice(2)}.${sig}`,
    'standard alphabet': `${header}.${encode({ a: '>>>???' }).replaceAll('-', '+').replaceAll('_', '/')}+.${sig}`,
    'bits behind the last byte': `${header}.${encode({})}.QR`,
    'one character too many': `${header}.${encode({})}.QUJDR`,
    'payload is a list': `${header}.${encode([])}.${sig}`,
    'payload is null': `${header}.${encode('null')}.${sig}`,
    'payload is no JSON': `${header}.${encode('{"a":}')}.${sig}`,
    'header is text': `${encode('"x"')}.${encode({})}.${sig}`,
    'invalid UTF-8': `${header}.${bytes('{"a":"', [0xff], '"}')}.${sig}`,
    'overlong UTF-8': `${header}.${bytes('{"a":"', [0xc0, 0xaf], '"}')}.${sig}`,
    'byte order mark': `${header}.${bytes([0xef, 0xbb, 0xbf], '{}')}.${sig}`,
    'a member twice': `${header}.${encode('{"sub":"alice","sub":"bob"}')}.${sig}`,
    'a member twice, deeper down': `${header}.${encode('{"sub":"alice","act":[{"sub":"a","sub":"b"}]}')}.${sig}`,
    'a member twice, one escaped': `${header}.${encode('{"sub":"alice","s\\u0075b":"bob"}')}.${sig}`,
    'a header twice': `${encode('{"alg":"ES256","alg":"none"}')}.${encode({})}.${sig}`,
    'too deep': `${header}.${encode(`{"a":${'['.repeat(40)}${']'.repeat(40)}}`)}.${sig}`,
    '9 KiB': `${header}.${encode({ a: 'x'.repeat(6700) })}.${sig}`,
  }
  for (const [name, token] of Object.entries(refused)) it(`refuses ${name}`, () => assert.equal(parseJwt(token), undefined))

  it('does not mistake what stands in strings for members', () => {
    const tricky = '{"a":"\\",\\"a\\":1","b":"{\\\\","c":":"}'
    assert.deepEqual(parseJwt(`${header}.${encode(tricky)}.${sig}`)?.payload, JSON.parse(tricky))
  })
  it('counts __proto__ as a member like any other', () => {
    assert.ok(parseJwt(`${header}.${encode('{"__proto__":{"sub":"x"}}')}.${sig}`))
    assert.equal(parseJwt(`${header}.${encode('{"__proto__":1,"__proto__":2}')}.${sig}`), undefined)
  })
  it('has one spelling for every value', () => {
    for (let n = 0; n < 256; n++) {
      const text = Buffer.from([1, n]).toString('base64url')
      assert.deepEqual(decodeBase64url(text), Buffer.from([1, n]))
      const others = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].map((last) => text.slice(0, 2) + last)
      const same = others.filter((other) => decodeBase64url(other)?.equals(Buffer.from([1, n])))
      assert.deepEqual(same, [text])
    }
  })
})

describe('readCredential', () => {
  const table: [string | undefined, string, string][] = [
    ['Bearer abc', 'bearer', 'abc'],
    ['bearer abc', 'bearer', 'abc'],
    ['BEARER  abc', 'bearer', ' abc'],
    ['Basic Zm9v, Bearer x', 'basic', 'Zm9v, Bearer x'],
    ['Bearer', '', ''],
    [' Bearer abc', '', ''],
    ['', '', ''],
    [undefined, '', ''],
  ]
  for (const [value, scheme, token] of table) {
    it(`splits ${JSON.stringify(value)}`, () => {
      const read = readCredential(value)
      assert.deepEqual([read.authorization, read.scheme, read.token, read.jwt], [value, scheme, token, undefined])
    })
  }
  it('takes a JWT apart once', () => {
    const read = readCredential(`Bearer ${header}.${encode({ sub: 'a' })}.${sig}`)
    assert.deepEqual(read.jwt?.payload, { sub: 'a' })
    assert.equal(read.jwt, read.jwt)
  })
})
