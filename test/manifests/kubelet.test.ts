import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { testCertificates } from '../support/certificates.ts'
import { freePort } from '../support/free-port.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { containers, manifests, missing, pods, renderers, renderings } from './rendered.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** What the kubelet makes of a mode in a Secret's volume: with fsGroup the group may read, and files are root's and that group's. */
const byKubelet = (mode: number, fsGroup: number | undefined) => (fsGroup === undefined ? mode : mode | 0o440)

describe('Secrets as the kubelet mounts them', function () {
  this.timeout(60_000)
  before(function () {
    if (missing(...renderers)) this.skip()
  })

  for (const { name, text } of renderings())
    it(`${name}: can be read by Postern’s user, and by nobody else`, () => {
      for (const pod of manifests(text()).flatMap(pods)) {
        const own = containers(pod).filter(({ image }) => /(?:^|\/)postern[:@]/.test(image))
        const volumes = (pod['spec'].volumes ?? []) as { name: string; secret?: { defaultMode?: number } }[]
        const secrets = volumes.filter((volume) => volume.secret !== undefined)
        for (const container of own) {
          const user = { ...pod['spec'].securityContext, ...container['securityContext'] }
          assert.deepEqual([user.runAsUser, user.runAsGroup], [65532, 65532])
          for (const { name: volume, secret } of secrets) {
            if (!container['volumeMounts'].some((mount: { name: string }) => mount.name === volume)) continue
            const { fsGroup } = pod['spec'].securityContext
            assert.deepEqual([fsGroup, byKubelet(secret?.defaultMode ?? 0o644, fsGroup)], [65532, 0o440], `${container.name}: ${volume}`)
          }
        }
      }
    })
})

/** Owner, group and mode of a key and of a secret; what Postern says of them as user and group 65532. */
const cases = [
  { name: 'a Secret with fsGroup', owner: 0, group: 65532, mode: byKubelet(0o440, 65532) },
  { name: 'a Secret of mode 0400 with fsGroup', owner: 0, group: 65532, mode: byKubelet(0o400, 65532) },
  { name: 'what spiffe-helper writes', owner: 65532, group: 65532, mode: 0o600 },
  {
    name: 'a Secret without a mode, with fsGroup',
    owner: 0,
    group: 65532,
    mode: byKubelet(0o644, 65532),
    says: /open to (?:every user|others)/,
  },
  {
    name: 'a Secret without a mode and without fsGroup',
    owner: 0,
    group: 0,
    mode: byKubelet(0o644, undefined),
    says: /open to (?:every user|others)/,
  },
  {
    name: 'a Secret without fsGroup',
    owner: 0,
    group: 0,
    mode: byKubelet(0o440, undefined),
    says: /cannot be read: this user may not|may not be read/,
  },
  { name: 'one that the group may write', owner: 0, group: 65532, mode: 0o460, says: /can be changed by its group/ },
] as const

for (const part of ['key', 'secret'] as const)
  describe(`Postern as user 65532, its ${part} being`, function () {
    this.timeout(60_000)
    let folder: TemporaryFolder
    let node = process.execPath
    before(function () {
      // Only root may become another user, and give files away.
      if (process.getuid?.() !== 0) return this.skip()
      folder = temporaryFolder('kubelet')
      chmodSync(folder.path, 0o755)
      if (spawnSync(node, ['--version'], { uid: 65532, gid: 65532, cwd: '/' }).status === 0) return
      // A cache in root's home is closed to others.
      node = folder.file('node')
      copyFileSync(process.execPath, node)
    })
    after(() => folder?.remove())

    for (const { name, owner, group, mode, ...more } of cases)
      it(`${name}: ${'says' in more ? 'is refused' : 'is taken'}`, async () => {
        const place = folder.file(`${part}-${cases.findIndex((one) => one.name === name)}`)
        mkdirSync(place, { mode: 0o755 })
        const { cert, key } = testCertificates(place).server('tls')
        const secret = `${place}/admin-secret`
        writeFileSync(secret, '5f8e3c1b9a7d2e4f6c0b8a1d3e5f7c9b2a4d6e8f', { mode: 0o400 })
        for (const [path, judged] of [
          [key, part === 'key'],
          [secret, part === 'secret'],
        ] as const) {
          chownSync(path, judged ? owner : 65532, judged ? group : 65532)
          chmodSync(path, judged ? mode : 0o400)
        }
        chmodSync(cert, 0o444)
        const admin = `127.0.0.1:${await freePort()}`
        writeFileSync(
          `${place}/postern.yaml`,
          `version: 1
listen:
  check: { address: "127.0.0.1:${await freePort()}", tls: { mode: tls, cert: "${cert}", key: "${key}" } }
  admin: { address: "${admin}" }
state: "memory:"
admin: { secret: "\${file:${secret}}" }
identity: [{ name: keys, type: api-keys, subject_namespace: "key:" }]
routes: [{ id: health, path: /healthz, public: true }]
`,
          { mode: 0o444 },
        )
        const child = spawn(node, [main, 'serve', '--config', `${place}/postern.yaml`], {
          ...{ uid: 65532, gid: 65532, cwd: '/', env: { PATH: process.env['PATH'] } },
          stdio: ['ignore', 'pipe', 'pipe'],
        })
        let said = ''
        for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (chunk: string) => (said += chunk))
        const ended = new Promise<number | null>((done) => child.once('close', done))
        try {
          if ('says' in more) {
            assert.equal(await ended, 2, said)
            assert.match(said, more.says)
            return
          }
          await until('/readyz', async () => {
            assert.equal(child.exitCode, null, said)
            return fetch(`http://${admin}/readyz`).then(
              ({ ok }) => ok,
              () => false,
            )
          })
        } finally {
          child.kill('SIGKILL')
          await ended
        }
      })
  })
