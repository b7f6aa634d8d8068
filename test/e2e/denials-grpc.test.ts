import assert from 'node:assert/strict'
import { create, createFileRegistry } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect'
import { createGrpcWebTransport } from '@connectrpc/connect-web'
import { credentials, Metadata, makeGenericClientConstructor, type ServiceError, status } from '@grpc/grpc-js'
import { handMadeToken } from '../support/oidc.ts'
import { type ClientResponse, requestHttp2 } from '../support/request.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { type ClientsEdge, startClientsEdge } from './denials-edge.ts'

// Nobody listens at port 1: the keys of that issuer cannot be had.
const gone = 'http://127.0.0.1:1'
const policy = `version: 1
listen: { check: { address: "@check@" }, admin: { address: "@admin@" } }
state: "memory:"
identity:
  - { name: users, type: oidc, issuer: "@users@", audience: [edge] }
  - { name: gone, type: oidc, issuer: "${gone}", audience: [edge], jwks: { timeout: 500ms } }
roles: { invoke: {} }
routes:
  - { id: say, methods: [POST], path: /test.Echo/Say }
  - { id: shout, methods: [POST], path: /test.Echo/Shout, roles: [invoke] }
`

/** The service test.Echo, as its .proto would describe it. */
const echo = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    ...{ name: 'echo.proto', package: 'test', syntax: 'proto3' },
    messageType: [{ name: 'Words' }],
    service: [{ name: 'Echo', method: ['Say', 'Shout'].map((name) => ({ name, inputType: '.test.Words', outputType: '.test.Words' })) }],
  }),
  () => undefined,
).getService('test.Echo')!

/** What is asked, and what every client must see: status, HTTP status, reason. */
const denials: Record<
  string,
  readonly [method: 'say' | 'shout', authorization: 'none' | 'good' | 'gone', code: Code, http: number, reason: string]
> = {
  'no credential': ['say', 'none', Code.Unauthenticated, 401, 'no_credential'],
  'a missing role': ['shout', 'good', Code.PermissionDenied, 403, 'missing_role'],
  'keys that cannot be had': ['say', 'gone', Code.Unavailable, 503, 'identity_unavailable'],
}

describe('denials of gRPC and gRPC-Web, through Envoy', function () {
  this.timeout(30_000)
  let upstream: Upstream
  let edge: ClientsEdge

  before(async () => {
    upstream = await startUpstream('upstream')
    edge = await startClientsEdge(policy, upstream.port)
  })
  after(async () => {
    await edge?.stop()
    await upstream?.stop()
  })

  async function headersFor(authorization: 'none' | 'good' | 'gone'): Promise<Record<string, string>> {
    if (authorization === 'none') return {}
    const exp = Math.floor(Date.now() / 1000) + 300
    const claims = { iss: gone, sub: 'alice', aud: 'edge', exp }
    const token =
      authorization === 'good'
        ? await edge.users.mint({ sub: 'alice', aud: 'edge' })
        : handMadeToken({ alg: 'RS256', kid: 'k' }, claims, new Uint8Array(256))
    return { authorization: `Bearer ${token}` }
  }

  async function refused(port: number, method: 'say' | 'shout', headers: Record<string, string>): Promise<ConnectError> {
    const transport = createGrpcWebTransport({ baseUrl: `http://127.0.0.1:${port}` })
    const client = createClient(echo, transport) as Client<typeof echo> &
      Record<'say' | 'shout', (words: object, options: object) => Promise<unknown>>
    try {
      await client[method]({}, { headers })
    } catch (fault) {
      assert.ok(fault instanceof ConnectError, String(fault))
      return fault
    }
    throw new Error('the call was allowed')
  }

  const webCall = (port: number, type: string, body: Buffer | string): Promise<ClientResponse> =>
    requestHttp2({ port, method: 'POST', path: '/test.Echo/Say', headers: { 'content-type': type, 'x-grpc-web': '1' }, body })

  for (const [name, [method, authorization, code, http, reason]] of Object.entries(denials)) {
    it(`${name}: a grpc-js client`, async () => {
      const Stub = makeGenericClientConstructor({}, 'test.Echo')
      const client = new Stub(`127.0.0.1:${edge.port}`, credentials.createInsecure())
      const metadata = new Metadata()
      for (const [key, value] of Object.entries(await headersFor(authorization))) metadata.set(key, value)
      const same = (bytes: Buffer) => bytes
      const path = method === 'say' ? '/test.Echo/Say' : '/test.Echo/Shout'
      const fault = await new Promise<ServiceError | null>((done) => {
        client.makeUnaryRequest(path, same, same, Buffer.alloc(0), metadata, (error: ServiceError | null) => done(error))
      })
      client.close()
      // The numbers of both clients are those of google.rpc.Code.
      assert.equal(fault?.code, code as number)
      assert.ok(status[code])
      assert.match(fault.details, new RegExp(`^[A-Z].* \\(${reason}, decision [0-9a-f-]{36}\\)$`))
      const decision = fault.metadata.get('x-postern-decision')[0]
      assert.ok(fault.details.includes(String(decision)))
      if (http === 401) assert.match(String(fault.metadata.get('www-authenticate')[0]), /^Bearer realm=/)
    })

    for (const filter of [false, true]) {
      it(`${name}: a gRPC-Web client ${filter ? 'behind' : 'without'} Envoy’s filter for it`, async () => {
        const fault = await refused(filter ? edge.webPort : edge.port, method, await headersFor(authorization))
        assert.equal(fault.code, code)
        assert.match(fault.rawMessage, new RegExp(`\\(${reason}, decision [0-9a-f-]{36}\\)$`))
        assert.ok(fault.rawMessage.includes(fault.metadata.get('x-postern-decision')!))
        if (http === 401) assert.match(fault.metadata.get('www-authenticate') ?? '', /^Bearer realm=/)
      })
    }
  }

  it('a gRPC-Web denial says its status in headers, and has no body that a client could take for frames', async () => {
    for (const [type, body] of [
      ['application/grpc-web', Buffer.alloc(5)],
      ['application/grpc-web+proto', Buffer.alloc(5)],
      ['application/grpc-web-text', Buffer.alloc(5).toString('base64')],
    ] as const) {
      for (const port of [edge.port, edge.webPort]) {
        const { status: http, headers, body: answered, trailers } = await webCall(port, type, body)
        assert.deepEqual([http, headers['grpc-status'], answered, trailers], [401, '16', '', {}], type)
        assert.match(headers['grpc-message'] ?? '', /^A credential is required \(no_credential, decision /)
        assert.match(headers['content-type'] ?? 'application/grpc-web', /^application\/grpc/)
      }
    }
  })

  it('a gRPC denial is "Trailers-Only": 200, and everything in one head', async () => {
    const headers = { 'content-type': 'application/grpc+proto', te: 'trailers' }
    const answer = await requestHttp2({ port: edge.port, method: 'POST', path: '/test.Echo/Say', headers, body: Buffer.alloc(5) })
    assert.deepEqual(
      [answer.status, answer.headers['grpc-status'], answer.headers['content-type'], answer.body],
      [200, '16', 'application/grpc', ''],
    )
  })
})
