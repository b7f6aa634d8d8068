import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import { issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'
import { type HttpListener, startHttpListener } from '../../src/wire/http-listener.ts'
import { parseListenAddress } from '../../src/wire/listener.ts'
import { listenTls as asListened } from '../support/listen-tls.ts'

const head = (line: string, ...more: string[]): string => [line, 'Host: 127.0.0.1', ...more, '', ''].join('\r\n')

describe('what an HTTP listener takes of its clients', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-http-limits-'))
  const authority = makeAuthority('ours')
  const leaf = issueCertificate(authority, { commonName: 'one', ip: ['127.0.0.1'] })
  const tls = { mode: 'tls', cert: join(folder, 'c.pem'), key: join(folder, 'k.pem') } as const
  writeFileSync(tls.cert, leaf.certificate)
  writeFileSync(tls.key, leaf.key, { mode: 0o600 })
  const faults: string[] = []
  let reached = 0
  const listeners: HttpListener[] = []
  const sockets: Socket[] = []
  let plain = 0
  let secure = 0

  const fetch = async (request: Request): Promise<Response> => {
    reached++
    const { pathname } = new URL(request.url)
    if (pathname === '/throws') throw new Error(`no such file ${folder}/secret-file`)
    if (pathname === '/later') return Promise.reject(new Error(`at ${folder}/secret-file`))
    if (pathname === '/body') {
      let size = 0
      for await (const part of request.body ?? []) {
        size += part.byteLength
        if (size > 1024 * 1024) return new Response(null, { status: 413, headers: { connection: 'close' } })
      }
      return new Response(String(size))
    }
    return new Response('ok', pathname === '/kept' ? { headers: { 'cache-control': 'public, max-age=300' } } : {})
  }
  before(async () => {
    const times = { headersTimeout: 400, requestTimeout: 900, connectionsCheckingInterval: 50 }
    for (const listenTls of [{ mode: 'none' }, tls] as const) {
      const address = parseListenAddress('127.0.0.1:0')
      const onFault = (detail: string): void => void faults.push(detail)
      listeners.push(await startHttpListener({ name: 'admin', listener: { address, tls: asListened(listenTls) }, fetch, onFault, times }))
    }
    ;[plain, secure] = listeners.map((listener) => (listener.address as { port: number }).port) as [number, number]
  })
  beforeEach(() => {
    reached = 0
    faults.length = 0
  })
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy()
  })
  after(async () => {
    await Promise.all(listeners.map((listener) => listener.close(100)))
    rmSync(folder, { recursive: true })
  })

  const dial = async (overTls = false): Promise<Socket> => {
    const socket = overTls ? tlsConnect({ port: secure, host: '127.0.0.1', ca: authority.certificate }) : connect(plain, '127.0.0.1')
    sockets.push(socket)
    socket.on('error', () => {})
    await once(socket, overTls ? 'secureConnect' : 'connect')
    return socket
  }
  /** Everything that comes until the end, and how long that took. */
  const rest = async (socket: Socket): Promise<{ text: string; ms: number }> => {
    const began = performance.now()
    let text = ''
    socket.on('data', (bytes) => {
      text += bytes
    })
    if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve))
    return { text, ms: performance.now() - began }
  }
  const say = async (text: string, overTls = false): Promise<string> => {
    const socket = await dial(overTls)
    socket.write(text)
    return (await rest(socket)).text
  }
  const safe = (answer: string, status: number, overTls: boolean): void => {
    assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `))
    assert.match(answer, /^x-content-type-options: nosniff\r$/im)
    assert.match(answer, /^x-frame-options: DENY\r$/im)
    assert.match(answer, /^cache-control: /im)
    assert.equal(/^strict-transport-security: max-age=31536000/im.test(answer), overTls, 'HSTS under TLS, and only there')
    assert.ok(!answer.includes(folder) && !/\bat .*\.[tj]s/.test(answer), 'no path, and no stack')
  }

  const wrong: readonly (readonly [string, string, number])[] = [
    ['a good request', head('GET / HTTP/1.1', 'Connection: close'), 200],
    ['a handler that throws', head('GET /throws HTTP/1.1', 'Connection: close'), 500],
    ['a handler that rejects', head('GET /later HTTP/1.1', 'Connection: close'), 500],
    ['no HTTP', 'nonsense\r\n\r\n', 400],
    ['a request line that is none', head('GET  / HTTP/9.9'), 400],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['a Host that makes no URL', 'GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n', 400],
    ['an expectation that nobody can meet', head('POST /body HTTP/1.1', 'Expect: the-impossible', 'Connection: close'), 417],
    ['length and chunks at once', head('POST /body HTTP/1.1', 'Content-Length: 3', 'Transfer-Encoding: chunked'), 400],
    ['a chunk that is none', `${head('POST /body HTTP/1.1', 'Transfer-Encoding: chunked')}zz\r\n`, 400],
    ['headers that are too large', head('GET / HTTP/1.1', `x-large: ${'x'.repeat(17 * 1024)}`), 431],
    ['a path that is too large', head(`GET /${'x'.repeat(17 * 1024)} HTTP/1.1`), 431],
    ['too many headers', head('GET / HTTP/1.1', ...Array.from({ length: 100 }, (_, i) => `x-${i}: y`)), 431],
    ['far too many headers', head('GET / HTTP/1.1', ...Array.from({ length: 1000 }, (_, i) => `x-${i}: y`)), 431],
  ]
  for (const overTls of [false, true]) {
    for (const [what, text, status] of wrong)
      it(`${overTls ? 'TLS: ' : ''}${what}: ${status}, with the headers that protect`, async () =>
        safe(await say(text, overTls), status, overTls))
  }
  it('as many headers as are allowed', async () => {
    const answer = await say(head('GET / HTTP/1.1', 'Connection: close', ...Array.from({ length: 98 }, (_, i) => `x-${i}: y`)))
    assert.match(answer, /^HTTP\/1\.1 200 /)
  })
  it('lets a handler say how long an answer may be kept', async () => {
    assert.match(await say(head('GET /kept HTTP/1.1', 'Connection: close')), /^cache-control: public, max-age=300\r$/im)
  })
  it('tells of what a handler threw in the log alone', async () => {
    await say(head('GET /throws HTTP/1.1', 'Connection: close'))
    assert.equal(faults.length, 1)
  })

  for (const overTls of [false, true]) {
    const shown = overTls ? 'TLS: ' : ''
    it(`${shown}headers that never end are cut off in time: 408`, async () => {
      const socket = await dial(overTls)
      socket.write('GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n')
      const drip = setInterval(() => socket.write('x: y\r\n'), 30)
      const { text, ms } = await rest(socket)
      clearInterval(drip)
      assert.ok(ms < 2500, `${ms}`)
      safe(text, 408, overTls)
      assert.equal(reached, 0)
    })
    it(`${shown}a body that drips is cut off in time`, async () => {
      const socket = await dial(overTls)
      socket.write(head('POST /body HTTP/1.1', 'Content-Length: 1000000'))
      const drip = setInterval(() => socket.write('x'), 30)
      const { text, ms } = await rest(socket)
      clearInterval(drip)
      assert.ok(ms < 3000, `${ms}`)
      assert.doesNotMatch(text, /^HTTP\/1\.1 2/)
    })
    it(`${shown}a chunked body that never ends stops at 1 MiB: 413`, async () => {
      const socket = await dial(overTls)
      socket.write(head('POST /body HTTP/1.1', 'Transfer-Encoding: chunked'))
      const chunk = `${(65_536).toString(16)}\r\n${'x'.repeat(65_536)}\r\n`
      const answered = rest(socket)
      socket.setMaxListeners(0)
      while (!socket.destroyed) {
        if (socket.write(chunk)) await new Promise((resolve) => setImmediate(resolve))
        else await new Promise((resolve) => socket.once('drain', resolve).once('close', resolve))
      }
      const { text, ms } = await answered
      assert.ok(ms < 3000, `${ms}`)
      safe(text, 413, overTls)
    })
  }
  it('connections that say nothing are cut off in time', async () => {
    assert.ok((await rest(await dial())).ms < 2500)
  })
  it('an endless client costs others nothing', async () => {
    const slow = await Promise.all(Array.from({ length: 50 }, () => dial()))
    for (const socket of slow) socket.write('GET / HTTP/1.1\r\n')
    assert.match(await say(head('GET / HTTP/1.1', 'Connection: close')), /^HTTP\/1\.1 200 /)
  })
})
