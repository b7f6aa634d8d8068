import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { readOptions, UsageError } from '../../bench/options.ts'
import { job, policyText } from '../../bench/policy.ts'
import { allRows, chooseRows, quickRows } from '../../bench/rows/index.ts'
import { readPolicy } from '../../src/config/read.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

describe('options of the benchmark', () => {
  it('choose a mode and its rounds', () => {
    assert.equal(readOptions([]).mode, 'full')
    assert.equal(readOptions(['--quick', '--rounds', '3', '--seconds', '1.5']).plan.seconds, 1.5)
    assert.equal(readOptions(['--guard', '--base', 'v0.1.0']).base, 'v0.1.0')
    assert.deepEqual(readOptions(['--rows', 'a,b']).rows, ['a', 'b'])
  })

  for (const args of [
    ['--quick', '--guard'],
    ['--base', 'x'],
    ['--guard', '--rounds', '3'],
    ['--rounds', '2.5'],
    ['--seconds', 'long'],
    ['--fast'],
    ['--quick', '--rows', 'postern'],
  ])
    it(`refuse ${args.join(' ')}`, () => assert.throws(() => readOptions(args), UsageError))
})

describe('rows of the benchmark', () => {
  const ids = (words: string[]) => {
    const rows = chooseRows(words)
    return 'unknown' in rows ? rows.unknown : rows.map(({ id }) => id)
  }

  it('come with what they are compared with', () => {
    assert.deepEqual(ids(['postern-unix']), ['grpc-go', 'postern-unix'])
    assert.deepEqual(ids(['envoy-none']), ['envoy-none', 'envoy-grpc-go'])
    assert.equal(ids(['no-such-row']), 'no-such-row')
  })

  it('have a reference in each group but memory', () => {
    for (const group of new Set(allRows.map((row) => row.group)))
      assert.equal(allRows.filter((row) => row.group === group && row.reference).length, group === 'memory' ? 0 : 1, group)
  })

  it('hold those of --quick', () => {
    for (const id of quickRows)
      assert(
        allRows.some((row) => row.id === id),
        id,
      )
  })
})

describe('policies of the benchmark', () => {
  const places = { check: 'unix:/tmp/check.sock', admin: '127.0.0.1:9192', issuer: '127.0.0.1:9193', state: 'file:./postern.db' }
  const read = async (text: string) => {
    const folder = temporaryFolder()
    try {
      writeFileSync(folder.file('postern.yaml'), text)
      return await readPolicy({ file: folder.file('postern.yaml'), env: {}, realm: undefined, onSecretFault: () => {} })
    } finally {
      folder.remove()
    }
  }

  for (const [name, more] of Object.entries({ plain: {}, large: { routes: 1_000, validators: 10 }, audited: { audit: 'all' } as const }))
    it(`are such as the program reads: ${name}`, async () => {
      const policy = await read(policyText({ ...places, ...more }))
      assert(policy.ok, policy.ok ? '' : JSON.stringify(policy.faults))
      assert.equal(policy.loaded.settings.routes.length, 'routes' in more ? more.routes : job.routes)
    })

  it('fit into a policy file with the most routes that are measured', () =>
    assert(Buffer.byteLength(policyText({ ...places, routes: 10_000 })) <= 1024 * 1024))
})
