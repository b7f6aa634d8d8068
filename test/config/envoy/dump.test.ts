import assert from 'node:assert/strict'
import { testCertificates } from '../../support/certificates.ts'
import { type RunningEnvoy, startEnvoy } from '../../support/envoy.ts'
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary-folder.ts'
import { expected, fixturesIn, lintText } from './fixtures.ts'

/** A dump leaves out what has its default, and is written by other rules than files are: the same must be found in it. */
const dumped = [
  'any-audience.yaml',
  'any-certificate.yaml',
  'asks-about-half.yaml',
  'cluster-of-a-split-unasked.yaml',
  'custom-policy-for-some-paths.yaml',
  'escaped-slashes-unescaped.yaml',
  'fails-open.yaml',
  'host-unasked.yaml',
  'keys-fetched-late.yaml',
  'no-status-on-error.yaml',
  'no-timeout.yaml',
  'route-turned-on-by-nobody.yaml',
  'route-unasked-by-filter-config.yaml',
  'underscores-allowed.yaml',
]

describe('the dump of a real Envoy', function () {
  this.timeout(120_000)
  let folder: TemporaryFolder
  before(function () {
    if (process.env['POSTERN_TEST_ENVOY'] === undefined) this.skip()
    folder = temporaryFolder()
    const certificates = testCertificates(folder.path, 'workloads-ca')
    certificates.server('server', { dns: ['edge.example'] })
  })
  after(() => folder?.remove())

  async function dumpOf(text: string): Promise<string> {
    const local = text
      .replaceAll('/etc/envoy/certs', folder.path)
      .replace(/address: (?:0\.0\.0\.0|127\.0\.0\.1|10\.0\.0\.1), port_value: (?:10443|10080|9901)/g, 'address: 127.0.0.1, port_value: 0')
    let envoy: RunningEnvoy | undefined
    try {
      envoy = await startEnvoy(local)
      return await envoy.admin('/config_dump')
    } finally {
      await envoy?.stop()
    }
  }

  it('has fixtures to dump', () => {
    const files = fixturesIn('bootstrap').map(({ file }) => file)
    assert.deepEqual(
      dumped.filter((file) => !files.includes(file)),
      [],
    )
  })

  for (const { file, text } of fixturesIn('good')) {
    if (!/^static_resources:/m.test(text)) continue
    it(`has nothing to find where ${file} has nothing`, async () => {
      const linted = lintText(await dumpOf(text))
      assert.deepEqual([linted.faults, linted.findings], [[], []])
    })
  }

  for (const { name, file, text } of fixturesIn('bootstrap')) {
    if (!dumped.includes(file)) continue
    it(name, async () => {
      const linted = lintText(await dumpOf(text))
      assert.deepEqual(
        linted.findings.map(({ severity, code }) => `${severity} ${code}`),
        expected(text).map((mark) => mark.slice(mark.indexOf(' ') + 1)),
      )
    })
  }
})
