import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { allowedUrl, HttpFailure, type HttpFault, openHttpClient } from '../../src/adapters/http-client.ts'
import { type LocalServer, localServer } from './local-server.ts'

describe('http client', () => {
  let server: LocalServer
  const http = openHttpClient({ timeoutMs: 200, maxBody: 1000 })
  before(async () => {
    server = await localServer()
  })
  after(async () => {
    http.close()
    await server.stop()
  })
  const fails = (url: string, fault: HttpFault): Promise<void> =>
    assert.rejects(http.call(url), (error) => error instanceof HttpFailure && error.fault === fault)

  it('sends and reads', async () => {
    server.handle = (_, response) => void response.writeHead(418, { 'x-a': 'b' }).end('täxt')
    const answer = await http.call(`${server.url}/p?q`, { method: 'POST', body: 'ä=1', headers: { 'x-c': 'd' } })
    assert.deepEqual([answer.status, answer.headers.get('x-a'), answer.body], [418, 'b', 'täxt'])
    const { method, path, headers, body } = server.seen.at(-1)!
    assert.deepEqual([method, path, headers['x-c'], body], ['POST', '/p?q', 'd', 'ä=1'])
  })
  it('follows no redirect', async () => {
    server.handle = (_, response) => void response.writeHead(302, { location: '/elsewhere' }).end()
    const before = server.seen.length
    await fails(server.url, 'redirect')
    assert.equal(server.seen.length, before + 1)
  })
  it('gives up on a server that hangs before, or in the middle of, its answer', async () => {
    server.handle = () => {}
    await fails(server.url, 'timeout')
    server.handle = (_, response) => void response.writeHead(200, { 'content-length': '10' }).write('abc')
    await fails(server.url, 'timeout')
  })
  it('gives up on one that drips', async () => {
    server.handle = (_, response) => {
      response.writeHead(200)
      const drip = setInterval(() => response.write('.'), 20)
      response.on('close', () => clearInterval(drip))
    }
    await fails(server.url, 'timeout')
  })
  it('stops reading what is too large', async () => {
    server.handle = (_, response) => void response.end('x'.repeat(10_000_000))
    await fails(server.url, 'too_large')
  })
  it('takes a broken-off answer for a failure', async () => {
    server.handle = (_, response) => {
      response.writeHead(200, { 'content-length': '10' }).write('abc')
      setTimeout(() => response.destroy(), 20)
    }
    await fails(server.url, 'network')
  })
  it('says when nobody listens', async () => {
    const probe = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => probe.once('listening', resolve))
    const { port } = probe.address() as { port: number }
    await new Promise((resolve) => probe.close(resolve))
    await fails(`http://127.0.0.1:${port}`, 'network')
  })
  const urls: [string, boolean][] = [
    ['https://a.example/x', true],
    ['http://127.0.0.1:1/x', true],
    ['http://localhost/x', true],
    ['http://[::1]:8/x', true],
    ['http://a.example/x', false],
    ['http://localhost.example/', false],
    ['http://127.0.0.1.example/', false],
    ['http://169.254.169.254/', false],
    ['https://user:pw@a.example/', false],
    ['file:///etc/passwd', false],
    ['nonsense', false],
  ]
  for (const [url, allowed] of urls)
    it(`${allowed ? 'allows' : 'forbids'} ${url}`, () => assert.equal(allowedUrl(url) !== undefined, allowed))
  it('asks nobody at a forbidden place', () => fails('http://a.example/', 'forbidden_url'))
  it('ends what is under way when it closes', async () => {
    const own = openHttpClient({ timeoutMs: 5000 })
    server.handle = () => {}
    const call = own.call(server.url)
    setTimeout(own.close, 20)
    await assert.rejects(call, (error) => error instanceof HttpFailure && error.fault === 'closed')
    await assert.rejects(own.call(server.url), (error) => error instanceof HttpFailure && error.fault === 'closed')
  })
})
