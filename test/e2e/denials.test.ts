import assert from 'node:assert/strict'
import { connect } from 'node:net'
import type { DenyReason } from '../../src/core/reasons.ts'
import { rawRequest } from '../support/raw.ts'
import { type ClientRequest, request } from '../support/request.ts'
import { until } from '../support/until.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { type ClientsEdge, startClientsEdge } from './denials-edge.ts'

const policy = `version: 1
listen:
  check: { address: "@check@" }
  admin: { address: "@admin@" }
  issuer: { address: "@issuer@" }
state: "memory:"
denials: { realm: sandboxes, resource_metadata: "http://127.0.0.1:@port@/.well-known/oauth-protected-resource/mcp" }
identity:
  - { name: users, type: oidc, issuer: "@users@", audience: [edge], subject_namespace: "" }
  - { name: agents, type: postern, audience: postern, subject_namespace: "agent:" }
  - { name: mesh, type: mtls, trust_domain: cluster.local, subject_namespace: "mesh:" }
  - { name: registries, type: basic }
roles: { invoke: {} }
routes:
  - { id: metadata, methods: [GET], path: /.well-known/oauth-protected-resource/**, public: true }
  - { id: plain, methods: [GET, POST, HEAD], path: /plain, identity: [users, agents] }
  - { id: scoped, methods: [GET, POST], path: "/scoped/{id}", identity: [users], scopes: { all: ["invoke:sandbox:{id}", "sandbox:read"] } }
  - { id: roles, methods: [GET], path: /roles, identity: [users], roles: [invoke] }
  - { id: proved, methods: [GET], path: /proved, identity: [users], binding: dpop }
  - { id: certified, methods: [GET], path: /certified, identity: [users], binding: mtls }
  - { id: any, methods: [GET], path: /any }
  - { id: registry, methods: [GET, POST], path: /registry/**, identity: [registries, users] }
  - { id: mcp, methods: [GET, POST, DELETE], path: /mcp, identity: [users], scopes: ["tools:call"] }
`

const metadataUrl = (port: number) => `http://127.0.0.1:${port}/.well-known/oauth-protected-resource/mcp`
const algs = 'algs="RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519"'

describe('denials that clients act on, through Envoy', function () {
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

  const ask = (path: string, over: Partial<ClientRequest> = {}) => request({ port: edge.port, path, ...over })
  const token = (claims: object = {}) => edge.users.mint({ sub: 'alice', aud: 'edge', ...claims })
  const bearer = async (claims: object = {}) => ({ authorization: `Bearer ${await token(claims)}` })
  const challengeOf = async (path: string, headers: Record<string, string> = {}) => {
    const { status, headers: answered } = await ask(path, { headers })
    return [status, answered['www-authenticate']]
  }

  describe('challenges', () => {
    const resource = () => `resource_metadata="${metadataUrl(edge.port)}"`

    it('names no error where nothing was presented', async () => {
      assert.deepEqual(await challengeOf('/plain'), [401, `Bearer realm="sandboxes", ${resource()}`])
    })

    it('names invalid_token where a credential is bad, expired, or nobody’s', async () => {
      const past = Math.floor(Date.now() / 1000) - 600
      for (const headers of [
        { authorization: 'Bearer abc' },
        await bearer({ aud: 'other' }),
        await bearer({ exp: past, iat: past - 60 }),
        { authorization: 'nonsense' },
      ])
        assert.deepEqual(await challengeOf('/plain', headers), [401, `Bearer realm="sandboxes", error="invalid_token", ${resource()}`])
    })

    it('names all scopes that a route demands, also before there is a token', async () => {
      const scope = 'scope="invoke:sandbox:s1 sandbox:read"'
      assert.deepEqual(await challengeOf('/scoped/s1'), [401, `Bearer realm="sandboxes", ${scope}, ${resource()}`])
      assert.deepEqual(await challengeOf('/scoped/s1', await bearer({ scope: 'sandbox:read' })), [
        403,
        `Bearer realm="sandboxes", error="insufficient_scope", ${scope}, ${resource()}`,
      ])
    })

    it('leaves out scopes that no header could name', async () => {
      const { headers } = await ask('/scoped/a%22b', { headers: await bearer() })
      assert.equal(headers['www-authenticate'], `Bearer realm="sandboxes", error="insufficient_scope", ${resource()}`)
    })

    it('is silent on other denials', async () => {
      assert.deepEqual(await challengeOf('/roles', await bearer()), [403, undefined])
      assert.deepEqual(await challengeOf('/nowhere'), [403, undefined])
    })

    it('asks for a proof where the route demands one, and where one was tried', async () => {
      assert.deepEqual(await challengeOf('/proved'), [401, `DPoP realm="sandboxes", ${algs}, ${resource()}`])
      const unbound = await challengeOf('/proved', await bearer())
      assert.deepEqual(unbound[0], 401)
      assert.match(String(unbound[1]), /^DPoP realm="sandboxes", algs="[^"]+", error="invalid_(token|dpop_proof)"/)
      const tried = await challengeOf('/plain', { authorization: 'DPoP abc' })
      assert.deepEqual(tried, [401, `DPoP realm="sandboxes", ${algs}, error="invalid_token", ${resource()}`])
    })

    it('asks for Basic alone where the route names a basic validator', async () => {
      for (const headers of [{}, { authorization: `Basic ${btoa('alice:wrong')}` }])
        assert.deepEqual(await challengeOf('/registry/x', headers as Record<string, string>), [
          401,
          'Basic realm="sandboxes", charset="UTF-8"',
        ])
    })

    it('asks for Bearer and then Basic where basic is one way among all, and not in a page’s scripts', async () => {
      assert.deepEqual(await challengeOf('/any'), [
        401,
        `Bearer realm="sandboxes", ${resource()}, Basic realm="sandboxes", charset="UTF-8"`,
      ])
      assert.deepEqual(await challengeOf('/any', { 'sec-fetch-mode': 'cors' }), [401, `Bearer realm="sandboxes", ${resource()}`])
      assert.match(String((await challengeOf('/any', { 'sec-fetch-mode': 'navigate' }))[1]), /Basic/)
    })

    it('is one field, whatever stands in it', async () => {
      const lines = await rawHead(edge.port, '/any')
      assert.equal(lines.filter((line) => line.toLowerCase().startsWith('www-authenticate:')).length, 1)
    })
  })

  describe('bodies', () => {
    const mcp = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }

    it('is problem details for everyone else', async () => {
      const { headers, body } = await ask('/plain')
      assert.equal(headers['content-type'], 'application/problem+json')
      assert.deepEqual(JSON.parse(body), {
        type: 'urn:postern:denial:no_credential',
        ...{ title: 'A credential is required', status: 401, reason: 'no_credential', decision_id: headers['x-postern-decision'] },
      })
    })

    const mcpRequests: Record<string, ClientRequest> = {
      'the first request of a client': { port: 0, method: 'POST', path: '/mcp', headers: mcp, body: '{}' },
      'one that names the protocol’s version': { port: 0, path: '/mcp', headers: { 'mcp-protocol-version': '2026-07-28' } },
      'one of a session': { port: 0, method: 'DELETE', path: '/mcp', headers: { 'mcp-session-id': 'abc' } },
    }
    for (const [name, sent] of Object.entries(mcpRequests)) {
      it(`is a JSON-RPC error for the Model Context Protocol: ${name}`, async () => {
        const { status, headers, body } = await ask('/mcp', { ...sent, port: edge.port })
        assert.deepEqual([status, headers['content-type']], [401, 'application/json'])
        assert.equal(
          headers['www-authenticate'],
          `Bearer realm="sandboxes", scope="tools:call", resource_metadata="${metadataUrl(edge.port)}"`,
        )
        assert.deepEqual(JSON.parse(body), {
          jsonrpc: '2.0',
          id: null,
          error: {
            code: 401,
            message: 'A credential is required',
            data: { status: 401, reason: 'no_credential', decision_id: headers['x-postern-decision'] },
          },
        })
      })
    }

    it('keeps status and challenge of a missing scope, and has codes of its own outside the reserved range', async () => {
      const asked = { method: 'POST', headers: { ...mcp, ...(await bearer()) }, body: '{}' }
      const answer = await ask('/mcp', asked)
      const { error } = JSON.parse(answer.body) as { error: { code: number; data: { reason: DenyReason } } }
      assert.deepEqual([answer.status, error.code, error.data.reason], [403, 403, 'missing_scope'])
      assert.match(answer.headers['www-authenticate'] ?? '', /error="insufficient_scope", scope="tools:call", resource_metadata=/)
      const bad = await ask('/mcp;x', asked)
      assert.deepEqual([bad.status, (JSON.parse(bad.body) as typeof bad & { error: { code: number } }).error.code], [400, -32600])
    })

    it('is nothing for HEAD, with all headers', async () => {
      const { status, headers, body } = await ask('/plain', { method: 'HEAD' })
      assert.deepEqual([status, body], [401, ''])
      assert.match(headers['www-authenticate'] ?? '', /^Bearer /)
      assert.match(headers['x-postern-decision'] ?? '', /^[0-9a-f-]{36}$/)
    })
  })

  describe('rejections', () => {
    it('are told once with a name for the credential, counted, and never the credential', async () => {
      const bad = await token({ aud: 'other' })
      for (let i = 0; i < 3; i++) await ask('/plain', { headers: { authorization: `Bearer ${bad}` } })
      const opaque = 'opaque-token-that-nobody-knows'
      await ask('/plain?access_token=hidden-in-the-query', { headers: { authorization: `Bearer ${opaque}` } })
      const isOf = (reason: string) => (line: Readonly<Record<string, unknown>>) =>
        line['msg'] === 'credential rejected' && line['reason'] === reason && line['path'] === '/plain'
      await edge.postern.log('the last rejection', isOf('no_validator_admitted'))
      const lines = edge.postern.logs().filter((line) => line['msg'] === 'credential rejected' && line['validator'] === 'users')
      const { validator, reason, route, path, credential } = lines.at(-1)!
      assert.deepEqual(
        { validator, reason, route, path },
        { validator: 'users', reason: 'invalid_credential', route: 'plain', path: '/plain' },
      )
      assert.match(String(credential), /^[0-9a-f]{16}$/)
      const page = await (await fetch(`http://${edge.admin}/metrics`)).text()
      assert.match(page, /postern_rejections_total\{validator="users",reason="invalid_credential"\} [3-9]/)
      assert.match(page, /postern_rejections_total\{validator="",reason="no_validator_admitted"\} \d/)
      const output = [...edge.postern.program.stdout, ...edge.postern.program.stderr, ...edge.envoy.program.stdout].join('\n')
      for (const secret of [bad, bad.split('.')[2]!, opaque, 'hidden-in-the-query']) assert.equal(output.includes(secret), false)
    })
  })

  describe('rejections in several workers', () => {
    const workers = `version: 1
workers: 2
listen: { check: { address: "@check@" }, admin: { address: "@admin@" } }
state: "file:@folder@/postern.db"
identity: [{ name: users, type: oidc, issuer: "@users@", audience: [edge] }]
routes: [{ id: plain, path: /plain }]
`
    let several: ClientsEdge
    before(async () => {
      several = await startClientsEdge(workers, upstream.port, 2)
    })
    after(() => several?.stop())

    it('are summed, and a credential has one name in all', async () => {
      const bad = await several.users.mint({ sub: 'alice', aud: 'other' })
      const headers = { authorization: `Bearer ${bad}` }
      for (let i = 0; i < 30; i++) assert.equal((await request({ port: several.port, path: '/plain', headers })).status, 401)
      const page = await (await fetch(`http://${several.admin}/metrics`)).text()
      assert.match(page, /^postern_rejections_total\{validator="users",reason="invalid_credential"\} 30$/m)
      const lines = await until('lines of both workers', () => {
        const found = several.postern.logs().filter(({ msg }) => msg === 'credential rejected')
        return new Set(found.map(({ worker }) => worker)).size === 2 && found
      })
      assert.equal(new Set(lines.map(({ credential }) => credential)).size, 1)
    })
  })

  describe('metadata of the resource (RFC 9728)', () => {
    it('is found as a client finds it: from the 401 to the issuer', async () => {
      const { headers } = await ask('/mcp', { method: 'POST', body: '{}' })
      const url = /resource_metadata="([^"]+)"/.exec(headers['www-authenticate'] ?? '')?.[1] ?? ''
      const found = await fetch(url)
      assert.deepEqual([found.status, found.headers.get('content-type')], [200, 'application/json'])
      const document = (await found.json()) as { authorization_servers: string[] }
      assert.deepEqual(document, {
        resource: `http://127.0.0.1:${edge.port}/mcp`,
        authorization_servers: [edge.users.issuer, edge.issuer],
        scopes_supported: ['sandbox:read', 'tools:call'],
        bearer_methods_supported: ['header'],
        resource_name: 'sandboxes',
        dpop_signing_alg_values_supported: algs.slice('algs="'.length, -1).split(' '),
        tls_client_certificate_bound_access_tokens: true,
      })
      for (const issuer of document.authorization_servers) {
        const discovered = (await (await fetch(`${issuer}/.well-known/openid-configuration`)).json()) as { issuer: string }
        assert.equal(discovered.issuer, issuer)
      }
    })

    it('is at the well-known place too, and nowhere else', async () => {
      for (const [path, status] of [
        ['/.well-known/oauth-protected-resource', 200],
        ['/.well-known/oauth-protected-resource/mcp', 200],
        ['/.well-known/oauth-protected-resource/other', 404],
      ] as const)
        assert.equal((await fetch(`${edge.issuer}${path}`)).status, status, path)
    })

    it('changes with the policy', async () => {
      const document = async () =>
        (await (await fetch(`${edge.issuer}/.well-known/oauth-protected-resource`)).json()) as Record<string, unknown>
      edge.postern.rewrite(policy.replace('tools:call', 'tools:list'))
      await edge.postern.log('the new policy', ({ msg }) => msg === 'policy in force')
      assert.deepEqual((await document())['scopes_supported'], ['sandbox:read', 'tools:list'])
    })
  })
})

/** The lines of an answer's head. */
async function rawHead(port: number, path: string): Promise<string[]> {
  const socket = connect(port, '127.0.0.1')
  socket.write(rawRequest([`GET ${path} HTTP/1.1`, 'Host: edge.example', 'Connection: close']))
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text.slice(0, text.indexOf('\r\n\r\n')).split('\r\n')
}
