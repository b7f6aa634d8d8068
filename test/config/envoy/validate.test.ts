import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { testCertificates } from '../../support/certificates.ts'
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary-folder.ts'
import { type Fixture, fixturesIn } from './fixtures.ts'

const binary = process.env['POSTERN_TEST_ENVOY']
const run = promisify(execFile)

/** Each fixture is a file that somebody could run: its fault is no mistake that Envoy would tell. */
describe('the real Envoy', function () {
  this.timeout(60_000)
  let folder: TemporaryFolder
  before(function () {
    if (binary === undefined) this.skip()
    folder = temporaryFolder()
    const certificates = testCertificates(folder.path, 'workloads-ca')
    certificates.server('server', { dns: ['edge.example'] })
  })
  after(() => folder?.remove())

  /** What it says against a configuration; empty where it takes it. */
  async function objection({ file, text }: Fixture): Promise<string> {
    const path = folder.file(file)
    writeFileSync(path, text.replaceAll('/etc/envoy/certs', folder.path))
    try {
      await run(binary ?? '', ['--mode', 'validate', '--log-level', 'critical', '--config-path', path], { timeout: 20_000 })
      return ''
    } catch (error) {
      return (error as { stderr?: string }).stderr || String(error)
    }
  }

  it('takes all bootstraps among the fixtures', async () => {
    const fixtures = (['bootstrap', 'policy', 'good'] as const).flatMap(fixturesIn).filter(({ text }) => /^static_resources:/m.test(text))
    assert.ok(fixtures.length > 90)
    const refused: Record<string, string> = {}
    for (const fixture of fixtures) {
      const said = await objection(fixture)
      if (said !== '') refused[fixture.file] = said
    }
    assert.deepEqual(refused, {})
  })

  it('refuses those under refused/', async () => {
    for (const fixture of fixturesIn('refused')) assert.notEqual(await objection(fixture), '', fixture.file)
  })
})
