import assert from 'node:assert/strict'
import type { X509Certificate } from 'node:crypto'
import { statSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { type ClientResponse, type ClientTls, request, requestHttp2 } from '../support/request.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { startDomain, type TrustDomain, withoutSpire } from './domain.ts'
import { type Helper, startHelper } from './helper.ts'
import { type Load, startLoad } from './load.ts'
import { idOf, type Platform, startPlatform, svidSeconds } from './platform.ts'

const sandboxPath = '/v1/sandboxes/s1/run'

describe('mTLS by SPIRE between all parts', function () {
  this.timeout(120_000)
  let platform: Platform
  before(async function () {
    const missing = withoutSpire()
    if (missing !== undefined) return this.skip()
    platform = await startPlatform()
  })
  after(() => platform?.stop())

  const alice = (): Promise<string> =>
    platform.users.mint({ sub: 'alice', aud: 'agentcube-router', realm_access: { roles: ['sandbox:manage'] } })
  const asAlice = async (tls: ClientTls = platform.tls()): Promise<ClientResponse> =>
    request({ port: platform.port, tls, path: sandboxPath, headers: { authorization: `Bearer ${await alice()}` } })

  it('lets a user through, and the upstream sees the router', async () => {
    const answer = await asAlice()
    assert.equal(answer.status, 200, answer.body)
    const { upstream, caller, headers } = JSON.parse(answer.body) as Record<string, Record<string, string>>
    assert.deepEqual([upstream, caller, headers?.['x-postern-subject']], ['sandbox', idOf('router'), 'alice'])
  })

  it('lets a workload in by its SVID, with the roles that its SPIFFE ID has', async () => {
    const answer = await request({ port: platform.port, tls: platform.tls(platform.helpers.workloadmanager), path: sandboxPath })
    assert.equal(answer.status, 200, answer.body)
    const { headers } = JSON.parse(answer.body) as { headers: Record<string, string> }
    assert.equal(headers['x-postern-workload'], idOf('workloadmanager'))
  })

  it('keeps the key for its owner alone', () => {
    assert.equal(statSync(platform.helpers.postern.file('svid_key.pem')).mode & 0o777, 0o600)
  })

  describe('an ID on no allow list', () => {
    let stranger: Helper
    before(async () => {
      stranger = await startHelper(platform.domain, idOf('stranger'), { more: ['-dns', 'localhost'] })
    })
    after(() => stranger?.stop())

    it('may not ask Postern', async () => {
      assert.equal(await posternSaid(stranger), 'grpc-status 7')
      await platform.postern.log('who it was', ({ detail, msg }) => `${detail} ${msg}`.includes(idOf('stranger')))
    })

    it('gets no answer of the upstream', async () => {
      await assert.rejects(request({ port: platform.upstreams.sandbox.port, tls: platform.tls(stranger) }))
      assert.ok(platform.upstreams.sandbox.refused.includes(idOf('stranger')))
    })

    it('has no role at the edge', async () => {
      const answer = await request({ port: platform.port, tls: platform.tls(stranger), path: sandboxPath })
      assert.equal(answer.status, 403, answer.body)
    })

    it('is no upstream of Envoy’s', async () => {
      const { sandbox } = platform.upstreams
      sandbox.become(stranger)
      // Connections from before live a second.
      await until('Envoy to refuse it', async () => (await asAlice()).status === 503)
      const before = sandbox.answered()
      assert.equal((await asAlice()).status, 503)
      assert.equal(sandbox.answered(), before)
      const told = () => platform.envoy.accessLog().some(({ details }) => String(details).includes('CERTIFICATE_VERIFY_FAILED'))
      await until('the reason in the access log', told)
      sandbox.become(platform.helpers.picod)
      assert.equal((await asAlice()).status, 200)
    })
  })

  describe('an ID of another trust domain', () => {
    let other: TrustDomain
    let foreign: Helper
    let folder: TemporaryFolder
    before(async () => {
      folder = temporaryFolder()
      other = await startDomain('other.example')
      foreign = await startHelper(other, idOf('router', 'other.example'), { more: ['-dns', 'localhost'] })
    })
    after(async () => {
      await foreign?.stop()
      await other?.stop()
      folder?.remove()
    })

    const isRefusedEverywhere = async (): Promise<void> => {
      const edge = request({ port: platform.port, tls: platform.tls(foreign), path: sandboxPath })
      await assert.rejects(edge, { code: 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA' })
      // Node ends the connection, without an alert.
      const { sandbox } = platform.upstreams
      const answered = sandbox.answered()
      await assert.rejects(request({ port: sandbox.port, tls: platform.tls(foreign) }), { code: 'ECONNRESET' })
      assert.equal(sandbox.answered(), answered)
      assert.equal(await posternSaid(foreign), 'the connection ended')
    }

    it('is refused by Envoy, by Postern and by the upstream', isRefusedEverywhere)

    it('is refused where it is federated, since nobody said that it may come in', async () => {
      const { domain } = platform
      writeFileSync(folder.file('other.json'), await other.server('bundle', 'show', '-format', 'spiffe'))
      await domain.server('bundle', 'set', '-format', 'spiffe', '-id', 'spiffe://other.example', '-path', folder.file('other.json'))
      const federated = await startHelper(domain, idOf('federated'), {
        more: ['-dns', 'localhost', '-federatesWith', 'spiffe://other.example'],
      })
      try {
        // The file that Postern would read holds the authority of its own trust domain, and no other.
        assert.equal(federated.text('svid_bundle.pem'), platform.helpers.postern.text('svid_bundle.pem'))
        await isRefusedEverywhere()
      } finally {
        await federated.stop()
      }
    })
  })

  describe('under steady load', () => {
    let load: Load
    before(() => {
      load = startLoad(platform)
    })
    after(() => load?.stop())

    /** What happens while requests go on, of which none may fail. */
    const under = async (what: () => Promise<void>): Promise<void> => {
      const before = load.answered()
      await what()
      assert.ok(load.answered() > before + 20, `only ${load.answered() - before} requests were answered`)
      assert.deepEqual(load.failed, [])
    }
    /** Waits until each part has shown this many more certificates, and those who call have seen them. */
    const rotations = async (count: number): Promise<void> => {
      const { sandbox, workloadmanager } = platform.upstreams
      const sets = { router: sandbox.callers, sandbox: sandbox.shown, workloadmanager: workloadmanager.shown, postern: new Set<string>() }
      const before = Object.values(sets).map(({ size }) => size)
      const look = async (): Promise<boolean> => {
        sets.postern.add(await shownBy(platform.check, platform.helpers.picod))
        await sleep(250)
        // Postern's first one was there before, too.
        return Object.values(sets).every(({ size }, i) => size >= (before[i] ?? 0) + count + (i === 3 ? 1 : 0))
      }
      await until(`${count} renewed certificates of each part`, look, 100_000)
    }

    it('renews every certificate three times, and no request fails', () => under(() => rotations(3)))

    it('changes the authority, and no request fails', () =>
      under(async () => {
        const { domain, helpers } = platform
        const authorities = () => Object.values(helpers).map((helper) => helper.text('svid_bundle.pem').split('BEGIN CERT').length - 1)
        const next = await domain.prepareAuthority()
        await until('the new authority to be in every bundle', () => authorities().every((count) => count === 2), 20_000)
        // In life this takes hours; Postern looks at its files every second, and takes shorter ones for half written at first.
        await sleep(6_000)
        await domain.activateAuthority(next)
        await rotations(1)
        const old = await domain.taintOldAuthority()
        await sleep(6_000)
        await domain.revokeAuthority(old)
        await until('the old one to be in no bundle', () => authorities().every((count) => count === 1), 20_000)
        await rotations(1)
      }))

    it('goes on while the server is down, and renews when it is back', () =>
      under(async () => {
        await platform.domain.stopServer()
        await sleep(6_000)
        await platform.domain.startServer()
        await rotations(1)
      }))

    it('goes on while the agent starts again, and renews afterwards', () =>
      under(async () => {
        await platform.domain.stopAgent()
        await sleep(2_000)
        await platform.domain.startAgent()
        await rotations(1)
      }))
  })

  it('lets nothing through once certificates have expired, and heals when the server is back', async () => {
    // This client goes on where any other would stop: the edge's certificate has expired, too.
    const careless = { ...platform.tls(), rejectUnauthorized: false }
    assert.equal((await asAlice(careless)).status, 200)
    await platform.domain.stopServer()
    const { sandbox } = platform.upstreams
    await until('Envoy to reach nobody any more', async () => (await asAlice(careless)).status === 503, (svidSeconds + 20) * 1000)
    // All have by now.
    await sleep(12_000)
    const before = sandbox.answered()
    for (let i = 0; i < 5; i++) assert.equal((await asAlice(careless)).status, 503)
    assert.equal(sandbox.answered(), before)
    await assert.rejects(asAlice(), { code: 'CERT_HAS_EXPIRED' })
    await platform.domain.startServer()
    await until('requests to be answered again', async () => (await asAlice(careless)).status === 200, 60_000)
    assert.equal((await asAlice()).status, 200)
  })

  /** Asks Postern's Check listener with a certificate: what became of it. */
  async function posternSaid(helper: Helper): Promise<string> {
    try {
      const path = '/envoy.service.auth.v3.Authorization/Check'
      const headers = { 'content-type': 'application/grpc', te: 'trailers' }
      const call = { method: 'POST', path, headers, body: Buffer.alloc(5) }
      const { status, headers: head, trailers } = await requestHttp2({ port: platform.check, tls: platform.tls(helper), ...call })
      return status === 0 ? 'the connection ended' : `grpc-status ${trailers['grpc-status'] ?? head['grpc-status']}`
    } catch (error) {
      if ((error as { code?: string }).code === 'ECONNRESET') return 'the connection ended'
      throw error
    }
  }
})

/** The serial number of the certificate that a server shows on a new connection. */
function shownBy(port: number, helper: Helper): Promise<string> {
  return new Promise((done, fail) => {
    const keys = { cert: helper.text('svid.pem'), key: helper.text('svid_key.pem'), ca: helper.text('svid_bundle.pem') }
    // Only looked at: whether it may be trusted is what the load shows.
    const socket: TLSSocket = connect({ host: '127.0.0.1', port, ...keys, rejectUnauthorized: false, ALPNProtocols: ['h2'] }, () => {
      const certificate: X509Certificate | undefined = socket.getPeerX509Certificate()
      socket.destroy()
      done(certificate?.serialNumber ?? '')
    })
    socket.on('error', fail)
  })
}
