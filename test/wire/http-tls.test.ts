import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect, type SecureVersion, type TLSSocket } from 'node:tls'
import { issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'
import { type HttpListener, startHttpListener } from '../../src/wire/http-listener.ts'
import { parseListenAddress } from '../../src/wire/listener.ts'
import { listenTls, type TlsFiles } from '../support/listen-tls.ts'
import { until } from '../support/until.ts'

interface Pair {
  readonly cert: string
  readonly key: string
}

describe('TLS of the HTTP listeners', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-http-tls-'))
  const authority = makeAuthority('ours')
  const write = (name: string, { cert, key }: Pair): Pair => {
    const paths = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) }
    writeFileSync(paths.key, key, { mode: 0o600 })
    writeFileSync(paths.cert, cert)
    return paths
  }
  const issue = (by = authority, more: object = {}): Pair => {
    const { certificate, key } = issueCertificate(by, { commonName: 'one', ip: ['127.0.0.1'], ...more })
    return { cert: certificate, key }
  }
  const ca = join(folder, 'ca.crt')
  writeFileSync(ca, authority.certificate)
  const pair = write('server', issue())
  const listeners: HttpListener[] = []
  const sockets: TLSSocket[] = []
  const agents: Agent[] = []
  const faults: string[] = []
  let reached = 0

  const start = async (tls: TlsFiles): Promise<number> => {
    const listener = await startHttpListener({
      name: 'issuer',
      listener: {
        address: parseListenAddress('127.0.0.1:0'),
        tls: listenTls(tls, { everyMs: 20, onFault: (detail) => faults.push(detail) }),
      },
      fetch: ({ url }) => {
        reached++
        return new Response(url.endsWith('/none') ? null : 'ok', { status: url.endsWith('/none') ? 404 : 200 })
      },
      onFault: (detail) => faults.push(detail),
    })
    listeners.push(listener)
    return (listener.address as { port: number }).port
  }
  /** What a client sees of one request on a connection of its own; rejects where there is none. */
  const ask = (port: number, options: ConnectionOptions = {}): Promise<{ protocol: string | null; answer: string }> =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate, ...options })
      sockets.push(socket)
      let answer = ''
      socket.once('secureConnect', () => socket.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n'))
      socket.on('data', (bytes) => {
        answer += bytes
      })
      socket.once('error', reject)
      socket.once('close', () => (answer === '' ? reject(new Error('closed without an answer')) : resolve({ protocol, answer })))
      let protocol: string | null = null
      socket.once('secureConnect', () => {
        protocol = socket.getProtocol()
      })
    })
  beforeEach(() => {
    reached = 0
    faults.length = 0
  })
  afterEach(async () => {
    for (const agent of agents.splice(0)) agent.destroy()
    for (const socket of sockets.splice(0)) socket.destroy()
    await Promise.all(listeners.splice(0).map((listener) => listener.close(100)))
  })
  after(() => rmSync(folder, { recursive: true }))

  const only = (version: SecureVersion): ConnectionOptions => ({ minVersion: version, maxVersion: version })
  for (const mode of ['tls', 'mtls'] as const) {
    it(`${mode}: TLS 1.2 and 1.3 are spoken, and nothing older`, async () => {
      const port = await start(mode === 'tls' ? { mode, ...pair } : { mode, ...pair, ca, allow: [] })
      const own = mode === 'mtls' ? issue() : {}
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        const { protocol, answer } = await ask(port, { ...own, ...only(version) })
        assert.equal(protocol, version)
        assert.match(answer, /^HTTP\/1\.1 200 [\s\S]*strict-transport-security: max-age=31536000/i)
      }
      const before = reached
      // The client is made willing to speak it, so that the refusal is the server's.
      for (const version of ['TLSv1.1', 'TLSv1'] as const)
        await assert.rejects(
          ask(port, { ...own, ...only(version), ciphers: 'DEFAULT@SECLEVEL=0' }),
          /protocol version|unsupported protocol/i,
        )
      assert.equal(reached, before)
    })
  }

  const foreign = makeAuthority('ours')
  const past = new Date(Date.now() - 60_000)
  const strangers: readonly (readonly [string, ConnectionOptions])[] = [
    ['no certificate', {}],
    ['a certificate of a foreign CA of the same name', issue(foreign)],
    ['an expired certificate', issue(authority, { notBefore: new Date(Date.now() - 120_000), notAfter: past })],
    ['a certificate that is not valid yet', issue(authority, { notBefore: new Date(Date.now() + 3_600_000) })],
    [
      'a certificate that it signed itself',
      (() => {
        const { certificate, privateKey } = makeAuthority('one')
        return { cert: certificate, key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })) }
      })(),
    ],
  ]
  for (const [what, options] of strangers) {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      it(`mtls: ${what} fails in the handshake (${version}), and never reaches HTTP`, async () => {
        const port = await start({ mode: 'mtls', ...pair, ca, allow: [] })
        await assert.rejects(ask(port, { ...options, ...only(version) }))
        await until('the fault to be told', () => faults.some((fault) => /^listen\.issuer: a TLS handshake failed: /.test(fault)), 2000)
        assert.equal(reached, 0)
        assert.match((await ask(port, issue())).answer, /200/)
      })
    }
  }
  it('a request without TLS gets no answer', async () => {
    const port = await start({ mode: 'tls', ...pair })
    await assert.rejects(fetch(`http://127.0.0.1:${port}/`))
    assert.equal(reached, 0)
  })

  it('takes renewed certificates, and a renewed CA, without a dropped connection', async () => {
    const own = write('own', issue())
    const roots = join(folder, 'roots.crt')
    writeFileSync(roots, authority.certificate)
    const port = await start({ mode: 'mtls', ...own, ca: roots, allow: [] })
    const agent = new Agent({ keepAlive: true, maxSockets: 1, maxCachedSessions: 0 })
    agents.push(agent)
    const kept = new Set<unknown>()
    const client = issue()
    const again = (): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        const call = request({ agent, port, host: '127.0.0.1', ca: authority.certificate, ...client }, (reply) => {
          kept.add(reply.socket)
          reply.resume().on('end', () => resolve(reply.statusCode))
        })
        call.on('error', reject).end()
      })
    assert.equal(await again(), 200)

    const next = makeAuthority('next')
    const newcomer = issue(next)
    await assert.rejects(ask(port, { ...newcomer, ca: [authority.certificate, next.certificate] }))
    // Requests go on over the connection while the files are replaced, one by one.
    const replacing = (async () => {
      writeFileSync(roots, authority.certificate + next.certificate)
      await new Promise((resolve) => setTimeout(resolve, 60))
      write('own', issue(next))
    })()
    for (let i = 0; i < 30; i++) {
      assert.equal(await again(), 200)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await replacing
    await until(
      'the new certificate',
      () =>
        ask(port, { ...newcomer, ca: next.certificate }).then(
          () => true,
          () => false,
        ),
      3000,
    )
    assert.equal(await again(), 200)
    assert.equal(kept.size, 1, 'one connection all the time')
    // The old CA vouches for nobody any more, whose connection is open neither.
    writeFileSync(roots, next.certificate)
    await until('the connection to end', () => [...kept].every((socket) => (socket as TLSSocket).destroyed), 3000)
    await assert.rejects(ask(port, { ...client, ca: next.certificate }))
    assert.match((await ask(port, { ...newcomer, ca: next.certificate })).answer, /200/)
  })
  it('keeps the last good certificates while the files are broken, and says so', async () => {
    const own = write('broken', issue())
    const port = await start({ mode: 'tls', ...own })
    writeFileSync(own.cert, 'no PEM')
    await until('the fault to be told', () => faults.some((fault) => fault.includes('certificates are not reloaded')), 2000)
    assert.match((await ask(port)).answer, /200/)
    assert.ok(!faults.join().includes('PRIVATE'))
  })
})
