import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, type ClientDuplexStream, credentials, type ServiceError, status } from '@grpc/grpc-js'
import type { JsonObject } from '../../src/core/json.ts'
import type { ProcessedRequest, Processor, RequestStep, ResponseFollower, ResponseStep } from '../../src/core/processing.ts'
import type { ProcessingRequestMessage, ProcessingResponseMessage } from '../../src/wire/ext-proc-messages.ts'
import { type ProcessorServerOptions, startProcessorServer } from '../../src/wire/ext-proc-server.ts'
import { formatListenAddress, parseListenAddress } from '../../src/wire/listener.ts'
import { processMethod } from '../../src/wire/protos.ts'
import { jsonToStruct } from '../../src/wire/struct.ts'
import type { CheckServer } from '../../src/wire/transport.ts'
import { testCertificates } from '../support/certificates.ts'
import { listenTls } from '../support/listen-tls.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { code, unary } from './transport-rig.ts'

type Call = ClientDuplexStream<ProcessingRequestMessage | Buffer, ProcessingResponseMessage>

const header = (key: string, value: string) => ({ key, raw_value: Buffer.from(value) })
const requestHeaders: ProcessingRequestMessage = {
  request_headers: { headers: { headers: [header(':method', 'POST'), header(':path', '/v1/sandboxes?x=1'), header('cookie', 'a=b')] } },
  metadata_context: {
    filter_metadata: { 'envoy.filters.http.ext_authz': jsonToStruct({ subject: 'alice', roles: ['a'], check_us: 2.5 }) },
  },
}
const responseHeaders = (...more: ReturnType<typeof header>[]): ProcessingRequestMessage => ({
  response_headers: { headers: { headers: [header(':status', '201'), header('content-type', 'application/json'), ...more] } },
})
const responseBody: ProcessingRequestMessage = { response_body: { body: Buffer.from('{"id":"x"}'), end_of_stream: true } }
const checked = (said: JsonObject) => ({ metadata_context: { filter_metadata: { 'envoy.filters.http.ext_authz': jsonToStruct(said) } } })
const unreadable = {
  metadata_context: { filter_metadata: { 'envoy.filters.http.ext_authz': { fields: { a: { number_value: Number.NaN } } } } },
}
const mode = (response: number, body: number) => ({
  request_header_mode: 0,
  response_header_mode: response,
  request_body_mode: 0,
  response_body_mode: body,
  request_trailer_mode: 2,
  response_trailer_mode: 2,
})
const conflict = { status: 409, headers: [['content-type', 'application/problem+json']], body: '{}', details: 'postern_takeover' } as const

describe('the ext_proc server', () => {
  const faults: string[] = []
  const told: unknown[] = []
  let onRequest: (request: ProcessedRequest) => RequestStep | Promise<RequestStep>
  let onHeaders: ResponseFollower['headers']
  let onBody: ResponseFollower['body']
  let server: CheckServer | undefined
  let client: Client | undefined

  const follower: ResponseFollower = {
    headers: (...headers) => {
      told.push(['headers', headers[0], headers[2]])
      return onHeaders(...headers)
    },
    body: (body) => {
      told.push(['body', body.toString()])
      return onBody(body)
    },
    lost: (why) => void told.push(['lost', why]),
  }
  const follow: RequestStep = { kind: 'follow', remove: ['accept-encoding'], body: true, response: follower }
  const processor: Processor = { request: (request) => onRequest(request) }

  const start = async (more: Partial<ProcessorServerOptions> = {}): Promise<Client> => {
    const listener = { address: parseListenAddress('127.0.0.1:0'), tls: { mode: 'none' } } as const
    server = await startProcessorServer({ listener, processor, maxBody: 1024, onFault: (detail) => faults.push(detail), ...more })
    server.serving(true)
    client = new Client(formatListenAddress(server.address), credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })
    return client
  }
  /** A stream to which messages are said one after the other, each with its answer. */
  const stream = (to: Client) => {
    const { path, requestSerialize, responseDeserialize } = processMethod()
    const serialize = (message: ProcessingRequestMessage | Buffer) => (Buffer.isBuffer(message) ? message : requestSerialize(message))
    const call: Call = to.makeBidiStreamRequest(path, serialize, responseDeserialize)
    const answers: ProcessingResponseMessage[] = []
    let ended: ServiceError | 'ok' | undefined
    call.on('data', (answer: ProcessingResponseMessage) => answers.push(answer))
    call.on('end', () => {
      ended ??= 'ok'
    })
    call.on('error', (error: ServiceError) => {
      ended = error
    })
    return {
      call,
      say: (message: ProcessingRequestMessage | Buffer) => {
        const before = answers.length
        call.write(message)
        return until('an answer', () => answers[before])
      },
      end: () => until('the end of the stream', () => ended),
    }
  }
  const immediate = (answer: ProcessingResponseMessage): number | undefined => answer.immediate_response?.status.code
  const settled = async (): Promise<unknown[]> => {
    await sleep(50)
    return told
  }

  beforeEach(() => {
    onRequest = () => follow
    onHeaders = () => ({ kind: 'body' })
    onBody = () => ({ kind: 'pass' })
  })
  afterEach(async () => {
    client?.close()
    await server?.close(100)
    told.length = 0
    faults.length = 0
  })

  it('hands on what ext_authz said, and tells Envoy to skip the rest where nothing is wanted', async () => {
    let seen: ProcessedRequest | undefined
    onRequest = (request) => {
      seen = request
      return { kind: 'skip' }
    }
    const { say, end } = stream(await start())
    const answer = await say(requestHeaders)
    assert.deepEqual(seen, {
      metadata: { subject: 'alice', roles: ['a'], check_us: 2.5 },
      method: 'POST',
      path: '/v1/sandboxes?x=1',
    })
    assert.deepEqual(answer.request_headers?.response, {})
    assert.deepEqual(answer.mode_override, mode(2, 0))
    assert.equal(await end(), 'ok')
  })

  it('knows nothing of a request whose metadata Envoy does not hand on', async () => {
    let seen: ProcessedRequest | undefined
    onRequest = (request) => {
      seen = request
      return { kind: 'skip' }
    }
    const { say } = stream(await start())
    await say({
      ...requestHeaders,
      metadata_context: { filter_metadata: { 'envoy.filters.http.other': jsonToStruct({ subject: 'bob' }) } },
    })
    assert.equal(seen?.metadata, undefined)
  })

  it('follows a response to its body', async () => {
    const { say, end } = stream(await start())
    const first = await say(requestHeaders)
    assert.deepEqual(first.request_headers?.response.header_mutation?.remove_headers, ['accept-encoding'])
    assert.deepEqual(first.mode_override, mode(1, 2))
    assert.equal((await say(responseHeaders())).mode_override?.response_body_mode, 2)
    const last = await say(responseBody)
    assert.deepEqual(last, { response_body: { response: {} } })
    assert.equal(await end(), 'ok')
    assert.deepEqual(await settled(), [
      ['headers', 201, false],
      ['body', '{"id":"x"}'],
    ])
  })

  it('gives headers by lower-case name, values in order, whichever field they are in', async () => {
    let seen: ReadonlyMap<string, readonly string[]> = new Map()
    onHeaders = (_status, headers) => {
      seen = headers
      return { kind: 'pass' }
    }
    const { say } = stream(await start())
    await say(requestHeaders)
    await say(responseHeaders({ key: 'X-A', value: '1' } as never, header('x-a', '2'), header('location', 'caf\u00e9')))
    assert.deepEqual(
      [...seen],
      [
        ['content-type', ['application/json']],
        ['x-a', ['1', '2']],
        ['location', [Buffer.from('café').toString('latin1')]],
      ],
    )
  })

  it('replaces a body, with its length', async () => {
    onBody = () => ({ kind: 'replace', body: Buffer.from('[]'), set: [['content-type', 'application/json']], remove: ['etag'] })
    const { say } = stream(await start())
    await say(requestHeaders)
    await say(responseHeaders())
    const { response_body: answer } = await say(responseBody)
    const mutation = answer?.response.header_mutation
    assert.deepEqual(
      mutation?.set_headers.map(({ header, append, append_action }) => [
        header.key,
        header.raw_value.toString(),
        append.value ?? false,
        append_action,
      ]),
      [
        ['content-type', 'application/json', false, 2],
        ['content-length', '2', false, 2],
      ],
    )
    assert.deepEqual(mutation?.remove_headers, ['etag'])
    assert.deepEqual(answer?.response.body_mutation, { body: Buffer.from('[]') })
  })

  const places: Record<string, () => void> = {
    request: () => {
      onRequest = () => ({ kind: 'answer', answer: conflict })
    },
    headers: () => {
      onHeaders = () => ({ kind: 'answer', answer: conflict })
    },
    body: () => {
      onBody = () => ({ kind: 'answer', answer: conflict })
    },
  }
  for (const [place, prepare] of Object.entries(places)) {
    it(`answers in place of the upstream at the ${place}`, async () => {
      prepare()
      const { say, end } = stream(await start())
      let answer = await say(requestHeaders)
      if (place !== 'request') answer = await say(responseHeaders())
      if (place === 'body') answer = await say(responseBody)
      const { status, body, details, headers } = answer.immediate_response ?? {}
      assert.deepEqual([status?.code, body?.toString(), details], [409, '{}', 'postern_takeover'])
      assert.equal(headers?.set_headers[0]?.header.raw_value.toString(), 'application/problem+json')
      assert.equal(await end(), 'ok')
      assert.equal(
        (await settled()).some((each) => (each as string[])[0] === 'lost'),
        false,
      )
    })
  }

  // Each: messages before, the one that is wrong, and how the processor learns of the end.
  const wrong: Record<string, readonly [before: readonly ProcessingRequestMessage[], message: ProcessingRequestMessage, lost: number]> = {
    'the response to a request that was let on, and that never came': [[], { ...responseHeaders(), ...checked({ decision: 'allow' }) }, 0],
    'the same in a dry run': [[], { ...responseHeaders(), ...checked({ decision: 'deny', enforced: false }) }, 0],
    'a response before its request, where the check said what cannot be read': [[], { ...responseHeaders(), ...unreadable }, 0],
    'a request body': [[], { request_body: { body: Buffer.from('x') } }, 0],
    'request trailers': [[requestHeaders], { request_trailers: {} }, 1],
    'the request’s headers twice': [[requestHeaders], requestHeaders, 1],
    'a response body before its headers': [[requestHeaders], responseBody, 1],
    'the response’s headers twice': [[requestHeaders, responseHeaders()], responseHeaders(), 1],
    'response trailers': [[requestHeaders, responseHeaders()], { response_trailers: {} }, 1],
    'two messages in one': [[requestHeaders], { ...responseHeaders(), ...responseBody }, 1],
    'a message about nothing': [[requestHeaders], {}, 1],
    'a response without status': [[requestHeaders], { response_headers: { headers: { headers: [header('a', 'b')] } } }, 1],
    'two statuses': [[requestHeaders], responseHeaders(header(':status', '200')), 1],
    'a status that is none': [[requestHeaders], { response_headers: { headers: { headers: [header(':status', '2xx')] } } }, 1],
    'a header said in two ways': [[requestHeaders], responseHeaders({ key: 'a', value: 'b', raw_value: Buffer.from('c') } as never), 1],
    'observability_mode, where no answer is heeded': [[], { ...requestHeaders, observability_mode: true }, 0],
    'metadata that is no JSON': [
      [],
      {
        ...requestHeaders,
        ...unreadable,
      },
      0,
    ],
  }
  for (const [name, [before, message, lost]] of Object.entries(wrong)) {
    it(`fails closed on ${name}`, async () => {
      const { say, end } = stream(await start())
      for (const each of before) await say(each)
      assert.equal(immediate(await say(message)), 500)
      assert.equal(await end(), 'ok')
      assert.equal(faults.length, 1)
      assert.equal((await settled()).filter((each) => (each as string[])[0] === 'lost').length, lost)
    })
  }

  it('lets the answer of a filter before it go on: a denial of our own, and one without a check', async () => {
    const to = await start()
    for (const said of [checked({ decision: 'deny', enforced: true }), {}]) {
      const { say, end } = stream(to)
      assert.deepEqual((await say({ ...responseHeaders(), ...said })).mode_override, mode(2, 0))
      assert.equal(await end(), 'ok')
    }
    assert.deepEqual([told, faults], [[], []])
  })

  it('fails closed on what cannot be decoded', async () => {
    const { say } = stream(await start())
    await say(requestHeaders)
    assert.equal(immediate(await say(Buffer.from([0xff, 0xff, 0xff]))), 500)
    assert.deepEqual(
      (await settled()).map((each) => (each as string[])[0]),
      ['lost'],
    )
  })

  it('ends a stream with a message over the limit, and the processor learns of it', async () => {
    const { say, call, end } = stream(await start())
    await say(requestHeaders)
    await say(responseHeaders())
    call.write({ response_body: { body: Buffer.alloc(5 * 1024 * 1024) } })
    const error = await end()
    assert(error !== 'ok')
    assert.equal(error.code, status.RESOURCE_EXHAUSTED)
    await until('lost', () => told.some((each) => (each as string[])[0] === 'lost'))
  })

  it('answers 500 where the processor throws or rejects', async () => {
    const to = await start()
    onRequest = () => {
      throw new Error('a defect')
    }
    assert.equal(immediate(await stream(to).say(requestHeaders)), 500)
    onRequest = () => Promise.reject(new Error('a defect'))
    assert.equal(immediate(await stream(to).say(requestHeaders)), 500)
    onRequest = () => follow
    onHeaders = () => Promise.reject(new Error('a defect'))
    const third = stream(to)
    await third.say(requestHeaders)
    assert.equal(immediate(await third.say(responseHeaders())), 500)
    assert.deepEqual(await settled(), [
      ['headers', 201, false],
      ['lost', 'the processor failed on a response'],
    ])
  })

  it('fails closed where what the processor decided cannot be written', async () => {
    const to = await start()
    const broken = (over: object) => ({ kind: 'answer', answer: { ...conflict, ...over } }) as RequestStep
    onRequest = () => broken({ body: undefined })
    assert.equal(immediate(await stream(to).say(requestHeaders)), 500)
    onRequest = () => follow
    onHeaders = () => broken({ body: undefined }) as never
    const second = stream(to)
    await second.say(requestHeaders)
    assert.equal(immediate(await second.say(responseHeaders())), 500)
    const unprintable = {
      toString: () => {
        throw new Error('a defect')
      },
    }
    onRequest = () => broken({ details: unprintable })
    const { call, end } = stream(to)
    call.write(requestHeaders)
    const error = await end()
    assert(error !== 'ok')
    assert.equal(error.code, status.INTERNAL)
    assert.equal(faults.length, 3)
  })

  describe('a processor that takes longer than it may', () => {
    const soon = <T>(value: T): Promise<T> => sleep(150, value)
    const budgetMs = 50

    it('is answered for with 503 at the request, and what would have been followed is lost', async () => {
      onRequest = () => soon(follow)
      const { say, end } = stream(await start({ budgetMs }))
      assert.equal(immediate(await say(requestHeaders)), 503)
      assert.equal(await end(), 'ok')
      assert.equal(told.length, 0)
      await until('lost', () => told.length === 1)
    })

    it('is answered for with 503 at the response, and its own end counts', async () => {
      for (const step of [{ kind: 'pass' }, { kind: 'body' }] satisfies ResponseStep[]) {
        told.length = 0
        onHeaders = () => soon(step)
        const { say } = stream(await start({ budgetMs }))
        await say(requestHeaders)
        assert.equal(immediate(await say(responseHeaders())), 503)
        await sleep(200)
        assert.equal(told.length, step.kind === 'body' ? 2 : 1, step.kind)
        client?.close()
        await server?.close(100)
      }
    })
  })

  it('tells the processor once that Envoy has gone, however it went', async () => {
    const to = await start()
    for (const go of [(call: Call) => call.cancel(), (call: Call) => call.end()]) {
      told.length = 0
      const { say, call } = stream(to)
      await say(requestHeaders)
      await say(responseHeaders())
      go(call)
      await until('lost', () => told.length > 1)
      assert.deepEqual(
        (await settled()).map((each) => (each as string[])[0]),
        ['headers', 'lost'],
      )
    }
  })

  it('tells it nothing where Envoy goes after the end', async () => {
    onHeaders = () => ({ kind: 'pass' })
    const { say, call } = stream(await start())
    await say(requestHeaders)
    await say(responseHeaders())
    call.cancel()
    assert.deepEqual(await settled(), [['headers', 201, false]])
  })

  it('answers 503 to more streams than it may have open, and counts those that ended', async () => {
    const to = await start({ maxOpen: 2 })
    const open = [stream(to), stream(to)]
    // grpc-js holds back what is over the limit of one connection, so the third comes by another one.
    const other = new Client(formatListenAddress(server!.address), credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })
    try {
      for (const { say } of open) await say(requestHeaders)
      assert.equal(immediate(await stream(other).say(requestHeaders)), 503)
      open[0]?.call.cancel()
      await until('a free place', () => told.length > 0)
      assert.equal(immediate(await stream(other).say(requestHeaders)), undefined)
    } finally {
      other.close()
    }
  })

  it('says SERVING to a health check, until it closes; a stream that is open may end', async () => {
    const to = await start()
    const health = () => unary(to, '/grpc.health.v1.Health/Check', Buffer.alloc(0))
    assert.deepEqual(await health(), Buffer.from([8, 1]))
    const { say, end } = stream(to)
    await say(requestHeaders)
    const closed = server?.close(2000)
    onHeaders = () => ({ kind: 'pass' })
    await say(responseHeaders())
    assert.equal(await end(), 'ok')
    await closed
  })

  it('serves those on its list alone, by their certificates', async () => {
    const folder = temporaryFolder()
    try {
      const certificates = testCertificates(folder.path)
      const pair = certificates.server('server')
      const listener = {
        address: parseListenAddress('127.0.0.1:0'),
        tls: listenTls({
          mode: 'mtls',
          cert: pair.cert,
          key: pair.key,
          ca: certificates.ca,
          allow: ['spiffe://cluster.local/ns/edge/sa/envoy'],
        }),
      } as const
      await start({ listener })
      const as = (name: string): Client => {
        const { keyPem, certPem } = certificates.workload(name, `spiffe://cluster.local/ns/edge/sa/${name}`)
        return new Client(
          formatListenAddress(server!.address),
          credentials.createSsl(Buffer.from(certificates.caPem), Buffer.from(keyPem), Buffer.from(certPem)),
          { 'grpc.ssl_target_name_override': 'localhost', 'grpc.use_local_subchannel_pool': 1 },
        )
      }
      const [envoy, other] = [as('envoy'), as('other')]
      assert.equal(immediate(await stream(envoy).say(requestHeaders)), undefined)
      const refused = stream(other)
      refused.call.write(requestHeaders)
      const error = await refused.end()
      assert(error !== 'ok')
      assert.equal(error.code, status.PERMISSION_DENIED)
      assert.match(faults.join(), /sa\/other is not on the list of listen\.ext_proc\.tls\.allow/)
      for (const each of [envoy, other]) each.close()
    } finally {
      folder.remove()
    }
  })

  it('serves nothing else', async () => {
    const to = await start()
    assert.equal(code(await unary(to, '/envoy.service.auth.v3.Authorization/Check', Buffer.alloc(0))), status.UNIMPLEMENTED)
  })

  it('refuses an address that other machines can reach', async () => {
    await assert.rejects(
      startProcessorServer({
        listener: { address: parseListenAddress('0.0.0.0:0'), tls: { mode: 'none' } },
        processor,
        maxBody: 1,
        onFault: () => {},
      }),
      /listen\.ext_proc 0\.0\.0\.0:0: whoever reaches this port/,
    )
  })
})
