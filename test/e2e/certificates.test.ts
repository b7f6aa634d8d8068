import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { statSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { issueCertificate, type Leaf, makeAuthority, writeAuthority, writeLeaf } from '../../deploy/local/certificates.mjs'
import { temporaryFolder } from '../support/temporary-folder.ts'

const spiffeId = 'spiffe://cluster.local/ns/agents/sa/router'
const authority = makeAuthority('A test CA')
const server = issueCertificate(authority, { commonName: 'server', dns: ['localhost'], ip: ['127.0.0.1', '::1'] })

/** A handshake in which both sides demand a certificate of the CA; gives the names that the server saw. */
async function handshake(client: Leaf, ca = authority.certificate, presented = server): Promise<string> {
  const listening = createServer({
    cert: presented.certificate,
    key: presented.key,
    ca: authority.certificate,
    requestCert: true,
    rejectUnauthorized: true,
  })
  const accepted = new Promise<string>((done, fail) => {
    listening.on('secureConnection', (socket: TLSSocket) => {
      done(socket.getPeerCertificate().subjectaltname ?? '')
      socket.end()
    })
    listening.on('tlsClientError', fail)
  })
  accepted.catch(() => {})
  await new Promise<void>((done) => listening.listen(0, '127.0.0.1', done))
  const { port } = listening.address() as AddressInfo
  try {
    await new Promise<void>((done, fail) => {
      const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ca, cert: client.certificate, key: client.key })
      socket.on('secureConnect', done)
      socket.on('error', fail)
      socket.resume()
    })
    return await accepted
  } finally {
    listening.close()
  }
}

describe('throw-away certificates', () => {
  it('say what they are asked to say', () => {
    const leaf = new X509Certificate(
      issueCertificate(authority, { commonName: 'router', dns: ['a.example', 'b.example'], ip: ['127.0.0.1', '::1'], uri: [spiffeId] })
        .certificate,
    )
    assert.equal(leaf.subject, 'CN=router')
    assert.equal(leaf.issuer, 'CN=A test CA')
    assert.equal(leaf.subjectAltName, `DNS:a.example, DNS:b.example, URI:${spiffeId}, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1`)
    assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'])
    assert.equal(leaf.ca, false)
    assert.equal(leaf.verify(authority.publicKey), true)
    const root = new X509Certificate(authority.certificate)
    assert.equal(root.ca, true)
    assert.equal(leaf.checkIssued(root), true)
    assert.equal(leaf.verify(makeAuthority('A test CA').publicKey), false)
  })

  it('are valid from a little ago, for as long as asked', () => {
    const leaf = new X509Certificate(issueCertificate(authority, { commonName: 'x', days: 2 }).certificate)
    assert.ok(leaf.validFromDate.getTime() < Date.now() - 60_000)
    assert.ok(Math.abs(leaf.validToDate.getTime() - Date.now() - 2 * 86_400_000) < 60_000)
    const late = new X509Certificate(
      issueCertificate(authority, { commonName: 'x', notAfter: new Date('2060-01-02T03:04:05Z') }).certificate,
    )
    assert.equal(late.validToDate.toISOString(), '2060-01-02T03:04:05.000Z')
  })

  it('have serial numbers of their own, and stay readable when long', () => {
    const dns = Array.from({ length: 40 }, (_, at) => `host-${at}.a-rather-long-domain.example`)
    const [one, two] = [0, 1].map(() => new X509Certificate(issueCertificate(authority, { commonName: 'x', dns }).certificate))
    assert.notEqual(one?.serialNumber, two?.serialNumber)
    assert.equal(one?.subjectAltName?.split(', ').length, 40)
    assert.equal(one?.verify(authority.publicKey), true)
  })

  it('pass a handshake in which both sides prove themselves', async () => {
    assert.equal(await handshake(issueCertificate(authority, { commonName: 'router', uri: [spiffeId] })), `URI:${spiffeId}`)
  })

  const refused: Record<string, () => Promise<unknown>> = {
    'of another CA': () => handshake(issueCertificate(makeAuthority('A test CA'), { commonName: 'router', uri: [spiffeId] })),
    'that have expired': () =>
      handshake(
        issueCertificate(authority, { commonName: 'x', notBefore: new Date(Date.now() - 9e6), notAfter: new Date(Date.now() - 9e5) }),
      ),
    'whose issuer is only a leaf': () => {
      const leaf = issueCertificate(authority, { commonName: 'not a CA' })
      return handshake(server, leaf.certificate)
    },
    'for another name': () => handshake(server, authority.certificate, issueCertificate(authority, { commonName: 'x', dns: ['other'] })),
  }
  for (const [name, attempt] of Object.entries(refused)) {
    it(`are refused ${name}`, async () => {
      await assert.rejects(attempt)
    })
  }

  it('are written with keys that only their owner can read, and without the key of the CA', () => {
    const folder = temporaryFolder()
    try {
      const { cert, key } = writeLeaf(folder.file('certs'), 'server', server)
      const ca = writeAuthority(folder.file('certs'), 'ca', authority)
      assert.equal(statSync(key).mode & 0o777, 0o600)
      assert.deepEqual(
        [cert, key, ca],
        ['server.crt', 'server.key', 'ca.crt'].map((name) => folder.file(`certs/${name}`)),
      )
    } finally {
      folder.remove()
    }
  })
})
