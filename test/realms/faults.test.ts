import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { parse } from 'yaml'
import { serve } from '../../src/compose.ts'
import { StartRefused } from '../../src/core/start-refused.ts'
import { cli } from '../cli/captured.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'

interface Case {
  readonly name: string
  readonly main: string
  readonly files: Readonly<Record<string, string>>
  /** `*` stands for anything. */
  readonly faults: readonly string[]
}

const cases = parse(readFileSync(new URL('./faults.yaml', import.meta.url), 'utf8')) as readonly Case[]
const [good] = cases

describe('the files of several realms, where they are wrong', () => {
  let folder: TemporaryFolder
  beforeEach(() => {
    folder = temporaryFolder()
    mkdirSync(folder.file('tenants'))
  })
  afterEach(() => folder.remove())

  const write = ({ main, files }: Pick<Case, 'main' | 'files'>): string => {
    for (const [file, text] of Object.entries(files)) writeFileSync(folder.file(`tenants/${file}`), text)
    writeFileSync(folder.file('postern.yaml'), main)
    return folder.file('postern.yaml')
  }
  const shown = (lines: readonly string[]): string[] => lines.map((line) => line.replaceAll(`${folder.path}/`, ''))
  const like = (wanted: string) =>
    new RegExp(
      `^${wanted
        .trim()
        .split('*')
        .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
        .join('.*')}$`,
    )

  for (const { name, faults, ...files } of cases)
    it(`are told: ${name}`, async () => {
      const config = write(files)
      const { code, out } = await cli(['lint', '-c', config])
      const told = shown(out.split('\n').filter((line) => line !== '' && !line.endsWith('(warning)')))
      assert.equal(told.length, faults.length, told.join('\n'))
      for (const [i, wanted] of faults.entries()) assert.match(told[i] ?? '', like(wanted))
      assert.equal(code, faults.length > 0 ? 2 : 0)
      // A service refuses to start with the same sentences.
      if (faults.length > 0)
        await assert.rejects(serve({ config, env: {} }), (cause: unknown) => {
          assert.ok(cause instanceof StartRefused)
          assert.deepEqual(shown([...cause.sentences]).sort(), [...told].sort())
          return true
        })
    })

  it('are none of --realm: a command that needs one is told which there are', async () => {
    const config = write(good!)
    writeFileSync(folder.file('cases.yaml'), 'cases: [{ name: any, request: { path: /any }, expect: { decision: allow } }]')
    for (const argv of [
      ['routes'],
      ['explain', '--path', '/any'],
      ['test', folder.file('cases.yaml')],
      ['status'],
      ['owner', 'get', 'sandbox', 's1'],
    ]) {
      const { code, err } = await cli([...argv, '-c', config])
      assert.equal(code, 2, argv.join(' '))
      assert.match(err, /this file names several realms: choose one by --realm: acme, globex/)
    }
    const chosen = await cli(['routes', '-c', config, '--realm', 'globex', '--json'])
    assert.equal(chosen.code, 0)
    const other = await cli(['routes', '-c', config, '--realm', 'initech'])
    assert.deepEqual(
      [other.code, shown([other.err.trim()])],
      [2, ['postern.yaml:2:9: realms: there is no realm "initech": expected one of acme, globex']],
    )
  })

  it('are those of the environment too: a variable that would name every realm', async () => {
    const { code, out } = await cli(['lint', '-c', write(good!)], { POSTERN_REALM: 'acme' })
    assert.equal(code, 2)
    assert.match(out, /in environment variable POSTERN_REALM: it would be that of every realm/)
  })

  it('have one revision each, of both files', async () => {
    const config = write(good!)
    const revisions = async () => {
      const { realms } = JSON.parse((await cli(['lint', '--json', '-c', config])).out) as { realms: Record<string, { revision: string }> }
      return [realms['acme']?.revision, realms['globex']?.revision]
    }
    const before = await revisions()
    assert.notEqual(before[0], before[1])
    writeFileSync(folder.file('tenants/acme.yaml'), `${good!.files['acme.yaml']}# more\n`)
    const after = await revisions()
    assert.notEqual(after[0], before[0])
    assert.equal(after[1], before[1])
    const alone = JSON.parse((await cli(['lint', '--json', '-c', config, '--realm', 'acme'])).out) as { realms: object }
    assert.deepEqual(alone.realms, { acme: { revision: after[0] } })
  })
})
