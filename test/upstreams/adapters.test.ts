import assert from 'node:assert/strict'
import { copyFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { connect } from 'node:tls'
import {
  type Adapter,
  callerOf,
  createVerifier,
  type Demand,
  expressGuard,
  fetchHandler,
  jwtGuard,
  keepFresh,
  mtlsGuard,
  nodeHandler,
  type Refusal,
  readTls,
  type Verifier,
} from '../../sdk/typescript/src/index.ts'
import { testCertificates } from '../support/certificates.ts'
import { type OidcIssuer, startOidc } from '../support/oidc.ts'
import { rawRequest, sendRaw } from '../support/raw.ts'
import { request } from '../support/request.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { accountId } from './rig.ts'

/** What each form of server answers with, for a request that was verified. */
type Form = (adapter: Adapter<{ url?: string | undefined }>) => RequestListener

const forms: Record<string, Form> = {
  'node:http': (adapter) => nodeHandler(adapter, (_, response, caller) => response.end(caller.subject)),
  Express: (adapter) => {
    const guard = expressGuard(adapter)
    return (incoming, response) =>
      guard(incoming, response, (cause) => {
        response.statusCode = cause === undefined ? 200 : 500
        response.end(callerOf(incoming)?.subject)
      })
  },
  Fetch: (adapter) => {
    const handle = fetchHandler(adapter, (_, caller) => new Response(caller.subject))
    return async (incoming, response) => {
      const headers = new Headers()
      for (let at = 0; at < incoming.rawHeaders.length; at += 2) headers.append(incoming.rawHeaders[at]!, incoming.rawHeaders[at + 1]!)
      const answer = await handle(new Request(`http://upstream${incoming.url}`, { headers }), { socket: incoming.socket })
      response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text())
    }
  },
}

describe('the adapters of the middleware', () => {
  const folder = temporaryFolder('upstreams')
  const certificates = testCertificates(folder.path, 'workloads-ca')
  const picod = certificates.workload('picod', accountId('picod'))
  const router = certificates.workload('router', accountId('router'))
  const other = certificates.workload('other', accountId('other'))
  const two = certificates.workload('two', accountId('router'), { uri: [accountId('router'), accountId('other')] })
  const files = { cert: picod.cert, key: picod.key, ca: certificates.ca }
  let issuer: OidcIssuer
  let verifier: Verifier
  const servers: Server[] = []
  const refusals: Refusal[] = []

  before(async () => {
    issuer = await startOidc({ algorithms: ['ES256'] })
    verifier = createVerifier({ issuer: issuer.issuer, audience: 'picod', keys: { url: issuer.jwksUri } })
  })
  after(async () => {
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
    await issuer?.stop()
    folder.remove()
  })

  const listen = async (server: Server): Promise<number> => {
    servers.push(server)
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
    return (server.address() as AddressInfo).port
  }
  const mint = (claims = {}) => issuer.mint({ sub: 'alice', aud: 'picod', resource: 'sandbox:s1', ...claims })
  /** The resource that the path names. */
  const demand = ({ url = '' }: { url?: string | undefined }): Demand => ({ resource: `sandbox:${url.split('/').at(-1)}` })
  const onRefusal = (refusal: Refusal) => void refusals.push(refusal)
  const tls = ({ certPem: cert, keyPem: key }: typeof router) => ({
    ca: certificates.caPem,
    cert,
    key,
    checkServerIdentity: () => undefined,
  })

  for (const [name, form] of Object.entries(forms))
    describe(name, () => {
      let jwt: number
      let mtls: number
      before(async () => {
        jwt = await listen(createServer(form({ guard: jwtGuard({ verifier, realm: 'picod' }), demand, onRefusal })))
        const guard = mtlsGuard({ verifier, realm: 'picod', allow: [accountId('router')] })
        mtls = await listen(createTlsServer(readTls(files), form({ guard, demand, onRefusal })))
      })

      it('hands a verified request on', async () => {
        const headers = { authorization: `Bearer ${await mint()}` }
        assert.equal((await request({ port: jwt, path: '/s1', headers })).body, 'alice')
        assert.equal((await request({ port: mtls, path: '/s1', headers, tls: tls(router) })).body, 'alice')
      })

      it('answers as RFC 6750 says, and tells the log why', async () => {
        const challenge = async (path: string, authorization?: string) => {
          const { status, headers, body } = await request({
            port: jwt,
            path,
            headers: authorization === undefined ? {} : { authorization },
          })
          assert.equal(headers['content-type'], 'application/problem+json')
          assert.equal(body.includes('eyJ'), false)
          return [status, headers['www-authenticate']]
        }
        assert.deepEqual(await challenge('/s1'), [401, 'Bearer realm="picod"'])
        assert.deepEqual(await challenge('/s1', 'Bearer a.b.c'), [401, 'Bearer realm="picod", error="invalid_token"'])
        const good = `Bearer ${await mint()}`
        assert.deepEqual(await challenge('/s2', good), [403, 'Bearer realm="picod", error="insufficient_scope"'])
        assert.match(refusals.at(-1)?.message ?? '', /the token is for "sandbox:s1", expected sandbox:s2/)
        const twice = rawRequest(['GET /s1 HTTP/1.1', 'Host: a', 'Connection: close', `Authorization: ${good}`, `Authorization: ${good}`])
        const refused = await sendRaw(jwt, twice)
        assert.deepEqual([refused.status, refused.headers['www-authenticate']], [400, 'Bearer realm="picod", error="invalid_request"'])
      })

      it('lets no other workload ask', async () => {
        const headers = { authorization: `Bearer ${await mint()}` }
        for (const peer of [other, two]) assert.equal((await request({ port: mtls, path: '/s1', headers, tls: tls(peer) })).status, 403)
      })
    })

  it('are 503 where a check goes wrong in a way that nobody thought of', async () => {
    const broken = (): Demand => {
      throw new Error('a surprise')
    }
    const port = await listen(createServer(nodeHandler({ guard: jwtGuard({ verifier }), demand: broken }, (_, response) => response.end())))
    assert.equal((await request({ port, headers: { authorization: `Bearer ${await mint()}` } })).status, 503)
  })

  it('are not made with a list that lets in nobody, or a name that is none', () => {
    assert.throws(() => mtlsGuard({ verifier, allow: [] }), TypeError)
    for (const id of ['router', 'spiffe://cluster.local', 'spiffe://cluster.local/ns/../x', 'spiffe://cluster.local/*'])
      assert.throws(() => mtlsGuard({ verifier, allow: [id] }), TypeError)
    assert.throws(() => jwtGuard({ verifier, realm: 'a"b' }), TypeError)
  })

  it('take renewed certificates while they run, and keep the last good ones', async () => {
    const names = ['live.crt', 'live.key'].map((name) => folder.file(name)) as [string, string]
    const put = ({ cert, key }: { cert: string; key: string }): void => {
      copyFileSync(cert, names[0])
      copyFileSync(key, names[1])
    }
    put(picod)
    const live = { cert: names[0], key: names[1], ca: certificates.ca }
    const server = createTlsServer(readTls(live), (_, response) => response.end())
    const faults: string[] = []
    const end = keepFresh(server, live, (message) => faults.push(message), 20)
    const port = await listen(server)
    const serial = () =>
      new Promise<string>((done, fail) => {
        const socket = connect({ port, host: '127.0.0.1', ca: certificates.caPem, checkServerIdentity: () => undefined }, () => {
          done(socket.getPeerCertificate().serialNumber)
          socket.destroy()
        }).once('error', fail)
      })
    const first = await serial()
    // A certificate without its key is no pair.
    copyFileSync(certificates.workload('next', accountId('picod')).cert, names[0])
    await until('the fault to be told', () => faults.length > 0)
    assert.equal(await serial(), first)
    copyFileSync(folder.file('next.key'), names[1])
    await until('the new certificate', async () => (await serial()) !== first)
    assert.deepEqual(faults, [`${names[0]} and ${names[1]} are no PEM pair`])
    end()
  })
})
