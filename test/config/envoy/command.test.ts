import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Finding } from '../../../src/config/envoy/finding.ts'
import { cli } from '../../cli/captured.ts'
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary-folder.ts'
import { fixturePath } from './fixtures.ts'

const good = fixturePath('good/bootstrap.yaml')
const policy = fixturePath('policies/users.yaml')
const open = fixturePath('bootstrap/fails-open.yaml')

interface Printed {
  readonly ok: boolean
  readonly faults: readonly { readonly file: string }[]
  readonly warnings: readonly object[]
  readonly revision?: string
  readonly envoy: { readonly findings: readonly Finding[]; readonly not_compared: readonly string[] }
}

describe('postern lint --envoy', () => {
  let folder: TemporaryFolder
  let home: string
  before(() => {
    folder = temporaryFolder()
    home = process.cwd()
    // No ./postern.yaml is here.
    process.chdir(folder.path)
  })
  after(() => {
    process.chdir(home)
    folder.remove()
  })

  const json = async (...argv: string[]) => {
    const { code, out } = await cli(['lint', '--json', ...argv])
    return { code, printed: JSON.parse(out) as Printed }
  }

  it('ends with 0 where nothing is unsafe, and says what it could not compare', async () => {
    const { code, out, err } = await cli(['lint', '--envoy', good])
    assert.deepEqual([code, out], [0, ''])
    assert.match(err, /^not compared: without a policy /m)
    assert.match(err, /0 errors, 0 warnings, 0 notes\n$/)
  })

  it('prints a table of findings, and ends with 1', async () => {
    const { code, out } = await cli(['lint', '--envoy', open, '--envoy', good])
    assert.equal(code, 1)
    const [head, row, ...others] = out.trimEnd().split('\n')
    assert.match(head!, /^SEVERITY +CODE +PLACE +FINDING$/)
    assert.match(
      row!,
      /^error +ext-authz-fail-open +\S*fails-open\.yaml:\d+:23 +static_resources\.listeners\[0\]….*failure_mode_allow: .*; write failure_mode_allow: false$/,
    )
    assert.deepEqual(others, [])
  })

  it('prints JSON', async () => {
    const { code, printed } = await json('--envoy', fixturePath('bootstrap/route-unasked.yaml'))
    assert.deepEqual([code, printed.ok, printed.faults, printed.warnings], [1, false, [], []])
    const [finding] = printed.envoy.findings
    assert.deepEqual(
      [finding?.severity, finding?.code, finding?.virtual_host, finding?.route, finding?.column],
      ['error', 'ext-authz-route-disabled', 'all', 'sandboxes', 31],
    )
    assert.match(
      finding?.path ?? '',
      /^static_resources\.listeners\[0\]\..*\.typed_per_filter_config\["envoy\.filters\.http\.ext_authz"\]\.disabled$/,
    )
    assert.equal(printed.envoy.not_compared.length, 1)
  })

  it('ends with 0 for warnings, and with 1 under --strict', async () => {
    const warned = fixturePath('bootstrap/no-timeout.yaml')
    assert.equal((await cli(['lint', '--envoy', warned])).code, 0)
    assert.equal((await cli(['lint', '--strict', '--envoy', warned])).code, 1)
    assert.equal((await cli(['lint', '--strict', '--envoy', fixturePath('bootstrap/trusts-a-hop.yaml')])).code, 0)
  })

  it('compares with the policy that is named', async () => {
    const other = fixturePath('policy/another-issuer.yaml')
    const { code, printed } = await json('--config', policy, '--envoy', other)
    assert.deepEqual([code, printed.envoy.findings.map((finding) => finding.code)], [0, ['policy-issuer']])
    assert.deepEqual([printed.envoy.not_compared, typeof printed.revision], [[], 'string'])
    assert.deepEqual((await json('--envoy', other)).printed.envoy.findings, [])
    assert.equal((await json(policy, '--envoy', other)).printed.envoy.findings.length, 1)
  })

  it('compares with ./postern.yaml where it is there', async () => {
    writeFileSync(folder.file('postern.yaml'), readFileSync(policy))
    const { printed } = await json('--envoy', fixturePath('policy/another-socket.yaml'))
    assert.deepEqual(
      printed.envoy.findings.map(({ code }) => code),
      ['policy-check-address'],
    )
    rmSync(folder.file('postern.yaml'))
  })

  it('ends with 2 for what cannot be read', async () => {
    const { code, err } = await cli(['lint', '--envoy', folder.file('none.yaml')])
    assert.equal(code, 2)
    assert.match(err, /none\.yaml: there is no file that can be read here \(ENOENT\)/)
    const missing = await cli(['lint', '--config', folder.file('none.yaml'), '--envoy', good])
    assert.equal(missing.code, 2)
    const strange = folder.file('strange.yaml')
    writeFileSync(strange, 'a: 1\n')
    const { code: second, printed } = await json('--envoy', strange)
    assert.deepEqual([second, printed.ok, printed.faults.map(({ file }) => file)], [2, false, [strange]])
    writeFileSync(strange, Buffer.from([0x61, 0x3a, 0xff]))
    assert.match((await cli(['lint', '--envoy', strange])).err, /not UTF-8/)
    assert.equal((await cli(['lint', '--envoy'])).code, 2)
  })

  it('ends with 2 for a policy with faults, and still tells what is unsafe', async () => {
    const broken = folder.file('broken.yaml')
    writeFileSync(broken, 'version: 2\n')
    const { code, printed } = await json('--config', broken, '--envoy', open)
    assert.deepEqual([code, printed.ok, printed.faults.length > 0, printed.envoy.findings.length], [2, false, true, 1])
  })
})
