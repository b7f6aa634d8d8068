import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { renameSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Redis } from 'ioredis'
import { type Authority, issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'
import { type CertificateEvent, openCertificateLoader } from '../../src/adapters/certificate-files.ts'
import type { JsonSource } from '../../src/adapters/json-source.ts'
import { type Jwks, openJwks } from '../../src/adapters/jwks.ts'
import type { NearCache } from '../../src/adapters/near-cache.ts'
import type { StsClient } from '../../src/adapters/sts-client.ts'
import { certificateConditions, certificateMetrics } from '../../src/compose/certificates.ts'
import { Pool } from '../../src/compose/pool.ts'
import { composeOwners } from '../../src/compose/sources.ts'
import { openState } from '../../src/compose/state.ts'
import { composeTokens } from '../../src/compose/tokens.ts'
import type { CertificateLoader } from '../../src/core/certificates.ts'
import type { Principal } from '../../src/core/principal.ts'
import { load } from '../config/policy-files.ts'
import { freePort } from '../support/free-port.ts'
import { startRedis } from '../support/redis.ts'
import { startCluster } from '../support/redis-cluster.ts'
import { type RedisTls, tlsFlags } from '../support/redis-tls.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const [one, two] = [makeAuthority('one'), makeAuthority('two')]
const names = { dns: ['localhost'], ip: ['127.0.0.1'] }

describe('certificates of clients', function () {
  this.timeout(40_000)
  let folder: TemporaryFolder
  let loader: CertificateLoader
  let events: CertificateEvent[]
  const ends: (() => unknown)[] = []

  beforeEach(() => {
    folder = temporaryFolder()
    events = []
    loader = openCertificateLoader({ everyMs: 30, settleMs: 10, shorterMs: 50, patienceMs: 100, onEvent: (event) => events.push(event) })
  })
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
    loader.close()
    folder.remove()
  })

  /** Puts the three files of somebody there, one after the other, by renames. */
  const write = (who: string, by: Authority, trusted: readonly Authority[], uri: string[] = []): RedisTls => {
    const { certificate, key } = issueCertificate(by, { commonName: who, ...names, uri })
    const files = { cert: folder.file(`${who}.crt`), key: folder.file(`${who}.key`), ca: folder.file(`${who}-ca.crt`) }
    for (const [path, text] of [
      [files.ca, trusted.map((each) => each.certificate).join('')],
      [files.cert, certificate],
      [files.key, key],
    ] as const) {
      writeFileSync(`${path}.new`, text, { mode: 0o600 })
      renameSync(`${path}.new`, path)
    }
    return files
  }
  const settingsOf = async (more: string) => {
    writeFileSync(
      folder.file('postern.yaml'),
      `version: 1
listen: { check: { address: "unix:${folder.file('check.sock')}" } }
identity: [{ name: users, type: oidc, issuer: https://idp.example, audience: [edge] }]
routes: []
${more}
`,
    )
    return (await load(folder.file('postern.yaml'))).settings
  }
  const files = 'tls: { ca: postern-ca.crt, cert: postern.crt, key: postern.key }'
  const isTwo = () => until('the new certificate', () => loader.states().every(({ set }) => set?.authorities?.count === 2), 3000)

  /** Servers take other certificates at once, and everybody has to come again. */
  const renewServers = async (clients: readonly Redis[], by: Authority, trusted: readonly Authority[]): Promise<void> => {
    const { cert, key, ca } = write('redis', by, trusted)
    for (const client of clients) {
      await client.call('CONFIG', 'SET', 'tls-cert-file', cert, 'tls-key-file', key, 'tls-ca-cert-file', ca)
      await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    }
  }

  for (const form of ['one Redis', 'a Redis Cluster'] as const) {
    it(`${form} is entered with renewed ones, by a renewed authority, without a restart`, async () => {
      write('postern', one, [one])
      const tls = write('redis', one, [one])
      let clients: readonly Redis[]
      let redis: string
      if (form === 'one Redis') {
        const port = await freePort()
        const server = await startRedis(tlsFlags(tls, port))
        ends.push(server.stop)
        clients = [server.client()]
        redis = `url: "rediss://localhost:${port}"`
      } else {
        const cluster = await startCluster({ tls })
        ends.push(cluster.stop)
        clients = cluster.nodes.map(cluster.client)
        redis = `cluster: ${JSON.stringify(cluster.hosts)}`
      }
      const { state: settings } = await settingsOf(`state: { redis: { ${redis}, ${files} } }`)
      const state = await openState(settings, 'default', () => {}, undefined, undefined, loader)
      ends.push(() => state.close())
      const labels = new Map([['agentcube.io/owner', 'alice']])
      const works = (): Promise<boolean> =>
        state.labels.write('sandbox', 's', labels).then(
          () => true,
          () => false,
        )
      await until('state', works, 5000)
      deepEqual(
        loader.states().map(({ use }) => use),
        ['state'],
      )

      write('postern', two, [one, two])
      await isTwo()
      await renewServers(clients, two, [two])
      await until('state with the new certificates', works, 8000)
      // What is not renewed does not get in: then it is the server that says so.
      await renewServers(clients, one, [one])
      await until('state to be lost', async () => !(await works()), 8000)
      match(state.fault() ?? '', /Redis/)
      write('postern', one, [one, two])
      await until('state again', works, 8000)
    })
  }

  it('a source of owners is entered with them too', async () => {
    write('postern', one, [one])
    const port = await freePort()
    const server = await startRedis(tlsFlags(write('redis', one, [one]), port))
    ends.push(server.stop)
    const client = server.client()
    await client.set('session:s1', '{"ownerId":"alice"}')
    const settings = await settingsOf(`sources:
  platform: { type: json, redis: "rediss://localhost:${port}", ${files}, key: "session:{id}", owner: /ownerId, subjects_of: users }`)
    const json = new Pool<Promise<JsonSource>>((source) => source.then(({ close }) => close()))
    const near = new Pool<NearCache>((cache) => cache.close())
    ends.push(
      () => json.close(),
      () => near.close(),
    )
    const state = await openState({ kind: 'memory' }, 'default', () => {})
    ends.push(() => state.close())
    const { sources } = await composeOwners(settings, { state, json, near, certificates: loader, onFault: () => {} })
    const source = sources.get('platform')
    ok(source)
    const owner = async (): Promise<string | undefined> =>
      (await Promise.resolve(source.reader.read('sandbox', 's1')).catch(() => undefined))?.labels.get('agentcube.io/owner')
    await until('the owner', async () => (await owner()) === 'alice', 5000)
    write('postern', two, [one, two])
    await isTwo()
    await renewServers([client], two, [two])
    await until('the owner again', async () => (await owner()) === 'alice', 8000)
    equal(loader.states()[0]?.use, 'sources.platform')
    await json.close()
    deepEqual(loader.states(), [], 'let go of with the source')
  })

  describe('of a token endpoint and of issuers', () => {
    let server: Server
    let peers: string[]
    let url: string
    const now = 1_800_000_000_000
    const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const token = `${encode({ alg: 'ES256' })}.${encode({ sub: 'alice', aud: 'picod', exp: now / 1000 + 60 })}.c2ln`
    const principal = { validator: 'users', issuer: 'i', subject: 'alice', rawSubject: 'alice', claims: {}, digest: 'd', subjectToken: 's' }
    const context = (by: Authority, trusted: readonly Authority[]) => {
      const { certificate, key } = issueCertificate(by, { commonName: 'sts', ...names })
      return { cert: certificate, key, ca: trusted.map((each) => each.certificate) }
    }
    beforeEach(async () => {
      peers = []
      server = createServer({ ...context(one, [one]), requestCert: true, rejectUnauthorized: false }, (request, response) => {
        request.resume()
        const socket = request.socket as TLSSocket
        peers.push(socket.authorized ? (socket.getPeerCertificate().subjectaltname ?? '') : 'nobody')
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify(request.url === '/token' ? { access_token: token, token_type: 'Bearer' } : { keys: [] }))
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      url = `https://localhost:${(server.address() as AddressInfo).port}`
      ends.push(() => {
        server.closeAllConnections()
        return new Promise((resolve) => server.close(resolve))
      })
    })

    it('a token endpoint is shown renewed ones, and trusted by a renewed authority, from the next call on', async () => {
      write('postern', one, [one], ['spiffe://td/ns/a/sa/first'])
      const settings = await settingsOf(`sts:
  kc:
    token_endpoint: ${url}/token
    client_id: router
    auth: { mtls: { cert: postern.crt, key: postern.key } }
    ca: postern-ca.crt
    subjects_of: users`)
      const pool = new Pool<StsClient>((client) => client.close())
      ends.push(() => pool.close())
      const made = composeTokens(settings, { issuer: undefined, sts: pool, certificates: loader, onMinted: () => {} })
      await loader.ready()
      const exchange = async () =>
        (
          await made.sts.get('kc')!.exchange({
            principal: { ...principal, roles: [], scopes: [], issuedAt: 0, expiresAt: now / 1000 + 300 } as Principal,
            audience: 'picod',
            scope: [],
            ttl: 60,
            now,
          })
        ).kind
      equal(await exchange(), 'token')
      write('postern', two, [one, two], ['spiffe://td/ns/a/sa/second'])
      await isTwo()
      equal(await exchange(), 'token')
      server.setSecureContext(context(two, [two]))
      server.closeAllConnections()
      equal(await exchange(), 'token')
      const uri = (name: string) => `DNS:localhost, URI:spiffe://td/ns/a/sa/${name}, IP Address:127.0.0.1`
      // The second one is not trusted by a server that knows the first authority alone.
      deepEqual(peers, [uri('first'), 'nobody', uri('second')])
      // The endpoint of an authority that was taken away is called no more, also not over a connection that is open.
      write('postern', two, [one], ['spiffe://td/ns/a/sa/second'])
      await until('one authority', () => loader.states()[0]?.set?.authorities?.count === 1, 3000)
      equal(await exchange(), 'unavailable')
      equal(peers.length, 3)
      await pool.close()
      deepEqual(loader.states(), [])
    })

    it('keys of an issuer are fetched by a renewed authority', async () => {
      write('postern', two, [two])
      const source = loader.open('jwks', { ca: folder.file('postern-ca.crt') })
      const keys: Jwks = openJwks({ issuer: url, uri: `${url}/keys`, algorithms: ['ES256'], tls: source.current })
      ends.push(() => keys.close())
      await keys.refresh()
      equal(keys.condition().reason, 'KeySetFailed')
      write('postern', two, [two, one])
      await isTwo()
      await keys.refresh()
      equal(keys.condition().reason, 'NoUsableKeys')
    })

    it('that cannot be used refuse a policy, with the use that they have', async () => {
      writeFileSync(folder.file('broken.pem'), '-----BEGIN CERTIFICATE-----\n')
      writeFileSync(folder.file('secret'), 'a secret', { mode: 0o600 })
      const settings = await settingsOf(`sts:
  kc: { token_endpoint: "${url}/token", client_id: router, auth: { secret: "\${file:secret}" }, ca: broken.pem, subjects_of: users }`)
      const pool = new Pool<StsClient>((client) => client.close())
      ends.push(() => pool.close())
      composeTokens(settings, { issuer: undefined, sts: pool, certificates: loader, onMinted: () => {} })
      await rejects(loader.ready(), /^StartRefused: sts\.kc: the CA file .*broken\.pem ends in the middle of a certificate/)
    })
  })

  it('are told of as conditions and metrics', () => {
    const day = 86_400_000
    const at = (ms: number) => new Date(ms).toISOString()
    const own = { fingerprint: 'f', names: 'URI:spiffe://a/b', validFrom: 0, validTo: 10 * day, chain: 1 }
    const authorities = { count: 2, fingerprints: [], validFrom: 0, validTo: 30 * day }
    const state = {
      use: 'listen.check',
      paths: { cert: '/c', ca: '/a' },
      set: { digest: 'd', own, authorities },
      fault: undefined,
      reloads: { success: 1, refused: 0 },
    }
    const told = (more: object, now: number) => {
      const [condition] = certificateConditions([{ ...state, ...more }], now)
      return [condition?.status, condition?.reason, condition?.message]
    }
    deepEqual(told({}, day), ['True', 'Loaded', `URI:spiffe://a/b, until ${at(10 * day)}`])
    deepEqual(told({}, 9 * day), ['True', 'ExpiresSoon', `URI:spiffe://a/b expires ${at(10 * day)} and has not been renewed`])
    deepEqual(told({}, 10 * day), ['False', 'Expired', `the certificate /c has expired (${at(10 * day)})`])
    deepEqual(told({ fault: 'why' }, day), ['True', 'UsingLastGood', 'why'])
    deepEqual(told({ set: undefined, fault: 'why' }, day), ['False', 'NotUsable', 'why'])
    deepEqual(told({ set: { digest: 'd', authorities } }, day), ['True', 'Loaded', '2 authorities'])
    deepEqual(told({ set: { digest: 'd', authorities } }, 30 * day), [
      'False',
      'Expired',
      `all authorities in /a have expired (${at(30 * day)})`,
    ])
    deepEqual(certificateMetrics([state, { ...state, set: { digest: 'e', own: { ...own, validTo: day } }, fault: 'why' }]), [
      { use: 'listen.check', certificateExpires: day, authoritiesExpire: 30 * day, failed: true, reloads: { success: 2, refused: 0 } },
    ])
  })
})
