import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'
import { rawRequest, sendRaw, websocketEcho } from '../support/raw.ts'
import { type ClientRequest, type ClientResponse, request, requestHttp2 } from '../support/request.ts'
import { until } from '../support/until.ts'
import { type DpopClient, dpopClient, type ListenerName, type ProofEdge, startProofEdge } from './proof-edge.ts'

const path = '/v1/sandboxes/any/x'
const htu = `https://edge.example${path}`
const x5t = (pem: string) => Buffer.from(new X509Certificate(pem).fingerprint256.replaceAll(':', ''), 'hex').toString('base64url')

describe('proof of possession through the real Envoy', function () {
  this.timeout(30_000)
  let edge: ProofEdge
  let client: DpopClient
  /** Verified by Postern; bound to the client's key. */
  let bound: string
  before(async () => {
    edge = await startProofEdge()
    client = await dpopClient()
    bound = await partner({ jkt: client.jkt })
  })
  after(() => edge?.stop())

  const partner = (cnf?: object) => edge.partners.mint({ sub: 'agent', aud: 'partners', cnf })
  const user = (cnf?: object) => edge.users.mint({ sub: 'alice', aud: 'agentcube-router', cnf })

  interface Asked extends Partial<ClientRequest> {
    readonly listener?: ListenerName
    readonly http2?: boolean
  }
  const ask = ({ listener = 'edge', http2 = false, headers = {}, ...rest }: Asked): Promise<ClientResponse> => {
    const tls = listener === 'balanced' ? undefined : (rest.tls ?? edge.tls())
    const host = http2 ? { ':authority': 'edge.example' } : { host: 'edge.example' }
    return (http2 ? requestHttp2 : request)({ path, ...rest, port: edge.port(listener), tls, headers: { ...host, ...headers } })
  }
  const reached = (response: ClientResponse): void => assert.equal(response.status, 200, response.body)
  const refused = (response: ClientResponse, detail: RegExp, challenge: RegExp): void => {
    assert.equal(response.status, 401, response.body)
    assert.match(response.body, /"reason":"invalid_credential"/)
    assert.match((JSON.parse(response.body) as { detail: string }).detail, detail)
    assert.match(response.headers['www-authenticate'] ?? '', challenge)
  }
  const bearerChallenge = /^Bearer .*error="invalid_token"/
  const proofChallenge = /^DPoP .*error="invalid_dpop_proof"/

  describe('by the client certificate (RFC 8705)', () => {
    for (const kind of ['users', 'partners'] as const)
      it(`takes a token of ${kind} from the holder of the certificate alone`, async () => {
        const mine = edge.certificates.workload(`mine-${kind}`, 'spiffe://cluster.local/ns/agents/sa/mine')
        const other = edge.certificates.workload(`other-${kind}`, 'spiffe://cluster.local/ns/agents/sa/mine')
        const cnf = { 'x5t#S256': x5t(mine.certPem) }
        const headers = { authorization: `Bearer ${kind === 'users' ? await user(cnf) : await partner(cnf)}` }
        reached(await ask({ headers, tls: edge.tls(mine) }))
        reached(await ask({ headers, tls: edge.tls(mine), http2: true }))
        refused(await ask({ headers, tls: edge.tls(other) }), /another client certificate/, bearerChallenge)
        refused(await ask({ headers }), /include_peer_certificate/, bearerChallenge)
        refused(await ask({ headers, tls: edge.tls(mine), listener: 'silent' }), /include_peer_certificate/, bearerChallenge)
      })

    it('is possession also where nobody vouches for the certificate (ACCEPT_UNTRUSTED)', async () => {
      const own = issueCertificate(makeAuthority('Somebody'), { commonName: 'somebody' })
      const tls = edge.tls({ certPem: own.certificate, keyPem: own.key })
      const headers = { authorization: `Bearer ${await partner({ 'x5t#S256': x5t(own.certificate) })}` }
      reached(await ask({ headers, tls, listener: 'untrusted' }))
      refused(await ask({ headers, listener: 'untrusted' }), /include_peer_certificate/, bearerChallenge)
    })

    it('is demanded by binding: mtls, and given by the certificate itself', async () => {
      const mine = edge.certificates.workload('bound', 'spiffe://cluster.local/ns/agents/sa/bound')
      const tls = edge.tls(mine)
      const at = { path: '/v1/sandboxes/mtls' }
      reached(await ask({ ...at, tls }))
      reached(await ask({ ...at, tls, headers: { authorization: `Bearer ${await partner({ 'x5t#S256': x5t(mine.certPem) })}` } }))
      refused(await ask({ ...at, tls, headers: { authorization: `Bearer ${await partner()}` } }), /x5t#S256/, bearerChallenge)
    })
  })

  describe('by DPoP (RFC 9449)', () => {
    const headersOf = async (token: string, dpop: string | Promise<string>) => ({ authorization: `DPoP ${token}`, dpop: await dpop })

    for (const http2 of [false, true])
      it(`takes a proof over HTTP/${http2 ? 2 : 1}, and hands on neither it nor the token`, async () => {
        const response = await ask({ http2, headers: await headersOf(bound, client.proof(bound, 'GET', htu)) })
        reached(response)
        const { headers } = JSON.parse(response.body) as { headers: Record<string, string> }
        assert.equal(headers['dpop'], undefined)
        assert.equal(headers['authorization'], undefined)
        assert.equal(headers['x-postern-subject'], 'agent')
      })

    it('takes one beside what Envoy verified, where jwt_authn knows the scheme', async () => {
      const token = await user({ jkt: client.jkt })
      reached(await ask({ headers: await headersOf(token, client.proof(token, 'GET', htu)) }))
      refused(await ask({ headers: { authorization: `DPoP ${token}` } }), /no DPoP header/, proofChallenge)
      refused(
        await ask({ headers: { authorization: `Bearer ${token}`, dpop: await client.proof(token, 'GET', htu) } }),
        /scheme/,
        /^DPoP .*error="invalid_token"/,
      )
    })

    it('takes each once, whichever replica is asked', async () => {
      const headers = await headersOf(bound, client.proof(bound, 'GET', htu))
      reached(await ask({ headers }))
      refused(await ask({ headers, listener: 'replica' }), /used before/, proofChallenge)
      refused(await ask({ headers }), /used before/, proofChallenge)
      const there = await headersOf(bound, client.proof(bound, 'GET', htu))
      const both = await Promise.all([ask({ headers: there }), ask({ headers: there, listener: 'replica' })])
      assert.deepEqual(both.map(({ status }) => status).sort(), [200, 401])
    })

    const others: readonly [what: string, proof: () => Promise<string>, detail: RegExp][] = [
      ['method', () => client.proof(bound, 'POST', htu), /htm/],
      ['URL', () => client.proof(bound, 'GET', `${htu}y`), /htu/],
      ['host', () => client.proof(bound, 'GET', `https://other.example${path}`), /htu/],
      ['scheme', () => client.proof(bound, 'GET', `http://edge.example${path}`), /htu/],
      ['port', () => client.proof(bound, 'GET', `https://edge.example:8443${path}`), /htu/],
      ['token', async () => client.proof(await partner({ jkt: client.jkt, n: 1 }), 'GET', htu), /ath/],
      ['key', async () => (await dpopClient()).proof(bound, 'GET', htu), /another key/],
      ['time', () => client.proof(bound, 'GET', htu, { iat: Math.floor(Date.now() / 1000) - 90 }), /too old/],
    ]
    for (const [what, proof, detail] of others)
      it(`refuses a proof for another ${what}`, async () => {
        refused(await ask({ headers: await headersOf(bound, proof()) }), detail, proofChallenge)
      })

    it('refuses two DPoP headers, however they come', async () => {
      const proofs = [await client.proof(bound, 'GET', htu), await client.proof(bound, 'GET', htu)]
      const lines = [`GET ${path} HTTP/1.1`, 'Host: edge.example', `Authorization: DPoP ${bound}`, 'Connection: close']
      const two = [...lines, ...proofs.map((proof) => `DPoP: ${proof}`)]
      refused(await sendRaw(edge.port('edge'), rawRequest(two), edge.tls()), /more than one DPoP/, proofChallenge)
      refused(await ask({ headers: await headersOf(bound, proofs.join(', ')) }), /more than one DPoP/, proofChallenge)
      refused(await ask({ http2: true, headers: { authorization: `DPoP ${bound}`, dpop: proofs } }), /more than one DPoP/, proofChallenge)
      // Neither was used up.
      reached(await ask({ headers: await headersOf(bound, proofs[0]!) }))
    })

    it('refuses the scheme Bearer for a bound token, and DPoP for one that is not', async () => {
      const dpop = await client.proof(bound, 'GET', htu)
      refused(await ask({ headers: { authorization: `Bearer ${bound}`, dpop } }), /scheme is not DPoP/, /^DPoP .*error="invalid_token"/)
      const free = await partner()
      refused(await ask({ headers: await headersOf(free, client.proof(free, 'GET', htu)) }), /not bound/, /^DPoP .*error="invalid_token"/)
    })

    it('is demanded by binding: dpop', async () => {
      const at = { path: '/v1/sandboxes/dpop' }
      const there = 'https://edge.example/v1/sandboxes/dpop'
      reached(await ask({ ...at, headers: await headersOf(bound, client.proof(bound, 'GET', there)) }))
      refused(await ask({ ...at, headers: { authorization: `Bearer ${await partner()}` } }), /cnf.jkt/, /^DPoP .*error="invalid_token"/)
      const nobody = await ask(at)
      assert.equal(nobody.status, 401)
      assert.match(nobody.headers['www-authenticate'] ?? '', /^DPoP .*algs="/)
    })

    it('asks for the proof of a token in a cookie, in the query, and of a WebSocket', async () => {
      const cookie = `session=${bound}`
      refused(await ask({ headers: { cookie } }), /no DPoP header/, proofChallenge)
      reached(await ask({ headers: { cookie, dpop: await client.proof(bound, 'GET', htu) } }))
      const query = `${path}?access_token=${bound}`
      refused(await ask({ path: query }), /no DPoP header/, proofChallenge)
      reached(await ask({ path: query, headers: { dpop: await client.proof(bound, 'GET', htu) } }))
      const websocket = (headers: string[]) => websocketEcho(edge.port('edge'), edge.tls(), path, headers, 'echo')
      const there = `https://localhost:${edge.port('edge')}${path}`
      refused(await websocket([`Sec-WebSocket-Protocol: bearer.${bound}`]), /no DPoP header/, proofChallenge)
      const opened = await websocket([`Sec-WebSocket-Protocol: bearer.${bound}`, `DPoP: ${await client.proof(bound, 'GET', there)}`])
      assert.deepEqual([opened.status, opened.body], [101, 'echo'])
      const byScheme = await websocket([`Authorization: DPoP ${bound}`, `DPoP: ${await client.proof(bound, 'GET', there)}`])
      assert.equal(byScheme.status, 101)
    })

    it('compares spellings of one URL as one, and paths as Envoy repairs them', async () => {
      for (const other of [
        `HTTPS://EDGE.example:443${path}`,
        `${htu}?a=b`,
        'https://edge.example/v1/sandboxes/./any/y/../x',
        'https://edge.example/v1/sandboxes/any/%78',
      ])
        reached(await ask({ headers: await headersOf(bound, client.proof(bound, 'GET', other)) }))
      reached(await ask({ path: '/v1/sandboxes/any/%78?q=1', headers: await headersOf(bound, client.proof(bound, 'GET', htu)) }))
      const dots = [`GET /v1/sandboxes/./any/y/../x HTTP/1.1`, 'Host: edge.example', `Authorization: DPoP ${bound}`, 'Connection: close']
      const proof = await client.proof(bound, 'GET', 'https://edge.example/v1/sandboxes/./any/y/../x')
      reached(await sendRaw(edge.port('edge'), rawRequest([...dots, `DPoP: ${proof}`]), edge.tls()))
    })
  })

  describe('the outer scheme', () => {
    const authorized = async (uri: string) => ({ authorization: `DPoP ${bound}`, dpop: await client.proof(bound, 'GET', uri) })
    const http = `http://edge.example${path}`

    it('is that of the connection, whatever the client says of it', async () => {
      reached(await ask({ headers: { 'x-forwarded-proto': 'http', ...(await authorized(htu)) } }))
      reached(await ask({ http2: true, headers: { ':scheme': 'http', 'x-forwarded-proto': 'http', ...(await authorized(htu)) } }))
      refused(await ask({ http2: true, headers: { ':scheme': 'http', ...(await authorized(http)) } }), /htu/, proofChallenge)
      const absolute = async (uri: string) =>
        sendRaw(
          edge.port('edge'),
          rawRequest([
            `GET http://edge.example${path} HTTP/1.1`,
            'Host: edge.example',
            ...Object.entries(await authorized(uri)).map(([name, value]) => `${name}: ${value}`),
            'Connection: close',
          ]),
          edge.tls(),
        )
      reached(await absolute(htu))
      refused(await absolute(http), /htu/, proofChallenge)
    })

    it('is the load balancer’s word behind one', async () => {
      const balanced = async (proto: string | undefined, uri: string, http2 = false) =>
        ask({
          listener: 'balanced',
          http2,
          headers: {
            'x-forwarded-for': '192.0.2.7',
            ...(proto === undefined ? {} : { 'x-forwarded-proto': proto }),
            ...(await authorized(uri)),
          },
        })
      for (const http2 of [false, true]) {
        reached(await balanced('https', htu, http2))
        refused(await balanced('https', http, http2), /htu/, proofChallenge)
        reached(await balanced('http', http, http2))
        refused(await balanced('https,http', htu, http2), /x-forwarded-proto/, proofChallenge)
        // Envoy then tells that its own connection is plain.
        refused(await balanced(undefined, htu, http2), /htu/, proofChallenge)
      }
    })
  })

  describe('while the replay store is down', () => {
    it('is an outage, and other tokens go on until revocations cannot be known', async () => {
      edge.redis.hang()
      try {
        const response = await ask({ headers: { authorization: `DPoP ${bound}`, dpop: await client.proof(bound, 'GET', htu) } })
        assert.equal(response.status, 503)
        assert.match(response.body, /identity_unavailable/)
        reached(await ask({ headers: { authorization: `Bearer ${await partner()}` } }))
      } finally {
        edge.redis.resume()
      }
      await until('Redis to answer again', async () => {
        const response = await ask({ headers: { authorization: `DPoP ${bound}`, dpop: await client.proof(bound, 'GET', htu) } })
        return response.status === 200
      })
    })
  })

  describe('with nonces', () => {
    before(async () => {
      for (const [i, postern] of edge.posterns.entries()) {
        postern.rewrite(edge.policy(i, '{ nonce: required, max_age: 30s }'))
        await postern.log('the policy in force', ({ msg }) => msg === 'policy in force' || /policy/.test(String(msg)), 10_000)
      }
      await until('nonces on both replicas', async () => {
        const asked = (['edge', 'replica'] as const).map(async (listener) => (await ask({ listener, headers: await signed() })).status)
        return (await Promise.all(asked)).every((status) => status === 401)
      })
    })
    const signed = async (more?: Record<string, unknown>) => ({
      authorization: `DPoP ${bound}`,
      dpop: await client.proof(bound, 'GET', htu, more),
    })

    it('gives one with the refusal, which every replica takes', async () => {
      const first = await ask({ headers: await signed() })
      refused(first, /nonce/, /^DPoP .*error="use_dpop_nonce"/)
      const nonce = first.headers['dpop-nonce']
      assert.match(nonce ?? '', /^[A-Za-z0-9_-]{24}$/)
      reached(await ask({ headers: await signed({ nonce }) }))
      reached(await ask({ headers: await signed({ nonce }), listener: 'replica' }))
      refused(await ask({ headers: await signed({ nonce: `${nonce}x` }), listener: 'replica' }), /nonce/, /error="use_dpop_nonce"/)
      const used = await signed({ nonce })
      reached(await ask({ headers: used }))
      refused(await ask({ headers: used, listener: 'replica' }), /used before/, proofChallenge)
    })

    it('takes no proof that is too old by its iat either', async () => {
      const nonce = (await ask({ headers: await signed() })).headers['dpop-nonce']
      refused(await ask({ headers: await signed({ nonce, iat: Math.floor(Date.now() / 1000) - 40 }) }), /too old/, proofChallenge)
    })
  })
})
