import assert from 'node:assert/strict'
import { issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'
import { createPeerReader } from '../../src/identity/peer.ts'
import { aRequest } from '../support/facts.ts'

const authority = makeAuthority('peer test')
const certificate = (uri: readonly string[], dns?: readonly string[]): string =>
  encodeURIComponent(issueCertificate(authority, { commonName: 'x', uri, ...(dns && { dns }) }).certificate)
const router = 'spiffe://cluster.local/ns/agents/sa/router'

describe('the peer of a request', () => {
  const cases: readonly [name: string, principal: string, certificate: string, found: string | undefined, domains?: string[]][] = [
    ['a principal', router, '', router],
    ['a principal of another trust domain', 'spiffe://other.local/ns/a/sa/b', '', undefined],
    ['a principal that is no SPIFFE ID', 'router.cluster.local', certificate([router]), undefined],
    ['nothing', '', '', undefined],
    ['a certificate', '', certificate([router]), router],
    ['a certificate of another trust domain', '', certificate(['spiffe://other.local/ns/a/sa/b']), undefined],
    ['a certificate with two URIs', '', certificate([router, 'spiffe://cluster.local/ns/agents/sa/other']), undefined],
    ['a certificate without one', '', certificate([]), undefined],
    ['a certificate with DNS names beside', '', certificate([router], ['a.example', 'b.example']), router],
    ['a certificate with a URI inside a DNS name', '', certificate([], [`a, URI:${router}, DNS:b`]), undefined],
    ['what is no certificate', '', 'abc', undefined],
    ['a broken encoding', '', '%zz', undefined],
    ['no trust domain known', router, '', undefined, []],
  ]
  const read = createPeerReader()
  for (const [name, peerPrincipal, peerCertificate, found, domains = ['cluster.local']] of cases) {
    it(name, () => {
      const request = { ...aRequest({ peerPrincipal }), peerCertificate }
      assert.equal(read(request, new Set(domains))?.id, found)
      // Once more, from what is kept.
      assert.equal(read(request, new Set(domains))?.id, found)
    })
  }
})
