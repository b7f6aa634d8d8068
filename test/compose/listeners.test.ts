import assert from 'node:assert/strict'
import { request as plainHttp } from 'node:http'
import { type RequestOptions, request as tlsHttp } from 'node:https'
import { testCertificates } from '../support/certificates.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
}

const secret = 'a-secret-of-tests-with-more-than-32-characters'
const json = { 'content-type': 'application/json' }
const form = { 'content-type': 'application/x-www-form-urlencoded' }

for (const mode of ['none', 'tls'] as const) {
  describe(`answers of both HTTP listeners, tls: ${mode}`, function () {
    this.timeout(30_000)
    const folder = temporaryFolder()
    const certificates = testCertificates(folder.path)
    const pair = certificates.server('server')
    let postern: RunningPostern
    let ports: { readonly admin: number; readonly issuer: number }

    before(async () => {
      const [admin = 0, issuer = 0] = await freePorts(2)
      ports = { admin, issuer }
      const tls = mode === 'none' ? '' : `, tls: { mode: tls, cert: "${pair.cert}", key: "${pair.key}" }`
      postern = await startPostern(
        `version: 1
listen:
  check: { address: "unix:${folder.file('check.sock')}" }
  admin: { address: "127.0.0.1:${admin}"${tls} }
  issuer: { address: "127.0.0.1:${issuer}"${tls} }
state: "memory:"
admin: { secret: "\${env:POSTERN_TEST_ADMIN_SECRET}" }
issuer: { clients: [{ id: one, auth: { secret: "\${env:POSTERN_TEST_CLIENT_SECRET}" }, grants: [client_credentials], audiences: [postern] }] }
broker: { enabled: true }
identity: [{ name: agents, type: postern, audience: postern }]
routes: [{ id: health, path: /healthz, public: true }]
`,
        { env: { POSTERN_TEST_ADMIN_SECRET: secret, POSTERN_TEST_CLIENT_SECRET: 'another secret of a client, 40 characters' } },
      )
    })
    after(async () => {
      await postern?.stop()
      folder.remove()
    })

    const ask = (listener: 'admin' | 'issuer', options: RequestOptions, body?: string | (() => string | undefined)): Promise<Answer> =>
      new Promise((resolve, reject) => {
        const call = (mode === 'none' ? plainHttp : tlsHttp)(
          { agent: false, host: '127.0.0.1', port: ports[listener], ca: certificates.caPem, servername: 'localhost', ...options },
          (reply) => {
            let text = ''
            reply.setEncoding('utf8').on('data', (part: string) => {
              text += part
            })
            reply.on('end', () => resolve({ status: reply.statusCode ?? 0, headers: reply.headers, text }))
            reply.on('error', reject)
          },
        )
        let answered = false
        call.once('response', () => {
          answered = true
        })
        call.on('error', (cause) => {
          // What is cut off after the answer has come is no fault.
          if (!answered) reject(cause)
        })
        if (typeof body !== 'function') return void call.end(body)
        const go = (): void => {
          for (;;) {
            if (answered || call.destroyed) return void call.end()
            if (!call.write(body())) return void call.once('drain', () => setImmediate(go))
          }
        }
        go()
      })
    const safe = ({ status, headers, text }: Answer, expected: number): void => {
      assert.equal(status, expected, text)
      assert.equal(headers['x-content-type-options'], 'nosniff')
      assert.equal(headers['x-frame-options'], 'DENY')
      assert.ok(headers['cache-control'])
      if (status >= 400) assert.match(String(headers['cache-control']), /no-store/)
      assert.equal(headers['strict-transport-security'] !== undefined, mode === 'tls')
      assert.doesNotMatch(text, /\n\s+at |\/src\/|node:internal|node_modules/)
      assert.ok(!text.includes(folder.path) && !text.includes(secret))
    }

    const post = (path: string, headers: Readonly<Record<string, string>> = json): RequestOptions => ({
      method: 'POST',
      path,
      headers: { ...headers },
    })
    const cases: readonly (readonly [
      listener: 'admin' | 'issuer',
      what: string,
      options: RequestOptions,
      status: number,
      body?: string,
    ])[] = [
      ['admin', 'a document', { path: '/livez' }, 200],
      ['admin', 'nothing there', { path: '/v1/nothing' }, 401],
      ['admin', 'a foreign Host', { path: '/livez', headers: { host: 'evil.example' } }, 421],
      ['admin', 'a login that is no JSON', post('/v1/admin/auth'), 400, '{'],
      ['admin', 'a login with a wrong secret', post('/v1/admin/auth'), 401, '{"secret":"wrong"}'],
      ['admin', 'a login with an empty secret', post('/v1/admin/auth'), 400, '{"secret":""}'],
      ['admin', 'a path that is none', { path: '/%' }, 401],
      ['issuer', 'a document', { path: '/jwks.json' }, 200],
      ['issuer', 'nothing there', { path: '/nothing' }, 404],
      ['issuer', 'another method', { path: '/jwks.json', method: 'DELETE' }, 405],
      ['issuer', 'a token for nobody', post('/token', form), 401, 'grant_type=client_credentials'],
      ['issuer', 'a registration that is no JSON', post('/v1/register'), 400, '{'],
      ['issuer', 'a path that is none', { path: '/%' }, 404],
    ]
    for (const [listener, what, options, status, body] of cases)
      it(`${listener}: ${what}: ${status}`, async () => safe(await ask(listener, options, body), status))

    const large = 'x'.repeat(2 * 1024 * 1024)
    const takers: readonly (readonly ['admin' | 'issuer', RequestOptions])[] = [
      ['admin', post('/v1/admin/auth')],
      ['issuer', post('/token', form)],
      ['issuer', post('/v1/register')],
      ['issuer', post('/v1/token/validate')],
    ]
    for (const [listener, options] of takers) {
      it(`${listener}: ${options.path} takes no 2 MiB: 413`, async () => {
        const declared = { ...options, headers: { ...(options.headers as object), 'content-length': String(large.length) } }
        safe(await ask(listener, declared, large), 413)
      })
      it(`${listener}: ${options.path} takes no body that never ends`, async () => {
        const chunk = 'x'.repeat(65_536)
        const began = performance.now()
        // Who goes on sending may be cut off before the answer was read.
        const answer = await ask(listener, options, () => chunk).catch(({ code }: NodeJS.ErrnoException) => code)
        if (typeof answer === 'object') safe(answer, 413)
        else assert.match(answer ?? '', /^(?:EPIPE|ECONNRESET)$/)
        assert.ok(performance.now() - began < 5000)
      })
    }
  })
}
