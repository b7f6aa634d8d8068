import assert from 'node:assert/strict'
import { forwardedUri, readForwardedCertificates } from '../../src/identity/forwarded-certificate.ts'

const uri = 'spiffe://cluster.local/ns/agents/sa/router'
const one = `By=spiffe://cluster.local/ns/edge/sa/envoy;Hash=468e;Subject="CN=a\\"b,O=x;y";URI=${uri};DNS=a.example;DNS=b.example`

describe('x-forwarded-client-cert', () => {
  it('is read key by key, quotes and all', () => {
    assert.deepEqual(readForwardedCertificates(one), [
      [
        ['by', 'spiffe://cluster.local/ns/edge/sa/envoy'],
        ['hash', '468e'],
        ['subject', 'CN=a"b,O=x;y'],
        ['uri', uri],
        ['dns', 'a.example'],
        ['dns', 'b.example'],
      ],
    ])
  })

  const cases: readonly (readonly [name: string, header: string, expected: string | undefined])[] = [
    ['the URI of the only element', one, uri],
    ['that of the last element', `Hash=1;URI=spiffe://cluster.local/ns/x/sa/x,${one}`, uri],
    ['never that of one before it', `${one},Hash=1;Subject=""`, undefined],
    ['no certificate with a URI', 'Hash=1;URI=', undefined],
    ['a URI inside of quotes that belongs to another key', `Hash=1;Subject="O=x,URI=${uri}"`, undefined],
    ['a quoted URI', `Hash=1;URI="${uri}"`, uri],
    ['another case of the key', `hash=1;uri=${uri}`, uri],
    ['two URIs', `URI=${uri};URI=spiffe://cluster.local/ns/x/sa/x`, 'unclear'],
    ['the same URI twice', `URI=${uri};URI=${uri}`, 'unclear'],
    ['an empty header', '', 'unclear'],
    ['no key', uri, 'unclear'],
    ['a comma at the end', `${one},`, 'unclear'],
    ['a semicolon at the end', `${one};`, 'unclear'],
    ['white space', `Hash=1; URI=${uri}`, 'unclear'],
    ['a quote that never ends', `URI=${uri};Subject="x`, 'unclear'],
    ['text behind a quote', `Subject="x"y;URI=${uri}`, 'unclear'],
    ['an equals sign without quotes', `URI=spiffe://a/b?c=d`, 'unclear'],
    ['a backslash without quotes', `URI=a\\,b`, 'unclear'],
    ['an escape without quotes', `Subject=a\\,b;URI=${uri}`, 'unclear'],
    ['a subject as RFC 2253 writes one', `Hash=1;Subject="O=Acme\\, Inc.\\+x,CN=\\C3\\A9\\\\";URI=${uri}`, uri],
    ['a quote in a subject that would end it', `Subject="CN=\\",URI=spiffe://cluster.local/ns/x/sa/x;X=\\"";URI=${uri}`, uri],
    ['a backslash before the quote that ends it', `Subject="CN=a\\\\",URI=${uri}`, uri],
    ['a backslash at the end', `URI=${uri};Subject="a\\`, 'unclear'],
    ['too long', `Chain="${'x'.repeat(40_000)}";URI=${uri}`, 'unclear'],
  ]
  for (const [name, header, expected] of cases) it(name, () => assert.equal(forwardedUri(header), expected))

  it('takes time in proportion to its length', () => {
    const began = performance.now()
    for (let i = 0; i < 100; i++) readForwardedCertificates(`Subject="${'\\"'.repeat(16_000)}`)
    assert.ok(performance.now() - began < 1000)
  })
})
