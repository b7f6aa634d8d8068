import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { cli } from '../cli/captured.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'

/** What Google's libraries read of an `external_account` file whose token is in a file (google.aip.dev/auth/4117). */
const members: Readonly<Record<string, RegExp>> = {
  type: /^external_account$/,
  audience: /^\/\/iam\.googleapis\.com\/projects\/\d+\/locations\/global\/workloadIdentityPools\/[a-z0-9-]+\/providers\/[a-z0-9-]+$/,
  subject_token_type: /^urn:ietf:params:oauth:token-type:jwt$/,
  token_url: /^https:\/\/sts\.googleapis\.com\/v1\/token$/,
  token_info_url: /^https:\/\/sts\.googleapis\.com\/v1\/introspect$/,
  universe_domain: /^googleapis\.com$/,
}

describe('postern connect gcp', () => {
  let folder: TemporaryFolder
  beforeEach(() => {
    folder = temporaryFolder()
  })
  afterEach(() => folder.remove())

  const words = (...more: readonly string[]): string[] => [
    ...['connect', 'gcp', '--project-number', '104857600000', '--pool', 'agents', '--provider', 'postern'],
    ...['--token-file', '/run/postern/token', '--out', folder.file('gcp.json'), ...more],
  ]
  const written = (): Record<string, unknown> => JSON.parse(readFileSync(folder.file('gcp.json'), 'utf8')) as Record<string, unknown>

  it("writes what Google's libraries read, for its owner alone", async () => {
    const { code, out, err } = await cli(words())
    assert.equal(code, 0, err)
    assert.match(out, /GOOGLE_APPLICATION_CREDENTIALS/)
    const { credential_source, ...rest } = written()
    assert.deepEqual(Object.keys(rest).sort(), Object.keys(members).sort())
    for (const [name, form] of Object.entries(members)) assert.match(String(rest[name]), form, name)
    assert.deepEqual(credential_source, { file: '/run/postern/token', format: { type: 'text' } })
    assert.equal(statSync(folder.file('gcp.json')).mode & 0o777, 0o600)
  })
  it('acts as a service account, and takes the token out of JSON', async () => {
    const { code } = await cli(words('--service-account', 'runner@acme-prod.iam.gserviceaccount.com', '--token-field', 'access_token'))
    assert.equal(code, 0)
    const file = written()
    assert.equal(
      file['service_account_impersonation_url'],
      'https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/runner@acme-prod.iam.gserviceaccount.com:generateAccessToken',
    )
    assert.deepEqual(file['credential_source'], {
      file: '/run/postern/token',
      format: { type: 'json', subject_token_field_name: 'access_token' },
    })
  })
  it('makes a relative file absolute, and says as JSON what it did', async () => {
    const { out } = await cli(words('--token-file', 'token', '--json'))
    const said = JSON.parse(out) as { audience: string; credentials: { credential_source: { file: string } } }
    assert.equal(said.credentials.credential_source.file, `${process.cwd()}/token`)
    assert.equal(said.audience, written()['audience'])
  })
  it('writes over nothing unless told to', async () => {
    assert.equal((await cli(words())).code, 0)
    const again = await cli(words('--pool', 'other'))
    assert.deepEqual([again.code, again.err], [1, `${folder.file('gcp.json')} is there already: --force writes over it\n`])
    assert.equal((await cli(words('--pool', 'other', '--force'))).code, 0)
    assert.match(String(written()['audience']), /other/)
  })
  it('refuses what Google would not take, and what could lead elsewhere', async () => {
    const rows: readonly [option: string, value: string][] = [
      ['--project-number', 'acme-prod'],
      ['--project-number', '0'],
      ['--pool', 'a'],
      ['--pool', 'gcp-agents'],
      ['--provider', 'x/../../y'],
      ['--provider', 'Postern'],
      ['--service-account', 'alice@acme.example'],
      ['--service-account', 'x@evil.example/y.gserviceaccount.com'],
    ]
    for (const [option, value] of rows) {
      const { code, err } = await cli(words(option, value))
      assert.equal(code, 2, `${option} ${value}`)
      assert.match(err, new RegExp(`^${option} `))
    }
    assert.equal((await cli(['connect', 'gcp', '--pool', 'agents'])).code, 2)
  })
})
