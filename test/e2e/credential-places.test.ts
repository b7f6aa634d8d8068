import assert from 'node:assert/strict'
import { rawRequest, sendRaw } from '../support/raw.ts'
import { type ClientRequest, type ClientResponse, request, requestHttp2 } from '../support/request.ts'
import { type ClientsEdge, startClientsEdge } from './denials-edge.ts'
import { type Arrived, startWebSocketUpstream, type WebSocketUpstream } from './websocket-upstream.ts'

const policy = (from: string): string => `version: 1
listen: { check: { address: "@check@" }, admin: { address: "@admin@" } }
state: "memory:"
identity:
  - { name: users, type: oidc, issuer: "@users@", audience: [edge], from: [${from}] }
routes:
  - { id: plain, methods: [GET], path: /plain }
  - { id: open, methods: [GET], path: /open, public: true }
  - { id: kept, methods: [GET], path: /kept, authorization: keep }
`
const everywhere = 'authorization, websocket, query, "cookie:session", "header:x-session-token"'

type Asked = Pick<ClientRequest, 'path' | 'headers'>

/** A credential in each place, beside what has to be left alone. */
const places: Record<string, (token: string) => { readonly asked: Asked; readonly left: (arrived: Arrived) => void }> = {
  'a header': (token) => ({
    asked: { headers: { 'x-session-token': token, 'x-other': 'stays' } },
    left: ({ header }) => assert.deepEqual([header('x-session-token'), header('x-other')], [undefined, 'stays']),
  }),
  'a cookie': (token) => ({
    asked: { headers: { cookie: `theme=dark; session=${token}; sessions=2` } },
    left: ({ header }) => assert.equal(header('cookie'), 'theme=dark; sessions=2'),
  }),
  'the only cookie': (token) => ({
    asked: { headers: { cookie: `session=${token}` } },
    left: ({ fields }) =>
      assert.equal(
        fields.some(([name]) => name === 'cookie'),
        false,
      ),
  }),
  'the query': (token) => ({
    asked: { path: `/plain?a=1%20b&access_token=${token}&access_tokens=2` },
    left: ({ path }) => assert.equal(path, '/plain?a=1%20b&access_tokens=2'),
  }),
  'all of the query': (token) => ({
    asked: { path: `/plain?access_token=${token}` },
    left: ({ path }) => assert.equal(path, '/plain'),
  }),
  'a subprotocol': (token) => ({
    asked: { headers: { 'sec-websocket-protocol': `chat.v2, bearer.${token}, chat` } },
    left: ({ header }) => assert.equal(header('sec-websocket-protocol'), 'chat.v2, chat'),
  }),
}

describe('where credentials travel, through Envoy', function () {
  this.timeout(30_000)
  let upstream: WebSocketUpstream
  let edge: ClientsEdge
  let alice: string
  let bob: string

  before(async () => {
    upstream = await startWebSocketUpstream()
    edge = await startClientsEdge(policy(everywhere), upstream.port)
    alice = await edge.users.mint({ sub: 'alice', aud: 'edge' })
    bob = await edge.users.mint({ sub: 'bob', aud: 'edge' })
  })
  after(async () => {
    await edge?.stop()
    await upstream?.stop()
  })

  const reasonOf = (response: ClientResponse): string =>
    response.status === 200 ? 'ok' : (JSON.parse(response.body) as { reason: string }).reason
  const arrived = () => upstream.arrived.at(-1)!

  for (const [protocol, send] of Object.entries({ 'HTTP/1.1': request, 'HTTP/2': requestHttp2 })) {
    describe(protocol, () => {
      const ask = (asked: Asked) => send({ port: edge.port, path: '/plain', ...asked })

      for (const [place, of] of Object.entries(places)) {
        it(`identifies by ${place}, and the upstream gets everything but that`, async () => {
          const { asked, left } = of(alice)
          assert.equal(reasonOf(await ask(asked)), 'ok')
          assert.equal(arrived().header('x-postern-subject'), 'alice')
          assert.equal(arrived().text.includes(alice), false)
          left(arrived())
        })

        it(`strips ${place} on a public route, where nobody is asked for`, async () => {
          const { asked, left } = of(alice)
          assert.equal(reasonOf(await ask({ ...asked, path: asked.path?.replace('/plain', '/open') ?? '/open' })), 'ok')
          assert.equal(arrived().text.includes(alice), false)
          left({ ...arrived(), path: arrived().path.replace('/open', '/plain') })
        })

        it(`rejects what is no token in ${place}`, async () => {
          assert.equal(reasonOf(await ask(of('nonsense').asked)), 'no_validator_admitted')
        })

        it(`takes the same token in ${place} and in Authorization for one, and two for a conflict`, async () => {
          const with_ = (token: string): Asked => {
            const { path, headers } = of(alice).asked
            return { ...(path === undefined ? {} : { path }), headers: { ...headers, authorization: `Bearer ${token}` } }
          }
          assert.equal(reasonOf(await ask(with_(alice))), 'ok')
          assert.equal(arrived().text.includes(alice), false)
          assert.equal(reasonOf(await ask(with_(bob))), 'conflicting_credentials')
        })
      }

      it('takes two credentials in two places for a conflict', async () => {
        const both = { 'x-session-token': alice, cookie: `session=${bob}` }
        assert.equal(reasonOf(await ask({ headers: both })), 'conflicting_credentials')
        assert.equal(
          reasonOf(await ask({ path: `/plain?access_token=${alice}`, headers: { cookie: `session=${bob}` } })),
          'conflicting_credentials',
        )
        const same = { 'x-session-token': alice, cookie: `session=${alice}`, 'sec-websocket-protocol': `bearer.${alice}` }
        assert.equal(reasonOf(await ask({ path: `/plain?access_token=${alice}`, headers: same })), 'ok')
        assert.equal(arrived().text.includes(alice), false)
      })

      it('takes two cookies of one name for a conflict, unless they are the same', async () => {
        assert.equal(reasonOf(await ask({ headers: { cookie: `session=${alice}; session=${bob}` } })), 'conflicting_credentials')
        assert.equal(reasonOf(await ask({ headers: { cookie: `session=${alice}; a=b; session=${alice}` } })), 'ok')
        assert.equal(arrived().header('cookie'), 'a=b')
      })

      it('takes two access_token for a conflict, in whatever spelling', async () => {
        for (const second of ['access_token', '%61ccess_token', 'access%5Ftoken'])
          assert.notEqual(reasonOf(await ask({ path: `/plain?access_token=${alice}&${second}=${bob}` })), 'ok', second)
        assert.equal(reasonOf(await ask({ path: `/plain?access_token=${alice}&a=b&access_token=${alice}` })), 'ok')
        assert.equal(arrived().path, '/plain?a=b')
      })

      it('takes two bearer subprotocols for a conflict, in whatever case', async () => {
        const offering = (...offered: string[]) => ask({ headers: { 'sec-websocket-protocol': offered.join(', ') } })
        assert.equal(reasonOf(await offering(`bearer.${alice}`, `Bearer.${bob}`)), 'conflicting_credentials')
        assert.equal(reasonOf(await offering(`BEARER.${alice}`, 'chat')), 'ok')
        assert.equal(arrived().header('sec-websocket-protocol'), 'chat')
      })

      it('identifies nobody by an empty credential', async () => {
        const empty: Asked[] = [
          { headers: { cookie: 'session=' } },
          { headers: { 'x-session-token': '' } },
          { path: '/plain?access_token=' },
          { headers: { 'sec-websocket-protocol': 'bearer.' } },
        ]
        for (const asked of empty) assert.equal((await ask(asked)).status, 401, JSON.stringify(asked))
      })
    })
  }

  it('reads cookies from several fields: HTTP/2 may split them, and HTTP/1.1 clients do', async () => {
    const split = [`theme=dark`, `session=${alice}`, 'b=2']
    assert.equal(reasonOf(await requestHttp2({ port: edge.port, path: '/plain', headers: { cookie: split } })), 'ok')
    assert.deepEqual([arrived().header('cookie'), arrived().header('x-postern-subject')], ['theme=dark; b=2', 'alice'])
    const fields = (...cookies: string[]) =>
      sendRaw(
        edge.port,
        rawRequest(['GET /plain HTTP/1.1', 'Host: a', ...cookies.map((cookie) => `Cookie: ${cookie}`), 'Connection: close']),
      )
    assert.equal((await fields('theme=dark', `session=${alice}`)).status, 200)
    assert.equal(arrived().text.includes(alice), false)
    // Such fields reach Postern joined by a comma, which may stand inside a cookie as well: what is in doubt goes too.
    assert.equal(arrived().header('cookie'), undefined)
    assert.equal(reasonOf(await fields(`session=${alice}`, `session=${bob}`)), 'conflicting_credentials')
  })

  it('refuses two fields of a header that carries a credential', async () => {
    const lines = [`X-Session-Token: ${alice}`, `X-Session-Token: ${alice}`]
    const answer = await sendRaw(edge.port, rawRequest(['GET /plain HTTP/1.1', 'Host: a', ...lines, 'Connection: close']))
    assert.equal(reasonOf(answer), 'conflicting_credentials')
  })

  it('leaves Authorization alone where the upstream has a login of its own, and still finds the cookie', async () => {
    const headers = { authorization: 'Basic dXBzdHJlYW06bG9naW4=', cookie: `session=${alice}` }
    assert.equal(reasonOf(await request({ port: edge.port, path: '/kept', headers })), 'ok')
    assert.deepEqual([arrived().header('authorization'), arrived().header('cookie')], ['Basic dXBzdHJlYW06bG9naW4=', undefined])
  })

  describe('a policy that names no place', () => {
    before(async () => {
      edge.postern.rewrite(policy('authorization'))
      await edge.postern.log('the new policy', ({ msg }) => msg === 'policy in force')
    })
    for (const [place, of] of Object.entries(places)) {
      it(`does not look for credentials in ${place}, and leaves what is there to the upstream`, async () => {
        const { asked } = of(alice)
        assert.equal(reasonOf(await request({ port: edge.port, path: '/plain', ...asked })), 'no_credential')
        const beside = { ...asked, headers: { ...asked.headers, authorization: `Bearer ${bob}` } }
        assert.equal(reasonOf(await request({ port: edge.port, path: '/plain', ...beside })), 'ok')
        assert.equal(arrived().header('x-postern-subject'), 'bob')
        assert.equal(arrived().text.includes(alice), true)
      })
    }
  })
})
