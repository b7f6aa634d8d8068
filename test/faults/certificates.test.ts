import assert from 'node:assert/strict'
import { renameSync, writeFileSync } from 'node:fs'
import { Agent, request as tlsRequest } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { credentials } from '@grpc/grpc-js'
import { issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'
import { type Certificates, type Identity, testCertificates } from '../support/certificates.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { openAsker } from './asker.ts'

const id = (account: string): string => `spiffe://cluster.local/ns/edge/sa/${account}`

interface Answer {
  readonly status: number
  readonly text: string
}

for (const [transport, workers] of [
  ['lean', 2],
  ['grpc-js', 1],
] as const) {
  describe(`certificates and allow lists of a service that runs, ${transport}, workers: ${workers}`, function () {
    this.timeout(60_000)
    let folder: TemporaryFolder
    let certificates: Certificates
    let first: Identity
    let second: Identity
    let postern: RunningPostern
    let check = ''
    let admin = 0
    let issuer = 0
    let agent: Agent

    const policy = (allowed: readonly string[]): string => {
      const tls = `tls: { mode: mtls, cert: svid.pem, key: svid_key.pem, ca: svid_bundle.pem, allow: [${allowed.map((one) => `"${id(one)}"`)}] }`
      return `version: 1
listen:
  check: { address: "${check}", transport: ${transport}, ${tls} }
  admin: { address: "127.0.0.1:${admin}", ${tls} }
  issuer: { address: "127.0.0.1:${issuer}", ${tls} }
state: "file:${folder.file('postern.db')}"
workers: ${workers}
admin: { secret: "a secret that is long enough for the admin API" }
identity: [{ name: users, type: oidc, issuer: "http://127.0.0.1:1/realm", audience: [router], verified_by: envoy, metadata_key: users }]
routes: [{ id: health, path: /healthz, public: true }]
`
    }
    const writeServer = (by = certificates.authority, bundle = [certificates.authority]): void => {
      const { certificate, key } = issueCertificate(by, { commonName: 'postern', dns: ['localhost', 'postern'], ip: ['127.0.0.1'] })
      for (const [name, text] of [
        ['svid.pem', certificate],
        ['svid_key.pem', key],
        ['svid_bundle.pem', bundle.map((one) => one.certificate).join('')],
      ] as const)
        writeFileSync(folder.file(name), text, { mode: 0o600 })
    }
    before(async () => {
      folder = temporaryFolder()
      certificates = testCertificates(folder.path)
      first = certificates.workload('first', id('first'))
      second = certificates.workload('second', id('second'))
      const [a = 0, b = 0, c = 0] = await freePorts(3)
      check = `127.0.0.1:${a}`
      admin = b
      issuer = c
      writeServer()
      agent = new Agent({ keepAlive: true })
      postern = await startPostern(policy(['first']), { folder })
    })
    after(async () => {
      agent.destroy()
      await postern?.stop()
      folder.remove()
    })

    const channel = ({ certPem, keyPem }: Pick<Identity, 'certPem' | 'keyPem'>, trusted = certificates.caPem) =>
      credentials.createSsl(Buffer.from(trusted), Buffer.from(keyPem), Buffer.from(certPem))
    const get = (port: number, path: string, { certPem, keyPem }: Identity): Promise<Answer> =>
      new Promise((resolve, reject) => {
        const options = { agent, port, path, host: 'localhost', ca: certificates.caPem, cert: certPem, key: keyPem }
        const call = tlsRequest(options, (reply) => {
          let text = ''
          reply.on('data', (chunk) => {
            text += chunk
          })
          reply.on('end', () => resolve({ status: reply.statusCode ?? 0, text }))
        })
        call.on('error', reject).end()
      })
    /** 0: served; else the gRPC status. */
    const asked = (asker: ReturnType<typeof openAsker>): Promise<number> =>
      asker.ask('/healthz').then(
        () => 0,
        (cause: { readonly code: number }) => cause.code,
      )

    it('says what they are, on the status page and in metrics', async () => {
      const { conditions } = JSON.parse((await get(admin, '/status', first)).text)
      const ready = conditions.filter(({ type }: { type: string }) => type === 'CertificatesReady')
      assert.deepEqual(
        ready.map(({ subject, status, reason }: Record<string, string>) => `${subject} ${status} ${reason}`),
        ['listen.check True Loaded', 'listen.admin True Loaded', 'listen.issuer True Loaded'],
      )
      assert.match(ready[0].message, /^DNS:localhost, DNS:postern, IP Address:127\.0\.0\.1, until 20/)
      const { text } = await get(admin, '/metrics', first)
      const expiry = /^postern_certificate_expiry_timestamp_seconds\{use="listen\.check",part="cert"\} (\d+)$/m.exec(text)?.[1]
      assert.ok(Math.abs(Number(expiry) - Date.parse(ready[0].expires) / 1000) < 2, text)
      assert.match(text, /^postern_certificate_reload_failed\{use="listen\.admin"\} 0$/m)
      assert.match(text, /^postern_certificate_reloads_total\{use="listen\.issuer",outcome="success"\} 0$/m)
    })

    it('takes a changed allow list into force within a second, for connections that are open', async () => {
      const [a, b] = [openAsker(check, channel(first)), openAsker(check, channel(second))]
      const now = async () => [
        await asked(a),
        await asked(b),
        (await get(admin, '/status', first)).status,
        (await get(admin, '/status', second)).status,
        (await get(issuer, '/jwks.json', first)).status,
        (await get(issuer, '/jwks.json', second)).status,
      ]
      assert.deepEqual(await now(), [0, 7, 200, 401, 200, 403])
      for (const [list, wanted] of [
        [['second'], [7, 0, 401, 200, 403, 200]],
        [
          ['second', 'first'],
          [0, 0, 200, 200, 200, 200],
        ],
        [['first'], [0, 7, 200, 401, 200, 403]],
      ] as const) {
        postern.rewrite(policy(list))
        // On all workers: connections are made anew, and spread.
        const spread = async () => {
          const codes: number[] = []
          for (let i = 0; i < 4; i++) {
            const again = openAsker(check, channel(second))
            codes.push(await asked(again))
            again.close()
          }
          return codes
        }
        const everywhere = async () =>
          JSON.stringify(await now()) === JSON.stringify(wanted) && (await spread()).every((code) => code === wanted[1])
        await until(`the list ${list}`, everywhere, 1200)
      }
      a.close()
      b.close()
      assert.equal(postern.logs().filter(({ msg }) => String(msg).includes('refused')).length, 0)
    })

    it('still refuses what else of a listener changes', async () => {
      postern.rewrite(policy(['first']).replace('svid_bundle.pem', 'ca.crt'))
      await postern.log('the refusal', ({ msg }) => String(msg).startsWith('the changed policy is refused'))
      postern.rewrite(policy(['first']))
    })

    it('uses renewed certificates within seconds, and goes from one authority to the next without a failed call', async () => {
      const next = makeAuthority('next')
      const asker = openAsker(check, channel(first, certificates.caPem + next.certificate))
      const { certificate, key } = issueCertificate(next, { commonName: 'first', uri: [id('first')] })
      const young = { certPem: certificate, keyPem: key }
      let stop = false
      const results: number[] = []
      const calling = (async () => {
        while (!stop) {
          results.push(await asked(asker))
          await sleep(5)
        }
      })()
      // One file after the other, as spiffe-helper writes them; both authorities in the bundle.
      writeServer(certificates.authority, [certificates.authority, next])
      const admitted = async (): Promise<boolean> => {
        const one = openAsker(check, channel(young, certificates.caPem + next.certificate))
        const code = await asked(one)
        one.close()
        return code === 0
      }
      await until('the new authority', admitted, 4000)
      writeServer(next, [certificates.authority, next])
      await until(
        'the new certificate',
        async () => {
          const one = openAsker(check, channel(first, next.certificate))
          const code = await asked(one)
          one.close()
          return code === 0
        },
        4000,
      )
      stop = true
      await calling
      assert.ok(results.length > 50)
      assert.deepEqual(new Set(results), new Set([0]), 'no call failed')
      // The old authority goes, and with it whoever it vouched for.
      writeServer(next, [next])
      await until('the old authority to be gone', async () => (await asked(asker)) !== 0, 6000)
      for (let i = 0; i < 3; i++) assert.notEqual(await asked(asker), 0)
      assert.ok(await admitted())
      asker.close()
      await postern.log('a line of it', ({ msg, uses }) => msg === 'certificates reloaded' && String(uses).includes('listen.check'))
      writeServer()
      await until(
        'the first authority',
        async () => {
          const one = openAsker(check, channel(first))
          const code = await asked(one)
          one.close()
          return code === 0
        },
        6000,
      )
    })

    it('keeps the last good set, tells of it once a process, and heals', async () => {
      agent.destroy()
      agent = new Agent({ keepAlive: true })
      // Each process looks at the files for itself.
      const served = () =>
        get(admin, '/livez', first).then(
          () => true,
          () => false,
        )
      await until('the first authority in the primary', served, 6000)
      const onAll = async (): Promise<boolean> => {
        // Connections that are open at once are spread over the workers.
        const askers = Array.from({ length: 2 * workers }, () => openAsker(check, channel(first)))
        const codes = await Promise.all(askers.map(asked))
        for (const asker of askers) asker.close()
        return codes.every((code) => code === 0)
      }
      await until('the first authority in all workers', onAll, 6000)
      const good = issueCertificate(certificates.authority, { commonName: 'postern', dns: ['localhost'] })
      writeFileSync(folder.file('svid_key.pem'), good.key)
      const failed = async () =>
        /^postern_certificate_reload_failed\{use="listen\.check"\} 1$/m.test((await get(admin, '/metrics', first)).text)
      await until('the failure', failed, 4000)
      const condition = async () => {
        const { conditions } = JSON.parse((await get(admin, '/status', first)).text)
        return conditions.find(({ subject }: { subject?: string }) => subject === 'listen.check')
      }
      await until('the condition', async () => (await condition()).reason === 'UsingLastGood', 3000)
      assert.match((await condition()).message, /are no PEM pair/)
      await sleep(2500)
      const lines = postern.logs().filter(({ msg }) => msg === 'certificates are not reloaded; the last good ones stay in use')
      assert.ok(lines.length >= 1 && lines.length <= workers + 1, `${lines.length} lines`)
      const asker = openAsker(check, channel(first))
      assert.equal(await asked(asker), 0)
      asker.close()
      writeFileSync(folder.file('next.pem'), good.certificate)
      renameSync(folder.file('next.pem'), folder.file('svid.pem'))
      await until('the end of it', async () => !(await failed()), 4000)
    })
  })
}
