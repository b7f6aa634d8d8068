import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request as plainHttp, type RequestOptions } from 'node:http'
import { request as tlsHttp } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Hono } from 'hono'
import type { Connection } from '../../src/core/connection.ts'
import { type HttpListener, startHttpListener } from '../../src/wire/http-listener.ts'
import { parseListenAddress } from '../../src/wire/listener.ts'
import { listenTls, type TlsFiles } from '../support/listen-tls.ts'
import { createAuthority, writePair } from './certificates.ts'

interface Reply {
  readonly status: number | undefined
  readonly body: string
}

const ask = (
  options: RequestOptions & { readonly ca?: string; readonly cert?: string; readonly key?: string },
  secure = false,
): Promise<Reply> =>
  new Promise((resolve, reject) => {
    const take = (reply: IncomingMessage): void => {
      let body = ''
      reply.setEncoding('utf8')
      reply.on('data', (chunk) => {
        body += chunk
      })
      reply.on('end', () => resolve({ status: reply.statusCode, body }))
    }
    const call = (secure ? tlsHttp : plainHttp)({ agent: false, host: '127.0.0.1', ...options }, take)
    call.on('error', reject)
    call.end()
  })

describe('the HTTP listener', () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-http-'))
  const authority = createAuthority('test ca')
  const ca = join(folder, 'ca.crt')
  writeFileSync(ca, authority.cert)
  const pair = writePair(folder, 'server', authority.issue('server', ['IP:127.0.0.1']))
  const listeners: HttpListener[] = []
  const faults: string[] = []

  const app = new Hono<{ Bindings: Connection }>()
  app.get('/who', (c) => c.json({ peer: c.env.peer ?? null, secure: c.env.secure, remoteAddress: c.env.remoteAddress }))
  app.get('/slow', async (c) => {
    await new Promise((resolve) => setTimeout(resolve, 200))
    return c.text('done')
  })
  app.get('/never', () => new Promise(() => {}))

  const start = async (address: string, tls: TlsFiles = { mode: 'none' }, everyMs = 10_000): Promise<HttpListener> => {
    const listener = await startHttpListener({
      name: 'admin',
      listener: { address: parseListenAddress(address), tls: listenTls(tls, { everyMs, onFault: (detail) => faults.push(detail) }) },
      fetch: (request, connection) => {
        if (request.url.endsWith('/throws')) throw new Error('boom')
        return app.fetch(request, connection)
      },
      onFault: (detail) => faults.push(detail),
    })
    listeners.push(listener)
    return listener
  }
  const portOf = (listener: HttpListener): number => (listener.address as { port: number }).port

  afterEach(async () => {
    await Promise.all(listeners.splice(0).map((listener) => listener.close(100)))
    faults.length = 0
  })
  after(() => rmSync(folder, { recursive: true }))

  it('serves an application, and tells it of the connection', async () => {
    const listener = await start('127.0.0.1:0')
    const { status, body } = await ask({ port: portOf(listener), path: '/who' })
    assert.equal(status, 200)
    assert.deepEqual(JSON.parse(body), { peer: null, secure: false, remoteAddress: '127.0.0.1' })
    assert.equal((await ask({ port: portOf(listener), path: '/none' })).status, 404)
  })

  it('answers 500 without a word where a handler throws', async () => {
    const listener = await start('127.0.0.1:0')
    assert.deepEqual(await ask({ port: portOf(listener), path: '/throws' }), { status: 500, body: '' })
    assert.deepEqual(faults, ['listen.admin: a handler threw Error: boom'])
  })

  it('listens on unix sockets', async () => {
    const path = join(folder, 'admin.sock')
    await start(`unix:${path}`)
    assert.equal(statSync(path).mode & 0o777, 0o660)
    assert.deepEqual(JSON.parse((await ask({ socketPath: path, path: '/who' })).body), { peer: null, secure: false, remoteAddress: '' })
  })

  it('refuses to listen off loopback without TLS', async () => {
    await assert.rejects(start('0.0.0.0:0'), /listen\.admin 0\.0\.0\.0:0: credentials would cross the network in the clear/)
    assert.equal(
      (await ask({ port: portOf(await start('0.0.0.0:0', { mode: 'tls', ...pair })), path: '/who', ca: authority.cert }, true)).status,
      200,
    )
  })

  it('tells the SPIFFE ID of a verified peer, and takes no other', async () => {
    const listener = await start('127.0.0.1:0', { mode: 'mtls', ...pair, ca, allow: [] })
    const id = 'spiffe://cluster.local/ns/agents/sa/workloadmanager'
    const options = { port: portOf(listener), path: '/who', ca: authority.cert }
    assert.deepEqual(JSON.parse((await ask({ ...options, ...authority.issue('client', [`URI:${id}`]) }, true)).body), {
      peer: id,
      secure: true,
      remoteAddress: '127.0.0.1',
    })
    assert.equal(JSON.parse((await ask({ ...options, ...authority.issue('client', ['DNS:a']) }, true)).body).peer, null)
    await assert.rejects(ask(options, true))
    await assert.rejects(ask({ ...options, ...createAuthority('test ca').issue('client', [`URI:${id}`]) }, true))
  })

  it('uses renewed certificates', async () => {
    const own = writePair(folder, 'own', authority.issue('server', ['IP:127.0.0.1']))
    const listener = await start('127.0.0.1:0', { mode: 'tls', ...own }, 20)
    const next = createAuthority('next ca')
    const options = { port: portOf(listener), path: '/who', ca: next.cert }
    await assert.rejects(ask(options, true))
    writePair(folder, 'own', next.issue('server', ['IP:127.0.0.1']))
    await new Promise((resolve) => setTimeout(resolve, 200))
    assert.equal((await ask(options, true)).status, 200)
  })

  it('ends requests in flight, and cuts what does not end', async () => {
    const listener = await start('127.0.0.1:0')
    const port = portOf(listener)
    const slow = ask({ port, path: '/slow' })
    const never = assert.rejects(ask({ port, path: '/never' }))
    const idle = connect(port, '127.0.0.1')
    idle.on('error', () => {})
    await new Promise((resolve) => setTimeout(resolve, 50))
    const began = performance.now()
    await listener.close(500)
    const took = performance.now() - began
    assert(took < 1500, `${took}`)
    assert.deepEqual(await slow, { status: 200, body: 'done' })
    await never
    await assert.rejects(ask({ port, path: '/who' }))
  })
})
