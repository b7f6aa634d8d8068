import assert from 'node:assert/strict'
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Soon } from '../../src/core/ports.ts'
import type { ProcessedRequest, RequestStep, ResponseFollower, ResponseStep } from '../../src/core/processing.ts'
import { type ClientRequest, request, requestHttp2 } from '../support/request.ts'
import { until } from '../support/until.ts'
import { metadata, type ProcessedEdge, type ProcessedEdgeOptions, startProcessedEdge } from './ext-proc-edge.ts'

const conflict = {
  kind: 'answer',
  answer: {
    status: 409,
    headers: [
      ['content-type', 'application/problem+json'],
      ['cache-control', 'no-store'],
      ['x-postern-decision', 'd1'],
    ],
    body: '{"reason":"takeover"}',
    details: 'postern_takeover',
  },
} as const

/** What an upstream does that knows nothing of Postern, by path. */
const answer: ProcessedEdgeOptions['answer'] = (asked, response) => {
  const { pathname, searchParams } = new URL(asked.url ?? '/', 'http://upstream')
  const later = (ms: number, then: () => void): true => {
    setTimeout(then, ms)
    return true
  }
  const big = Buffer.alloc(Number(searchParams.get('bytes') ?? 0), 97)
  switch (pathname) {
    case '/create':
      response.writeHead(201, { 'content-type': 'application/json', location: '/v1/sandboxes/s1' }).end('{"id":"s1"}')
      return true
    case '/empty':
      response.writeHead(201, { location: '/v1/sandboxes/s1', 'content-length': 0 }).end()
      return true
    case '/hints':
      response.writeEarlyHints({ link: '</a>; rel=preload' })
      return later(50, () => response.writeHead(201, { 'content-type': 'application/json' }).end('{"id":"s1"}'))
    case '/stream':
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      return later(500, () => response.end('data: 2\n\n'))
    case '/never':
      return true
    case '/reset':
      return later(50, () => response.socket?.destroy())
    case '/half':
      response.writeHead(201, { 'content-length': 100 }).write('{"id":')
      return later(50, () => response.socket?.destroy())
    case '/big':
      response.writeHead(201).end(big)
      return true
    case '/grpc':
      response.writeHead(200, { 'content-type': 'application/grpc', 'grpc-status': '0' }).end()
      return true
    default:
      return false
  }
}

describe('ext_proc of the real Envoy', function () {
  this.timeout(30_000)
  const told: unknown[][] = []
  let onRequest: (asked: ProcessedRequest) => Soon<RequestStep>
  let onHeaders: () => Soon<ResponseStep>
  let onBody: () => Soon<ResponseStep>
  let edge: ProcessedEdge
  const response: ResponseFollower = {
    headers: (status, headers, ended) => {
      told.push(['headers', status, headers.get('location')?.join(), ended])
      return onHeaders()
    },
    body: (body) => {
      told.push(['body', body.length < 100 ? body.toString() : body.length])
      return onBody()
    },
    lost: (why) => void told.push(['lost', why]),
  }
  const follow = (body: boolean): RequestStep => ({ kind: 'follow', remove: ['accept-encoding'], body, response })

  before(async () => {
    edge = await startProcessedEdge({ processor: { request: (asked) => onRequest(asked) }, answer })
  })
  after(() => edge?.stop())
  beforeEach(() => {
    told.length = 0
    onRequest = () => follow(true)
    onHeaders = () => ({ kind: 'body' })
    onBody = () => ({ kind: 'pass' })
  })

  const ask = (path: string, what: Omit<ClientRequest, 'port'> = {}) => request({ port: edge.port, path, ...what })
  const kinds = () => told.map(([kind]) => kind)
  const made = ['headers', 201, '/v1/sandboxes/s1', false]

  it('hands on what ext_authz said, and nothing that a client said', async () => {
    let seen: ProcessedRequest | undefined
    onRequest = (asked) => {
      seen = asked
      return { kind: 'skip' }
    }
    const forged = { 'x-postern-subject': 'bob', 'x-envoy-original-path': '/other', 'envoy.filters.http.ext_authz': '{"subject":"bob"}' }
    assert.equal((await ask('/create?x=1', { method: 'POST', headers: forged })).status, 201)
    assert.deepEqual(
      { ...seen, metadata: Object.fromEntries(Object.entries(seen?.metadata ?? {}).sort()) },
      { metadata: Object.fromEntries(Object.entries(metadata).sort()), method: 'POST', path: '/create?x=1' },
    )
    assert.deepEqual(told, [])
  })

  it('asks nobody on other routes', async () => {
    let asked = 0
    onRequest = () => {
      asked++
      return { kind: 'skip' }
    }
    for (let i = 0; i < 5; i++) assert.equal((await ask('/plain')).status, 200)
    assert.equal(asked, 0)
  })

  it('follows a response to its body, without accept-encoding in its request', async () => {
    assert.deepEqual((await ask('/create', { headers: { 'accept-encoding': 'gzip' } })).body, '{"id":"s1"}')
    assert.deepEqual(told, [made, ['body', '{"id":"s1"}']])
    assert.equal(edge.upstream.received.at(-1)?.headers['accept-encoding'], undefined)
  })

  it('asks for the body at the response, where the request did not', async () => {
    onRequest = () => follow(false)
    assert.equal((await ask('/create')).status, 201)
    assert.deepEqual(told, [made, ['body', '{"id":"s1"}']])
  })

  it('lets a response go at its headers, and a stream flow', async () => {
    onHeaders = () => ({ kind: 'pass' })
    const first = await new Promise<number>((resolve, reject) => {
      const started = Date.now()
      const socket = connect(edge.port, '127.0.0.1', () => socket.write('GET /stream HTTP/1.1\r\nhost: a\r\n\r\n'))
      socket.on('error', reject)
      socket.on('data', (data: Buffer) => {
        if (!data.includes('data: 1')) return
        resolve(Date.now() - started)
        socket.destroy()
      })
    })
    assert(first < 400, `the first event came after ${first} ms`)
    assert.deepEqual(kinds(), ['headers'])
  })

  it('holds the answer until the processor has decided', async () => {
    let decide: (step: ResponseStep) => void = () => {}
    onHeaders = () =>
      new Promise((resolve) => {
        decide = resolve
      })
    let answered = false
    const asked = ask('/create').then((got) => {
      answered = true
      return got
    })
    await until('the response’s headers', () => told.length > 0)
    await sleep(200)
    assert.equal(answered, false)
    decide({ kind: 'pass' })
    assert.equal((await asked).status, 201)
  })

  const bodies: Record<string, readonly [path: string, seen: readonly unknown[]]> = {
    'without a body': ['/empty', [['headers', 201, '/v1/sandboxes/s1', true]]],
    'after an informational one': [
      '/hints',
      [
        ['headers', 201, undefined, false],
        ['body', '{"id":"s1"}'],
      ],
    ],
    'in pieces': [
      '/stream',
      [
        ['headers', 200, undefined, false],
        ['body', 'data: 1\n\ndata: 2\n\n'],
      ],
    ],
    'as large as Envoy may hold': [
      '/big?bytes=1048576',
      [
        ['headers', 201, undefined, false],
        ['body', 1_048_576],
      ],
    ],
  }
  for (const [name, [path, seen]] of Object.entries(bodies)) {
    it(`sees a response ${name}`, async () => {
      if (path === '/empty') onHeaders = () => ({ kind: 'pass' })
      assert((await ask(path)).status < 300)
      assert.deepEqual(told, seen)
    })
  }

  it('sees the response to HEAD as one without a body', async () => {
    onHeaders = () => ({ kind: 'pass' })
    assert.equal((await ask('/create', { method: 'HEAD' })).status, 201)
    assert.deepEqual(told, [['headers', 201, '/v1/sandboxes/s1', true]])
  })

  it('replaces a body: a shorter one, a longer one, none', async () => {
    for (const body of ['[]', 'b'.repeat(200_000), '']) {
      onBody = () => ({
        kind: 'replace',
        body: Buffer.from(body),
        set: [['cache-control', 'private, no-store']],
        remove: ['etag', 'expires'],
      })
      for (const path of ['/create', '/stream']) {
        const got = await ask(path)
        assert.deepEqual(
          [got.body, got.headers['content-length'], got.headers['cache-control']],
          [body, String(body.length), 'private, no-store'],
        )
      }
    }
  })

  it('refuses to change a header that is not on the list of the file', async () => {
    onBody = () => ({ kind: 'replace', body: Buffer.from('[]'), set: [['x-other', '1']], remove: [] })
    assert.equal((await ask('/create')).status, 503)
    onBody = () => ({ kind: 'replace', body: Buffer.from('[]'), set: [], remove: ['set-cookie'] })
    assert.equal((await ask('/create')).status, 503)
  })

  for (const place of ['request', 'headers', 'body'] as const) {
    it(`answers in place of the upstream at the ${place}`, async () => {
      if (place === 'request') onRequest = () => conflict
      if (place === 'headers') onHeaders = () => conflict
      if (place === 'body') onBody = () => conflict
      const before = edge.upstream.received.length
      const got = await ask('/create', { method: 'POST' })
      assert.deepEqual([got.status, got.body], [409, '{"reason":"takeover"}'])
      const { headers } = got
      assert.deepEqual(
        [headers['content-type'], headers['cache-control'], headers['x-postern-decision']],
        ['application/problem+json', 'no-store', 'd1'],
      )
      assert.equal(headers['location'], undefined)
      assert.equal(edge.upstream.received.length - before, place === 'request' ? 0 : 1)
      await edge.envoy.logLine({ status: 409, details: 'postern_takeover' })
      if (place === 'headers') assert.deepEqual([(await ask('/create', { method: 'HEAD' })).status], [409])
    })
  }

  it('answers a gRPC client in its own form', async () => {
    onHeaders = () => conflict
    const call = { method: 'POST', headers: { 'content-type': 'application/grpc', te: 'trailers' }, body: Buffer.alloc(5) }
    const got = await requestHttp2({ port: edge.port, path: '/grpc', ...call })
    assert.deepEqual([got.status, got.headers['grpc-status'], got.headers['grpc-message']], [200, '2', '{"reason":"takeover"}'])
    onHeaders = () => ({ kind: 'pass' })
    assert.equal((await requestHttp2({ port: edge.port, path: '/grpc', ...call })).headers['grpc-status'], '0')
  })

  const broken: Record<string, readonly [path: string, status: number, seen: readonly string[]]> = {
    'resets before the response': ['/reset', 503, ['headers']],
    'resets within the body': ['/half', 502, ['headers', 'lost']],
    'never answers': ['/never', 504, ['headers']],
    'sends more than Envoy may hold': ['/big?bytes=3000000', 500, ['headers', 'lost']],
  }
  for (const [name, [path, status, seen]] of Object.entries(broken)) {
    it(`fails closed where the upstream ${name}`, async () => {
      // A local answer of Envoy comes as a response, of a status that is no success.
      if (seen.length === 1) onHeaders = () => ({ kind: 'pass' })
      assert.equal((await ask(path)).status, status)
      await until('the end', () => kinds().length >= seen.length)
      assert.deepEqual(kinds(), seen)
      if (seen.length === 1) assert.equal(told[0]?.[1], status)
    })
  }

  it('tells once that the client has gone', async () => {
    const socket = connect(edge.port, '127.0.0.1', () => socket.write('POST /never HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n'))
    const before = edge.upstream.received.length
    await until('the request at the upstream', () => edge.upstream.received.length > before)
    socket.destroy()
    await until('lost', () => told.length > 0)
    await sleep(100)
    assert.deepEqual(kinds(), ['lost'])
  })

  it('answers 503 where the processor takes too long, before Envoy gives up', async () => {
    const never = <T>(): Promise<T> => new Promise(() => {})
    const slow: Record<string, () => void> = {
      request: () => {
        onRequest = never
      },
      headers: () => {
        onRequest = () => follow(true)
        onHeaders = never
      },
      body: () => {
        onHeaders = () => ({ kind: 'body' })
        onBody = never
      },
    }
    for (const [place, prepare] of Object.entries(slow)) {
      prepare()
      const got = await ask('/create')
      assert.deepEqual([got.status, (JSON.parse(got.body) as { reason: string }).reason], [503, 'overloaded'], place)
    }
    await edge.envoy.logLine({ status: 503, details: 'postern_overloaded' })
  })

  it('keeps answers apart, many at a time', async () => {
    onBody = async () => {
      await sleep(Math.random() * 20)
      return { kind: 'pass' }
    }
    const answers = await Promise.all(Array.from({ length: 100 }, () => ask('/create')))
    assert.deepEqual(answers.filter(({ status, body }) => status !== 201 || body !== '{"id":"s1"}').length, 0)
    assert.equal(kinds().filter((kind) => kind === 'lost').length, 0)
  })

  // Last: it does not come back.
  it('answers 503 where ext_proc is gone in the middle, and where it is down; other routes go on', async () => {
    const asked = ask('/never')
    const before = edge.upstream.received.length
    await until('the request at the upstream', () => edge.upstream.received.length > before)
    await edge.closeProcessor()
    assert.equal((await asked).status, 503)
    assert.deepEqual(kinds(), ['lost'])
    const count = edge.upstream.received.length
    assert.equal((await ask('/create')).status, 503)
    assert.equal(edge.upstream.received.length, count)
    assert.equal((await ask('/plain')).status, 200)
  })
})

describe('ext_proc of an Envoy that is set otherwise', function () {
  this.timeout(30_000)
  let edge: ProcessedEdge | undefined
  afterEach(async () => {
    await edge?.stop()
    edge = undefined
  })
  const start = async (filter: object, step: ResponseStep): Promise<ProcessedEdge> => {
    const response: ResponseFollower = {
      headers: () => step,
      body: () => ({ kind: 'replace', body: Buffer.from('[]'), set: [], remove: [] }),
      lost: () => {},
    }
    edge = await startProcessedEdge({
      processor: { request: () => ({ kind: 'follow', remove: [], body: true, response }) },
      answer,
      filter,
    })
    return edge
  }

  it('still brings the body where Envoy heeds no override', async () => {
    const { port } = await start({ allow_mode_override: false, allowed_override_modes: [] }, { kind: 'body' })
    assert.equal((await request({ port, path: '/create' })).body, '[]')
  })

  it('fails closed where the request’s body is sent', async () => {
    const sent = { request_header_mode: 'SEND', response_header_mode: 'SEND', request_body_mode: 'BUFFERED' }
    const { port, upstream } = await start(
      { processing_mode: sent, allow_mode_override: false, allowed_override_modes: [] },
      { kind: 'pass' },
    )
    assert.equal((await request({ port, method: 'POST', path: '/create', body: '{}' })).status, 500)
    assert.equal(upstream.received.length, 0)
  })
})

describe('ext_proc of the real Envoy, with few streams', function () {
  this.timeout(30_000)
  it('gives a place back at each end', async () => {
    const response: ResponseFollower = { headers: () => ({ kind: 'pass' }), body: () => ({ kind: 'pass' }), lost: () => {} }
    const steps: RequestStep[] = [{ kind: 'skip' }, { kind: 'follow', remove: [], body: true, response }, conflict]
    let turn = 0
    const processor = { request: () => steps[turn++ % steps.length]! }
    const edge = await startProcessedEdge({ processor, answer, maxOpen: 2 })
    try {
      for (let i = 0; i < 30; i++) assert.equal((await request({ port: edge.port, path: '/create' })).status, i % 3 === 2 ? 409 : 201)
      assert.deepEqual(edge.faults, [])
    } finally {
      await edge.stop()
    }
  })
})

describe('ext_proc, and an upstream whose body ends with trailers', function () {
  this.timeout(30_000)
  let upstream: Http2Server
  let edge: ProcessedEdge | undefined
  before(async () => {
    upstream = createServer()
    upstream.on('stream', (stream: ServerHttp2Stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      stream.end(Buffer.from([0, 0, 0, 0, 2, 8, 1]))
    })
    await new Promise<void>((done) => upstream.listen(0, '127.0.0.1', done))
  })
  after(() => upstream?.close())
  afterEach(() => edge?.stop())

  const call = async (onBody: ResponseStep, filter = {}) => {
    const bodies: string[] = []
    const response: ResponseFollower = {
      headers: () => ({ kind: 'body' }),
      body: (body) => {
        bodies.push(body.toString('hex'))
        return onBody
      },
      lost: (why) => void bodies.push(why),
    }
    edge = await startProcessedEdge({
      processor: { request: () => ({ kind: 'follow', remove: [], body: true, response }) },
      http2Port: (upstream.address() as AddressInfo).port,
      filter,
    })
    const headers = { 'content-type': 'application/grpc', te: 'trailers' }
    const got = await requestHttp2({ port: edge.port, path: '/a.B/C', method: 'POST', headers, body: Buffer.alloc(5) })
    return { got, bodies, faults: edge.faults }
  }

  it('sees the body, and lets the trailers go on', async () => {
    const { got, bodies } = await call({ kind: 'pass' })
    assert.deepEqual([got.status, got.body, got.trailers['grpc-status'], bodies], [200, '\0\0\0\0\x02\b\x01', '0', ['00000000020801']])
  })

  it('replaces it', async () => {
    const { got } = await call({ kind: 'replace', body: Buffer.from('x'), set: [], remove: [] })
    assert.deepEqual([got.body, got.trailers['grpc-status']], ['x', '0'])
  })

  it('answers in its place', async () => {
    const { got } = await call(conflict)
    assert.deepEqual([got.headers['grpc-status'], got.headers['grpc-message']], ['2', '{"reason":"takeover"}'])
  })

  it('lets nothing else of it pass where Envoy sends trailers, which nobody asked for', async () => {
    const processing_mode = { response_header_mode: 'SEND', response_body_mode: 'BUFFERED', response_trailer_mode: 'SEND' }
    const { got } = await call(conflict, { processing_mode, allow_mode_override: false, allowed_override_modes: [] })
    assert.deepEqual([got.headers['grpc-status'], got.body], ['2', ''])
  })
})
