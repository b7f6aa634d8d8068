import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensureBaseTars, loadBaseImages } from '../../deploy/local/base-image.mjs'
import type { Docker } from '../../deploy/local/docker.mjs'
import { buildPostern } from '../../deploy/local/images.mjs'
import { checkout } from '../docs/markdown.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { engine } from './engine.ts'

const policy = `version: 1
listen:
  check: { address: unix:/run/postern/check.sock }
  admin: { address: 127.0.0.1:9192 }
  issuer: { address: 127.0.0.1:9193, url: "http://127.0.0.1:9193" }
state: file:/var/lib/postern/postern.db
admin: { secret: "\${env:POSTERN_ADMIN_SECRET}" }
identity: [{ name: local, type: postern, audience: postern, may_assert: [member] }]
roles: { member: {} }
routes:
  - { id: health, path: /healthz, public: true }
  - { id: all, path: /**, roles: [member] }
`
const secret = 'b1946ac92492d2347c6235b4d2611184a9f4c1f0d3e5b7a8'
const epoch = 1_700_000_000
const labels = {
  SOURCE: 'https://example.com/postern',
  REVISION: '0123456789abcdef',
  VERSION: '1.2.3',
  CREATED: '2023-11-14T22:13:20Z',
  LICENSES: 'Apache-2.0',
}

/** Digest, time and mode of each file that the Dockerfile puts there. Folders have the time of the build with the classic builder. */
const digests = `const { createHash } = require('node:crypto'), { readFileSync, readdirSync, statSync } = require('node:fs')
  const files = readdirSync('/app', { recursive: true }).map((name) => '/app/' + name).concat('/usr/local/bin/node').sort()
  for (const path of files) {
    const { mode, mtimeMs } = statSync(path)
    if ((mode & 0o170000) === 0o100000)
      console.log(createHash('sha256').update(readFileSync(path)).digest('hex'), path.startsWith('/app/') ? mtimeMs / 1000 : '-', mode.toString(8), path)
  }`

describe('the image', function () {
  // Two builds, each of which installs and compiles.
  this.timeout(480_000)
  let docker: Docker
  let tag: string
  let folder: TemporaryFolder
  const started: string[] = []
  before(async function () {
    const program = process.env['POSTERN_TEST_DOCKER']
    if (program === undefined) this.skip()
    const tars = await ensureBaseTars()
    if ('reason' in tars) this.skip()
    docker = await engine(program)
    await loadBaseImages(docker, tars)
    tag = await buildPostern(docker, { args: { ...labels, SOURCE_DATE_EPOCH: String(epoch) } })
    folder = temporaryFolder('image')
    writeFileSync(folder.file('postern.yaml'), policy, { mode: 0o644 })
    chmodSync(folder.path, 0o755)
  })
  after(async () => {
    for (const name of started) await docker.run(['rm', '--force', name]).catch(() => '')
    folder?.remove()
  })

  /** With everything taken away that can be. */
  const start = async (name: string, ...more: readonly string[]): Promise<string> => {
    const container = `postern-${name}-${process.pid}`
    started.push(container)
    const bare = ['--network', 'none', '--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--pids-limit', '64']
    const places = ['--tmpfs', '/run/postern:uid=65532,gid=65532,mode=0770', '--tmpfs', '/var/lib/postern:uid=65532,gid=65532,mode=0700']
    const file = ['-v', `${folder.file('postern.yaml')}:/etc/postern/postern.yaml:ro`, '-e', `POSTERN_ADMIN_SECRET=${secret}`]
    await docker.run(['run', '--detach', '--name', container, ...bare, ...places, ...file, ...more, tag])
    return container
  }
  const inspect = async <T>(container: string, path: string): Promise<T> =>
    JSON.parse(await docker.run(['inspect', '--format', `{{json ${path}}}`, container])) as T
  const inside = (container: string, script: string) =>
    docker.run(['exec', container, '/usr/local/bin/node', '--input-type=module', '-e', script])
  const healthy = (container: string, what: string) =>
    until(`the container to be ${what}`, async () => (await inspect<string>(container, '.State.Health.Status')) === what, 60_000)

  it('runs with a read-only root, without rights, and without a network, and becomes healthy', async () => {
    const container = await start('bare')
    await healthy(container, 'healthy')
    const status = JSON.parse(await docker.run(['exec', container, '/usr/local/bin/node', '/app/dist/main.js', 'status', '--json'])) as {
      ready: boolean
    }
    assert.equal(status.ready, true)
    const facts = JSON.parse(
      await inside(
        container,
        `import { readFileSync } from 'node:fs'
        const status = readFileSync('/proc/1/status', 'utf8')
        const field = (name) => status.match(new RegExp('^' + name + ':\\\\s*(.*)$', 'm'))[1]
        console.log(JSON.stringify({ uid: field('Uid'), caps: field('CapEff'), privileges: field('NoNewPrivs') }))`,
      ),
    ) as Record<string, string>
    assert.deepEqual(facts, { uid: '65532\t65532\t65532\t65532', caps: '0000000000000000', privileges: '1' })
  })

  it('answers checks on its socket', async () => {
    const container = started[0]!
    const answer = await inside(
      container,
      `import { credentials, loadPackageDefinition } from '/app/node_modules/@grpc/grpc-js/build/src/index.js'
      import { fromJSON } from '/app/node_modules/@grpc/proto-loader/build/src/index.js'
      import { readFileSync } from 'node:fs'
      const { root } = JSON.parse(readFileSync('/app/proto/served.json', 'utf8'))
      const { envoy } = loadPackageDefinition(fromJSON(root, { keepCase: true }))
      const client = new envoy.service.auth.v3.Authorization('unix:/run/postern/check.sock', credentials.createInsecure())
      const check = (path) => new Promise((done, fail) => client.Check({ attributes: { request: { http: { method: 'GET', host: 'h', path, headers: { ':authority': 'h' } } } } },
        (error, answer) => error ? fail(error) : done(answer.status?.code ?? 0)))
      console.log(JSON.stringify([await check('/healthz'), await check('/other')]))
      client.close()`,
    )
    assert.deepEqual(JSON.parse(answer), [0, 16])
  })

  it('becomes unhealthy where nothing answers', async () => {
    const container = await start(
      'sick',
      '-e',
      'POSTERN_HEALTH_URL=http://127.0.0.1:9999/readyz',
      '--health-interval',
      '1s',
      '--health-retries',
      '1',
      '--health-start-period',
      '0s',
    )
    await healthy(container, 'unhealthy')
    const [entry] = await inspect<{ ExitCode: number; Output: string }[]>(container, '.State.Health.Log')
    assert.equal(entry?.ExitCode, 1)
    assert.match(entry.Output, /9999.*ECONNREFUSED/)
  })

  it('drains at SIGTERM, and ends with 0', async () => {
    const container = started[0]!
    await docker.run(['stop', '--time', '15', container])
    assert.deepEqual(await inspect(container, '.State.ExitCode'), 0)
    const lines = (await docker.run(['logs', container])).split('\n').filter((line) => line.startsWith('{'))
    const told = lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
    assert.deepEqual(
      told.filter((msg) => ['serving', 'draining', 'closed'].includes(msg)),
      ['serving', 'draining', 'closed'],
    )
  })

  it('refuses to start with a wrong policy, with the sentence that says why', async () => {
    const container = `postern-wrong-${process.pid}`
    started.push(container)
    const { status, stderr } = spawnSync(docker.docker, ['run', '--name', container, '--network', 'none', '--read-only', tag], {
      env: { ...process.env, ...docker.env },
      encoding: 'utf8',
    })
    assert.equal(status, 2)
    assert.match(stderr, /\/etc\/postern\/postern\.yaml/)
  })

  it('bears the labels of OCI', async () => {
    const found = await inspect<Record<string, string>>(tag, '.Config.Labels')
    assert.deepEqual(found, {
      'org.opencontainers.image.title': 'Postern',
      'org.opencontainers.image.description': (JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as { description: string })
        .description,
      'org.opencontainers.image.source': labels.SOURCE,
      'org.opencontainers.image.revision': labels.REVISION,
      'org.opencontainers.image.version': labels.VERSION,
      'org.opencontainers.image.created': labels.CREATED,
      'org.opencontainers.image.licenses': labels.LICENSES,
    })
  })

  it('is configured for a user that is not root, by exec forms alone', async () => {
    const config = await inspect<{
      User: string
      Entrypoint: string[]
      Cmd: string[]
      Healthcheck: { Test: string[] }
      Env: string[]
      StopSignal: string
    }>(tag, '.Config')
    assert.deepEqual(
      [config.User, config.Entrypoint, config.Cmd, config.StopSignal],
      ['65532:65532', ['/usr/local/bin/node', '/app/dist/main.js'], ['serve'], 'SIGTERM'],
    )
    assert.deepEqual(config.Healthcheck.Test, ['CMD', '/usr/local/bin/node', '/app/health.mjs'])
    assert.deepEqual(config.Env.map((entry) => entry.split('=')[0]).sort(), ['NODE_ENV', 'PATH', 'POSTERN_CONFIG'])
  })

  describe('holds', () => {
    let files: string[]
    before(async () => {
      const container = `postern-files-${process.pid}`
      started.push(container)
      await docker.run(['create', '--name', container, tag])
      const tar = folder.file('image.tar')
      await docker.run(['export', '--output', tar, container])
      files = spawnSync('tar', ['-tf', tar], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 }).stdout.split('\n')
      rmSync(tar)
    })

    it('no shell, no package manager', () => {
      assert.ok(files.includes('app/dist/main.js') && files.includes('usr/local/bin/node'))
      assert.deepEqual(
        files.filter((name) => /(^|\/)(sh|bash|dash|busybox|npm|npx|corepack|yarn|apt|dpkg|curl|wget)$/.test(name)),
        [],
      )
    })

    it('no sources, tests, maps, or packages of development', () => {
      assert.deepEqual(
        files.filter((name) => /\.(ts|mts|cts|map)$/.test(name) || /^app\/(src|test|bench|docs|deploy)\//.test(name)),
        [],
      )
      const { dependencies, devDependencies } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as Record<
        string,
        Record<string, string>
      >
      const there = (name: string): boolean => files.some((file) => file.startsWith(`app/node_modules/${name}/`))
      assert.deepEqual(
        Object.keys(dependencies!).filter((name) => !there(name)),
        [],
      )
      // Some are packages that a production package needs too; these are not.
      const unwanted = ['typescript', 'mocha', '@biomejs/biome', 'c8', 'fast-check', 'testcontainers', '@types/node']
      assert.ok(unwanted.every((name) => name in devDependencies!))
      assert.deepEqual(unwanted.filter(there), [])
    })

    it('no keys, environments or configuration of this machine', () => {
      const suspect = /(^|\/)(\.env|\.npmrc|\.git|id_\w+|.*\.(key|p12|pfx))$/
      assert.deepEqual(
        files.filter((name) => suspect.test(name)),
        [],
      )
      assert.deepEqual(
        files.filter((name) => name.endsWith('.pem') && !name.startsWith('etc/ssl/')),
        [],
      )
    })

    it('a history without secrets, and no more than it should weigh', async () => {
      const history = await docker.run(['history', '--no-trunc', '--format', '{{.CreatedBy}}', tag])
      assert.doesNotMatch(history, /secret|password|token=|npmrc|NODE_EXTRA_CA/i)
      const bytes = await inspect<number>(tag, '.Size')
      const stated = Number(/It weighs (\d+) MB unpacked/.exec(readFileSync(join(checkout, 'docs/guides/images.md'), 'utf8'))?.[1])
      assert.ok(Math.abs(bytes / 1e6 - stated) < 5, `${bytes} bytes, and docs/guides/images.md says ${stated} MB`)
    })
  })

  it('is the same again when it is built again', async () => {
    const again = await buildPostern(docker, {
      tag: 'postern-local/postern:again',
      args: { ...labels, SOURCE_DATE_EPOCH: String(epoch) },
      noCache: true,
    })
    const digest = (of: string) =>
      docker.run(['run', '--rm', '--network', 'none', '--entrypoint', '/usr/local/bin/node', of, '-e', digests])
    const first = await digest(tag)
    assert.ok(first.split('\n').length > 1000)
    assert.ok(first.includes(` ${epoch} 100644 /app/dist/main.js`))
    assert.equal(await digest(again), first)
  })
})
