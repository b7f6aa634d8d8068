import assert from 'node:assert/strict'
import { chmodSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { AccessRefused, kubeconfigAccess, serviceAccountAccess } from '../../src/adapters/kubernetes-access.ts'
import { type KubernetesClient, openKubernetesClient } from '../../src/adapters/kubernetes-client.ts'
import { isGone, KubernetesFailure } from '../../src/adapters/kubernetes-failure.ts'
import { kubernetesLease, type Lease } from '../../src/adapters/kubernetes-lease.ts'
import { createLines } from '../../src/adapters/kubernetes-lines.ts'
import { versionOf } from '../../src/adapters/kubernetes-object.ts'
import { kubernetesReader, type WatchEvent } from '../../src/adapters/kubernetes-reader.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { testCertificates } from '../support/certificates.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const never = new AbortController().signal

describe('the way to an API server', () => {
  let folder: TemporaryFolder
  beforeEach(() => {
    folder = temporaryFolder()
  })
  afterEach(() => folder.remove())
  const write = (name: string, text: string): string => {
    writeFileSync(folder.file(name), text, { mode: 0o600 })
    return folder.file(name)
  }
  const config = (cluster: object, user: object, more: object = {}): string =>
    write(
      'config',
      JSON.stringify({
        'current-context': 'a',
        contexts: [
          { name: 'a', context: { cluster: 'c', user: 'u', namespace: 'demo' } },
          { name: 'b', context: { cluster: 'other', user: 'u' } },
        ],
        clusters: [
          { name: 'c', cluster: { server: 'https://api.example:6443/', ...cluster } },
          { name: 'other', cluster: { server: 'http://127.0.0.1:8001/k8s' } },
        ],
        users: [{ name: 'u', user }],
        ...more,
      }),
    )

  it('is read from a kubeconfig: files beside it, data in it', () => {
    const { caPem } = testCertificates(folder.path)
    write('ca.pem', caPem)
    write('token', ' from-file\n')
    const data = (text: string) => Buffer.from(text).toString('base64')
    const file = config(
      { 'certificate-authority': 'ca.pem', 'tls-server-name': 'kubernetes' },
      { tokenFile: 'token', token: 'inline', 'client-certificate-data': data('CERT'), 'client-key-data': data('KEY') },
    )
    const { url, ca, serverName, token, certificate, namespace } = kubeconfigAccess(file, undefined)
    assert.deepEqual(
      [url, ca?.(), serverName, token?.(), certificate?.(), namespace],
      ['https://api.example:6443', caPem, 'kubernetes', 'from-file', { cert: 'CERT', key: 'KEY' }, 'demo'],
    )
    assert.equal(kubeconfigAccess(file, 'b').url, 'http://127.0.0.1:8001/k8s')
  })

  it('takes client certificates from files as pairs, with keys that only their owner reads', () => {
    const certificates = testCertificates(folder.path)
    const [one, other] = [
      certificates.workload('one', 'spiffe://td/ns/a/sa/one'),
      certificates.workload('other', 'spiffe://td/ns/a/sa/other'),
    ]
    const user = (key: string) => config({}, { 'client-certificate': one.cert, 'client-key': key })
    assert.deepEqual(kubeconfigAccess(user(one.key), undefined).certificate?.(), { cert: one.certPem, key: one.keyPem })
    assert.throws(() => kubeconfigAccess(user(other.key), undefined), /are no PEM pair/)
    chmodSync(one.key, 0o644)
    assert.throws(() => kubeconfigAccess(user(one.key), undefined), /is open to others/)
  })

  it('is that of the service account inside a cluster', () => {
    write('token', 'abc\n')
    const { caPem } = testCertificates(folder.path, 'authority')
    write('ca.crt', caPem)
    write('namespace', 'postern\n')
    const access = serviceAccountAccess({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' }, folder.path)
    assert.deepEqual([access.url, access.token?.(), access.ca?.(), access.namespace], ['https://[fd00::1]:443', 'abc', caPem, 'postern'])
  })

  const refused: [what: string, cluster: object, user: object, more: object, says: RegExp][] = [
    ['no TLS off loopback', { server: 'http://api.example' }, {}, {}, /expected an https URL/],
    ['certificates that are not checked', { 'insecure-skip-tls-verify': true }, {}, {}, /expected certificate-authority/],
    ['a proxy', { 'proxy-url': 'http://p' }, {}, {}, /proxy-url/],
    ['a program that makes tokens', {}, { exec: { command: 'aws' } }, {}, /exec is not supported: expected token/],
    ['a certificate without its key', {}, { 'client-certificate-data': 'eA==' }, {}, /found one of them/],
    ['a file that is not there', { 'certificate-authority': 'nowhere.pem' }, {}, {}, /nowhere\.pem cannot be read \(ENOENT\)/],
    ['a context that is not there', {}, {}, { 'current-context': 'x' }, /no "x" among contexts/],
    ['no context', {}, {}, { 'current-context': '' }, /--context/],
  ]
  for (const [what, cluster, user, more, says] of refused)
    it(`refuses ${what}`, () =>
      assert.throws(
        () => kubeconfigAccess(config(cluster, user, more), undefined),
        (cause) => cause instanceof AccessRefused && says.test(cause.message),
      ))

  it('refuses to guess where there is no cluster', () => assert.throws(() => serviceAccountAccess({}, folder.path), /--kubeconfig/))
})

describe('lines of a stream', () => {
  it('are put together from pieces', () => {
    const lines = createLines(100)
    const bytes = Buffer.from('{"a":"ü"}\n\n{"b":1}\n{"c"')
    const taken: string[] = []
    for (const byte of bytes) taken.push(...(lines.take(Uint8Array.of(byte)) ?? assert.fail()))
    assert.deepEqual(taken, ['{"a":"ü"}', '{"b":1}'])
    assert.deepEqual(lines.take(Buffer.from(':2}\nx\n')), ['{"c":2}', 'x'])
  })
  it('are bounded', () => {
    const lines = createLines(10)
    assert.deepEqual(lines.take(Buffer.from('0123456789\n')), ['0123456789'])
    assert.deepEqual(lines.take(Buffer.from('01234')), [])
    assert.equal(lines.take(Buffer.from('567890')), undefined)
  })
})

describe('a client of the API', () => {
  let server: Server
  let client: KubernetesClient
  let handle: RequestListener
  beforeEach(async () => {
    server = createServer((request, response) => handle(request, response))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const access = {
      url,
      ca: undefined,
      serverName: undefined,
      token: () => 's3cret',
      certificate: undefined,
      namespace: undefined,
      from: '',
    }
    client = openKubernetesClient({ access, userAgent: 'test', mostBytes: 1000, mostLine: 500 })
  })
  afterEach(() => {
    client.close()
    server.closeAllConnections()
    server.close()
  })
  const fails = async (work: Promise<unknown>): Promise<KubernetesFailure> => {
    const cause = await work.then(
      () => assert.fail('it succeeded'),
      (thrown: KubernetesFailure) => thrown,
    )
    assert.equal(cause.name, 'KubernetesFailure', String(cause))
    assert.doesNotMatch(cause.message, /s3cret/)
    return cause
  }
  const events = async (reader = readerOf()): Promise<WatchEvent[]> => {
    const all: WatchEvent[] = []
    for await (const some of reader.watch('1', never)) all.push(...some)
    return all
  }
  const readerOf = (watchSeconds = 60) =>
    kubernetesReader({
      client,
      resource: { group: '', version: 'v1', plural: 'pods' },
      namespace: 'a',
      selector: undefined,
      whole: false,
      pageSize: 8,
      watchSeconds,
    })
  const event = (type: string, metadata: JsonObject = { uid: 'u', name: 'n', resourceVersion: '2' }) =>
    `${JSON.stringify({ type, object: { metadata } })}\n`

  it('shows its token, and gives what is answered', async () => {
    let shown: string | undefined
    handle = (request, response) => {
      shown = request.headers.authorization
      response.end('{"kind":"Pod"}')
    }
    assert.deepEqual(await client.call({ path: '/api' }), { kind: 'Pod' })
    assert.equal(shown, 'Bearer s3cret')
  })

  const answers: [what: string, handle: RequestListener, is: (cause: KubernetesFailure) => boolean][] = [
    [
      'a Status',
      (_, response) => response.writeHead(409).end('{"kind":"Status","reason":"Conflict","message":"no"}'),
      ({ status, reason }) => status === 409 && reason === 'Conflict',
    ],
    ['what is no JSON', (_, response) => response.end('<html>'), ({ fault }) => fault === 'malformed'],
    ['too much', (_, response) => response.end('x'.repeat(2000)), ({ fault }) => fault === 'too_large'],
    [
      'half',
      (_, response) => {
        response.writeHead(200, { 'content-length': '50' }).write('{')
        setTimeout(() => response.destroy(), 20)
      },
      ({ fault }) => fault === 'network',
    ],
    [
      'that it has to wait',
      (_, response) => response.writeHead(429, { 'retry-after': '7' }).end(),
      ({ retryAfterMs }) => retryAfterMs === 7000,
    ],
    ['a redirect', (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(), ({ status }) => status === 302],
    ['nothing', () => {}, ({ fault }) => fault === 'timeout'],
  ]
  for (const [what, answer, is] of answers)
    it(`fails where it is answered ${what}`, async () => {
      handle = answer
      const cause = await fails(client.call({ path: '/api', timeoutMs: 300 }))
      assert.ok(is(cause), `${cause.fault} ${cause.status} ${cause.message}`)
    })

  it('watches: events in order, without the half one at the end', async () => {
    handle = (_, response) => {
      response.write(event('ADDED') + event('MODIFIED') + event('DELETED').slice(0, 20))
      setTimeout(
        () =>
          response.end(
            `${event('DELETED').slice(20) + event('BOOKMARK', { resourceVersion: '9' }) + event('ADDED', { name: 'x' })}{"type":"ADD`,
          ),
        20,
      )
    }
    assert.deepEqual(
      (await events()).map((one) => (one.kind === 'bookmark' ? one.version : one.kind)),
      ['set', 'set', 'gone', '9', 'unreadable'],
    )
  })

  it('is told by an event that a resourceVersion is not kept any more', async () => {
    handle = (_, response) =>
      response.end('{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n')
    assert.ok(isGone(await fails(events())))
  })

  for (const [what, line, fault] of [
    ['that is no JSON', 'oops\n', 'malformed'],
    ['that is too long', `${'x'.repeat(600)}\n`, 'too_large'],
    ['of a type that there is not', event('RENAMED'), 'malformed'],
  ] as const)
    it(`ends a watch at a line ${what}`, async () => {
      handle = (_, response) => response.end(line)
      assert.equal((await fails(events())).fault, fault)
    })

  it('gives a watch up that has been silent for too long', async () => {
    handle = (_, response) => void response.writeHead(200).flushHeaders()
    const watch = client.watch({ path: '/x', silentMs: 100, signal: never })
    const cause = await fails(
      (async () => {
        for await (const _ of watch);
      })(),
    )
    assert.equal(cause.fault, 'timeout')
  })

  it('ends a watch when it is told to', async () => {
    handle = (_, response) => void response.writeHead(200).flushHeaders()
    const stop = new AbortController()
    setTimeout(() => stop.abort(), 50)
    for await (const some of client.watch({ path: '/x', silentMs: 5000, signal: stop.signal })) assert.deepEqual(some, [])
  })

  it('asks for smaller pages where objects are large', async () => {
    const limits: (string | null)[] = []
    handle = (request, response) => {
      const limit = new URL(request.url ?? '', 'http://x').searchParams.get('limit')
      limits.push(limit)
      const items = Array.from({ length: Number(limit) }, (_, i) => ({
        metadata: { uid: `${i}`, name: 'n', resourceVersion: '1', annotations: { x: 'y'.repeat(400) } },
      }))
      response.end(JSON.stringify({ kind: 'PodList', metadata: { resourceVersion: '5' }, items }))
    }
    let count = 0
    const onPage = async (objects: readonly unknown[]): Promise<void> => {
      count += objects.length
    }
    assert.equal(await readerOf().list(onPage, never), '5')
    assert.deepEqual([limits, count], [['8', '1'], 1])
  })

  it('takes no answer for a list that is none', async () => {
    handle = (_, response) => response.end('{"kind":"Status","status":"Success","metadata":{"resourceVersion":"1"}}')
    assert.equal((await fails(readerOf().list(async () => {}, never))).fault, 'malformed')
  })

  it('shows a certificate over TLS, and admits only the server that is meant', async () => {
    const folder = temporaryFolder()
    const certificates = testCertificates(folder.path)
    const own = certificates.server('api')
    const user = certificates.workload('user', 'spiffe://x/user')
    let seen: string | undefined
    const secure = createTlsServer(
      { cert: own.certPem, key: own.keyPem, ca: certificates.caPem, requestCert: true, rejectUnauthorized: false },
      (request, response) => {
        seen = (request.socket as TLSSocket).getPeerCertificate().subject?.CN as string
        response.end('{}')
      },
    )
    await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve))
    const url = `https://127.0.0.1:${(secure.address() as AddressInfo).port}`
    const access = { url, ca: () => certificates.caPem, serverName: undefined, token: undefined, namespace: undefined, from: '' }
    const known = openKubernetesClient({
      access: { ...access, certificate: () => ({ cert: user.certPem, key: user.keyPem }) },
      userAgent: 'test',
    })
    const unknown = openKubernetesClient({ access: { ...access, ca: undefined, certificate: undefined }, userAgent: 'test' })
    const other = openKubernetesClient({ access: { ...access, serverName: 'other.example', certificate: undefined }, userAgent: 'test' })
    try {
      await known.call({ path: '/' })
      assert.equal(seen, 'user')
      assert.equal((await fails(unknown.call({ path: '/' }))).fault, 'network')
      assert.equal((await fails(other.call({ path: '/' }))).fault, 'network')
    } finally {
      for (const one of [known, unknown, other]) one.close()
      secure.close()
      folder.remove()
    }
  })
})

describe('a lease', () => {
  const times = { durationMs: 1500, deadlineMs: 1000, retryMs: 100 }

  /** One Lease, as the API keeps it: each write needs the resourceVersion of what is there. */
  const openApi = () => {
    let object: JsonObject | undefined
    let version = 0
    let down = false
    const refuse = (status: number): never => {
      throw new KubernetesFailure('status', `answered ${status}`, { status })
    }
    return {
      spec: () => object?.['spec'] as JsonObject,
      down: (is: boolean) => {
        down = is
      },
      call: async ({ method = 'GET', body }: { method?: string; body?: JsonObject }): Promise<JsonObject> => {
        await new Promise((resolve) => setTimeout(resolve, 2))
        if (down) return refuse(503)
        if (method === 'GET') return object ?? refuse(404)
        if (method === 'POST' && object) return refuse(409)
        if (method === 'PUT' && versionOf(body) !== String(version)) return refuse(409)
        object = { ...body, metadata: { resourceVersion: String(++version) } }
        return object
      },
    }
  }
  const leaseOf = (api: ReturnType<typeof openApi>, holder: string): Lease =>
    kubernetesLease({ client: { call: api.call as never }, namespace: 'n', name: 'l', holder, times, onFault: () => {} })

  it('has one holder of many', async () => {
    const api = openApi()
    const stop = new AbortController()
    const terms: string[] = []
    const all = ['a', 'b', 'c', 'd'].map(async (holder) => {
      const term = await leaseOf(api, holder).acquire(stop.signal)
      if (term) terms.push(holder)
      return term
    })
    await until('a holder', () => terms.length > 0)
    await new Promise((resolve) => setTimeout(resolve, 2000))
    assert.equal(terms.length, 1)
    assert.equal(api.spec()['holderIdentity'], terms[0])
    assert.equal(api.spec()['leaseTransitions'], 0)
    stop.abort()
    for (const term of await Promise.all(all)) await term?.release()
    assert.equal(api.spec()['holderIdentity'], '')
  })

  it('is lost by its holder before another can have it', async () => {
    const api = openApi()
    const first = (await leaseOf(api, 'a').acquire(never))!
    const second = leaseOf(api, 'b').acquire(never)
    let tookOver: number | undefined
    void second.then(() => {
      tookOver = performance.now()
    })
    await new Promise((resolve) => setTimeout(resolve, 300))
    api.down(true)
    await until('the first to notice', () => first.signal.aborted, 5000)
    const lost = performance.now()
    assert.equal(first.leads(), false)
    assert.equal(tookOver, undefined)
    api.down(false)
    const term = (await second)!
    assert.ok(term.leads())
    assert.ok(tookOver! > lost)
    assert.equal(api.spec()['leaseTransitions'], 1)
    await first.release()
    assert.equal(api.spec()['holderIdentity'], 'b')
    await term.release()
  })

  it('is free at once when it was given up', async () => {
    const api = openApi()
    await (await leaseOf(api, 'a').acquire(never))!.release()
    const at = performance.now()
    const term = (await leaseOf(api, 'b').acquire(never))!
    assert.ok(performance.now() - at < 1000)
    await term.release()
  })
})
