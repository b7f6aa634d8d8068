import assert from 'node:assert/strict'
import { allowList } from '../../src/core/allow-list.ts'
import { certificateSpiffeId } from '../../src/core/spiffe.ts'
import { bindFault, formatListenAddress, httpBindFault, type Listener, ListenFault, parseListenAddress } from '../../src/wire/listener.ts'
import { noCertificates } from '../support/listen-tls.ts'

const plain = (address: string): Listener => ({ address: parseListenAddress(address), tls: { mode: 'none' } })

describe('addresses of listeners', () => {
  it('are read', () => {
    assert.deepEqual(parseListenAddress('unix:/run/postern/check.sock'), { kind: 'unix', path: '/run/postern/check.sock' })
    assert.deepEqual(parseListenAddress('unix:///run/a.sock'), { kind: 'unix', path: '/run/a.sock' })
    assert.deepEqual(parseListenAddress('127.0.0.1:9191'), { kind: 'tcp', host: '127.0.0.1', port: 9191 })
    assert.deepEqual(parseListenAddress('localhost:0'), { kind: 'tcp', host: '127.0.0.1', port: 0 })
    assert.deepEqual(parseListenAddress('[::1]:9191'), { kind: 'tcp', host: '::1', port: 9191 })
    for (const text of ['unix:/a', '0.0.0.0:1', '[::]:65535']) assert.equal(formatListenAddress(parseListenAddress(text)), text)
  })

  it('are refused where they could mean something else', () => {
    const bad: [string, RegExp][] = [
      ['', /no address/],
      ['9191', /no address/],
      [':9191', /expected an IP address/],
      ['127.0.0.1', /no address/],
      ['127.0.0.1:65536', /above 65535/],
      ['127.0.0.1:http', /no address/],
      ['::1:9191', /no address/],
      ['[127.0.0.1]:1', /IPv6/],
      ['envoy.local:9191', /expected an IP address/],
      ['127.1:9191', /expected an IP address/],
      ['unix:', /names no socket/],
      ['unix:@postern', /abstract/],
      [`unix:/${'a'.repeat(107)}`, /108 bytes/],
    ]
    for (const [text, pattern] of bad) {
      assert.throws(
        () => parseListenAddress(text),
        (cause) => cause instanceof ListenFault && pattern.test(cause.message),
        text,
      )
    }
  })

  it('of check are local, or behind mTLS with a list', () => {
    for (const address of ['unix:/a', '127.0.0.1:1', '127.9.9.9:1', '[::1]:1', '[::ffff:127.0.0.1]:1'])
      assert.equal(bindFault(plain(address)), undefined, address)
    for (const address of ['0.0.0.0:1', '[::]:1', '10.0.0.1:1', '[::ffff:10.0.0.1]:1', '128.0.0.1:1'])
      assert.match(bindFault(plain(address)) ?? '', /forge/, address)
    const everywhere = parseListenAddress('0.0.0.0:9191')
    assert.match(
      bindFault({ address: everywhere, tls: { mode: 'tls', certificates: noCertificates } }) ?? '',
      /listen\.check 0\.0\.0\.0:9191/,
    )
    assert.match(
      bindFault({ address: everywhere, tls: { mode: 'mtls', certificates: noCertificates, allow: allowList([]) } }) ?? '',
      /allow/,
    )
    assert.equal(
      bindFault({ address: everywhere, tls: { mode: 'mtls', certificates: noCertificates, allow: allowList(['spiffe://a/b']) } }),
      undefined,
    )
  })

  it('of HTTP are local, or behind TLS', () => {
    assert.equal(httpBindFault(plain('127.0.0.1:1'), 'admin'), undefined)
    assert.match(httpBindFault(plain('0.0.0.0:1'), 'issuer') ?? '', /listen\.issuer 0\.0\.0\.0:1: credentials would cross/)
    assert.equal(
      httpBindFault({ address: parseListenAddress('0.0.0.0:1'), tls: { mode: 'tls', certificates: noCertificates } }, 'issuer'),
      undefined,
    )
  })
})

describe('the SPIFFE ID of a peer', () => {
  it('is the only URI among the names', () => {
    const id = 'spiffe://cluster.local/ns/a/sa/b'
    assert.equal(certificateSpiffeId(`URI:${id}`)?.id, id)
    assert.equal(certificateSpiffeId(`DNS:a.example, URI:${id}, IP Address:127.0.0.1`)?.id, id)
    for (const names of [
      undefined,
      '',
      'DNS:a',
      `URI:${id}, URI:${id}`,
      `DNS:"a, URI:${id}"`,
      `DNS:"a\\", URI:${id}, DNS:\\""`,
      'URI:https://a/b',
      'URI:spiffe://cluster.local',
      `URI:"${id}"`,
      `XX${id}`,
    ]) {
      assert.equal(certificateSpiffeId(names), undefined, String(names))
    }
  })
})
