import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { testCertificates } from '../../support/certificates.ts'
import { type RunningEnvoy, startEnvoy } from '../../support/envoy.ts'
import { request } from '../../support/request.ts'
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary-folder.ts'
import { startUpstream, type Upstream } from '../../support/upstream.ts'
import { fixturePath, lintText } from './fixtures.ts'

/** What lint says of a file, and what Envoy then does with nobody at Postern's socket. */
interface Case {
  readonly file: string
  /** Host and path, and whether the request reaches the upstream. */
  readonly requests: readonly (readonly [target: string, passes: boolean])[]
}

const sandbox = 'edge.example/v1/sandboxes/s1'
const console_ = 'console.example/'
const cases: readonly Case[] = [
  {
    file: 'good/bootstrap.yaml',
    requests: [
      [sandbox, false],
      [console_, false],
      ['edge.example/else', false],
    ],
  },
  {
    file: 'good/made-by-envoy-gateway.yaml',
    requests: [
      [sandbox, false],
      [console_, false],
    ],
  },
  {
    file: 'good/made-by-istio.yaml',
    requests: [
      [sandbox, false],
      [console_, false],
    ],
  },
  {
    file: 'bootstrap/fails-open.yaml',
    requests: [
      [sandbox, true],
      [console_, true],
    ],
  },
  {
    file: 'bootstrap/route-unasked.yaml',
    requests: [
      [sandbox, true],
      [console_, false],
    ],
  },
  {
    file: 'bootstrap/route-unasked-by-filter-config.yaml',
    requests: [
      [sandbox, true],
      [console_, false],
    ],
  },
  {
    file: 'bootstrap/host-unasked.yaml',
    requests: [
      [sandbox, false],
      [console_, true],
    ],
  },
  {
    file: 'bootstrap/is-off-unless-turned-on.yaml',
    requests: [
      [sandbox, true],
      [console_, true],
    ],
  },
  {
    file: 'bootstrap/route-turned-on-by-nobody.yaml',
    requests: [
      [sandbox, true],
      [console_, false],
    ],
  },
  {
    file: 'bootstrap/custom-policy-for-some-paths.yaml',
    requests: [
      [sandbox, false],
      [console_, true],
    ],
  },
  {
    file: 'bootstrap/asks-where-a-matcher-says.yaml',
    requests: [
      [sandbox, false],
      ['console.example/assets/x', true],
    ],
  },
  {
    file: 'bootstrap/asks-where-metadata-says.yaml',
    requests: [
      [sandbox, true],
      [console_, true],
    ],
  },
  {
    file: 'bootstrap/nobody-is-asked.yaml',
    requests: [
      [sandbox, true],
      [console_, true],
    ],
  },
]

describe('what lint calls unasked, passes the real Envoy while Postern is away; what it does not, is 503', function () {
  this.timeout(60_000)
  let folder: TemporaryFolder
  let upstream: Upstream
  let ca: string
  before(async function () {
    if (process.env['POSTERN_TEST_ENVOY'] === undefined) this.skip()
    folder = temporaryFolder()
    const certificates = testCertificates(folder.path, 'workloads-ca')
    certificates.server('server', { dns: ['edge.example', 'console.example'] })
    ca = certificates.caPem
    upstream = await startUpstream('sandbox')
  })
  after(async () => {
    await upstream?.stop()
    folder?.remove()
  })

  for (const { file, requests } of cases) {
    it(file, async () => {
      const text = readFileSync(fixturePath(file), 'utf8')
      assert.equal(
        lintText(text).findings.some(({ severity }) => severity === 'error'),
        requests.some(([, passes]) => passes),
      )
      const local = text
        .replaceAll('/etc/envoy/certs', folder.path)
        .replaceAll('/run/postern/check.sock', folder.file('nobody.sock'))
        .replace(/address: (?:0\.0\.0\.0|127\.0\.0\.1), port_value: (?:10443|9901)/g, 'address: 127.0.0.1, port_value: 0')
        .replace(/port_value: 808[12]/g, `port_value: ${upstream.port}`)
      let envoy: RunningEnvoy | undefined
      try {
        envoy = await startEnvoy(local)
        for (const [target, passes] of requests) {
          const [host = '', ...path] = target.split('/')
          const { status } = await request({
            port: envoy.port('edge'),
            tls: { ca, servername: host },
            headers: { host },
            path: `/${path.join('/')}`,
          })
          assert.equal(status, passes ? 200 : 503, target)
        }
      } finally {
        await envoy?.stop()
      }
    })
  }
})
