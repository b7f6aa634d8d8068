import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { WebSocket } from 'ws'
import { startProgram } from '../support/program.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { type ClientsEdge, startClientsEdge } from './denials-edge.ts'
import { startWebSocketUpstream, type WebSocketUpstream } from './websocket-upstream.ts'

const policy = `version: 1
listen: { check: { address: "@check@" }, admin: { address: "@admin@" } }
state: "memory:"
identity:
  - { name: users, type: oidc, issuer: "@users@", audience: [edge], from: [authorization, websocket, query, "cookie:session"] }
roles: { operator: {} }
routes:
  - { id: page, methods: [GET], path: /page, public: true }
  - { id: told, methods: [POST], path: /told, public: true }
  - { id: stream, methods: [GET], path: /stream }
  - { id: operators, methods: [GET], path: /operators, roles: [operator] }
`

/** What became of a WebSocket: a browser tells no more of a handshake that failed. */
interface Outcome {
  readonly opened: boolean
  /** The selected subprotocol. */
  readonly protocol?: string
  readonly echo?: string
}

/** Name → what a page gives to `new WebSocket`. */
type Attempts = Readonly<Record<string, { readonly path: string; readonly protocols: readonly string[] }>>

describe('WebSockets, through Envoy', function () {
  this.timeout(60_000)
  let upstream: WebSocketUpstream
  let edge: ClientsEdge
  let token: string
  let expired: string

  before(async () => {
    upstream = await startWebSocketUpstream()
    edge = await startClientsEdge(policy, upstream.port)
    token = await edge.users.mint({ sub: 'alice', aud: 'edge' })
    const past = Math.floor(Date.now() / 1000) - 600
    expired = await edge.users.mint({ sub: 'alice', aud: 'edge', iat: past - 300, exp: past })
  })
  after(async () => {
    await edge?.stop()
    await upstream?.stop()
  })

  /** The last handshake that reached the upstream. */
  const handshake = () => upstream.arrived.filter(({ header }) => header('upgrade') === 'websocket').at(-1)!

  describe('the client of the ws package', () => {
    interface Refused {
      readonly status: number
      readonly headers: Readonly<Record<string, string | string[] | undefined>>
      readonly body: string
    }

    /** @returns the outcome; for a refused handshake what its answer said; for one that the client gave up, why */
    const open = (path: string, protocols: string[], headers: Record<string, string> = {}): Promise<Outcome | Refused | Error> =>
      new Promise((done) => {
        const socket = new WebSocket(`ws://127.0.0.1:${edge.port}${path}`, protocols, { headers })
        socket.on('open', () => socket.send('hello'))
        socket.on('message', (data) => {
          done({ opened: true, protocol: socket.protocol, echo: String(data) })
          socket.close()
        })
        socket.on('unexpected-response', (_, response) => {
          let body = ''
          response.on('data', (chunk: Buffer) => {
            body += chunk
          })
          response.on('end', () => done({ status: response.statusCode ?? 0, headers: response.headers, body }))
        })
        socket.on('error', done)
      })

    const ways: Record<string, () => readonly [path: string, protocols: string[], headers?: Record<string, string>]> = {
      'a subprotocol beside its own': () => ['/stream', [`bearer.${token}`, 'chat']],
      'a subprotocol after its own': () => ['/stream', ['chat', `bearer.${token}`]],
      'the query': () => [`/stream?access_token=${token}`, ['chat']],
      'a cookie': () => ['/stream', ['chat'], { cookie: `theme=dark; session=${token}` }],
      Authorization: () => ['/stream', ['chat'], { authorization: `Bearer ${token}` }],
    }
    for (const [way, of] of Object.entries(ways)) {
      it(`is let in with its token in ${way}, which the upstream does not get`, async () => {
        assert.deepEqual(await open(...of()), { opened: true, protocol: 'chat', echo: 'hello' })
        assert.equal(handshake().header('x-postern-subject'), 'alice')
        assert.equal(handshake().header('sec-websocket-protocol'), 'chat')
        assert.equal(handshake().text.includes(token), false)
      })
    }

    it('gives up where it offers its token alone: the upstream is offered nothing, and selects nothing', async () => {
      const outcome = await open('/stream', [`bearer.${token}`])
      assert.ok(outcome instanceof Error && /subprotocol/.test(outcome.message), String(outcome))
      assert.equal(handshake().header('sec-websocket-protocol'), undefined)
    })

    const refusals: Record<string, () => readonly [path: string, protocols: string[], status: number, reason: string]> = {
      'no token': () => ['/stream', ['chat'], 401, 'no_credential'],
      'an expired token': () => ['/stream', [`bearer.${expired}`, 'chat'], 401, 'expired_credential'],
      'what is no token': () => ['/stream', ['bearer.nonsense', 'chat'], 401, 'no_validator_admitted'],
      'two tokens': () => [`/stream?access_token=${expired}`, [`bearer.${token}`, 'chat'], 401, 'conflicting_credentials'],
      'a missing role': () => ['/operators', [`bearer.${token}`, 'chat'], 403, 'missing_role'],
    }
    for (const [what, of] of Object.entries(refusals)) {
      it(`is told in plain HTTP of ${what}`, async () => {
        const [path, protocols, status, reason] = of()
        const before = upstream.arrived.length
        const answer = (await open(path, protocols)) as Refused
        assert.deepEqual([answer.status, answer.headers['content-type']], [status, 'application/problem+json'])
        assert.equal((JSON.parse(answer.body) as { reason: string }).reason, reason)
        assert.equal(typeof answer.headers['www-authenticate'], status === 401 ? 'string' : 'undefined')
        assert.equal(upstream.arrived.length, before)
      })
    }
  })

  describe('a browser', () => {
    const chromium = [process.env['POSTERN_TEST_CHROMIUM'], '/usr/bin/chromium', 'chromium'].find(
      (candidate) => candidate !== undefined && spawnSync(candidate, ['--version'], { stdio: 'ignore' }).status === 0,
    )

    /** Opens a page in a browser of its own, whose script makes the attempts one after the other and tells what became of each. */
    async function inBrowser(attempts: Attempts, cookies: readonly string[] = []): Promise<Record<string, Outcome>> {
      let told: Record<string, Outcome> | undefined
      upstream.serve('/page', (_, __, response) => {
        response.writeHead(200, { 'content-type': 'text/html', 'set-cookie': [...cookies] }).end(page(attempts))
      })
      upstream.serve('/told', (_, body, response) => {
        told = JSON.parse(body) as Record<string, Outcome>
        response.end()
      })
      const folder = temporaryFolder()
      const browser = startProgram(chromium!, [
        ...[
          '--headless=new',
          '--no-sandbox',
          '--disable-gpu',
          '--disable-dev-shm-usage',
          '--no-first-run',
          '--disable-background-networking',
        ],
        ...[`--user-data-dir=${folder.path}`, `http://127.0.0.1:${edge.port}/page`],
      ])
      try {
        return await until('the page’s report', () => told, 40_000)
      } finally {
        await browser.stop()
        folder.remove()
      }
    }

    before(function () {
      if (chromium !== undefined) return
      console.log('      no browser: install chromium, or name one in POSTERN_TEST_CHROMIUM')
      this.skip()
    })

    it('is let in with its token in a subprotocol or the query, and refused without', async () => {
      const seen = await inBrowser({
        'beside its own': { path: '/stream', protocols: [`bearer.${token}`, 'chat'] },
        alone: { path: '/stream', protocols: [`bearer.${token}`] },
        'in the query': { path: `/stream?access_token=${token}`, protocols: [] },
        expired: { path: '/stream', protocols: [`bearer.${expired}`, 'chat'] },
        none: { path: '/stream', protocols: ['chat'] },
        'without a role': { path: '/operators', protocols: [`bearer.${token}`, 'chat'] },
      })
      const refused = { opened: false }
      assert.deepEqual(seen, {
        'beside its own': { opened: true, protocol: 'chat', echo: 'hello' },
        // A browser wants one of the subprotocols that it offers to be selected, and none is left.
        alone: refused,
        'in the query': { opened: true, protocol: '', echo: 'hello' },
        ...{ expired: refused, none: refused, 'without a role': refused },
      })
      assert.equal(
        upstream.arrived.some(({ text }) => text.includes(token)),
        false,
      )
    })

    it('is let in with its cookie, which page and upstream do not see', async () => {
      const cookies = [`session=${token}; HttpOnly; SameSite=Strict; Path=/`, 'theme=dark; Path=/']
      const seen = await inBrowser({ cookie: { path: '/stream', protocols: [] } }, cookies)
      assert.deepEqual(seen, { cookie: { opened: true, protocol: '', echo: 'hello' } })
      assert.equal(handshake().header('cookie'), 'theme=dark')
      assert.equal(handshake().header('x-postern-subject'), 'alice')
      assert.equal(
        upstream.arrived.some(({ text }) => text.includes(token)),
        false,
      )
    })
  })
})

const page = (attempts: Attempts): string => `<!doctype html><title>WebSockets</title><script type="module">
const attempt = ({ path, protocols }) => new Promise((done) => {
  const socket = new WebSocket('ws://' + location.host + path, protocols)
  socket.onopen = () => socket.send('hello')
  socket.onmessage = ({ data }) => { done({ opened: true, protocol: socket.protocol, echo: data }); socket.close() }
  socket.onclose = () => done({ opened: false })
})
const outcomes = {}
for (const [name, one] of Object.entries(${JSON.stringify(attempts)})) outcomes[name] = await attempt(one)
await fetch('/told', { method: 'POST', body: JSON.stringify(outcomes) })
</script>`
