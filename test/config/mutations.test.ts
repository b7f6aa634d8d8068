import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { parse, stringify } from 'yaml'
import { readPolicy } from '../../src/config/read.ts'
import { policyFiles, usual } from './policy-files.ts'

type Tree = Record<string | number, unknown>
const junk: readonly unknown[] = [
  null,
  '',
  'x',
  '${',
  -1,
  1e99,
  true,
  [],
  [null],
  [[]],
  {},
  { x: 1 },
  { __proto__x: 1 },
  'constructor',
  '\u0000',
  'a'.repeat(300),
]

/** Every place of the data, as a function that changes a copy of it. */
function* places(data: unknown, path: readonly (string | number)[] = []): Generator<readonly (string | number)[]> {
  if (path.length > 0) yield path
  if (typeof data !== 'object' || data === null) return
  for (const key of Array.isArray(data) ? data.keys() : Object.keys(data)) yield* places((data as Tree)[key], [...path, key])
}

function change(data: unknown, path: readonly (string | number)[], value: unknown): unknown {
  const copy = structuredClone(data)
  const holder = path.slice(0, -1).reduce<unknown>((at, step) => (at as Tree)[step], copy) as Tree
  holder[path.at(-1) ?? ''] = value
  return copy
}

describe('a policy file with anything in any place', () => {
  const every = readFileSync(new URL('fixtures/every-setting.yaml', import.meta.url), 'utf8')
  for (const [name, text] of Object.entries({ usual, every })) {
    it(`is read or refused with places, and never throws (${name})`, async function () {
      this.timeout(60_000)
      const data: unknown = parse(text)
      const file = await policyFiles({})
      let refused = 0
      let turn = 0
      for (const path of places(data)) {
        const value = junk[turn++ % junk.length]
        await writeFile(file, stringify(change(data, path, value)))
        const result = await readPolicy({ file, env: { POSTERN_OWNERSHIP_LABEL: 'a/b' }, secrets: 'warn' })
        if (result.ok) continue
        refused++
        assert.notEqual(result.faults.length, 0)
        for (const fault of result.faults) {
          assert.equal(dirname(fault.file), dirname(file))
          assert.ok(fault.line >= 1 && fault.column >= 1 && fault.message !== '', JSON.stringify(fault))
        }
      }
      assert.ok(refused > 20, `${refused}`)
    })
  }

  it('cut anywhere is refused or read, and never throws', async function () {
    this.timeout(60_000)
    const file = await policyFiles({})
    for (let end = 0; end < usual.length; end += 7) {
      await writeFile(file, usual.slice(0, end))
      await readPolicy({ file, env: {} })
    }
  })
})
