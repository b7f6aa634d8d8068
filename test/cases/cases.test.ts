import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { readCases } from '../../src/cli/case-file.ts'
import { runCase } from '../../src/cli/run-case.ts'
import { type Loaded, readPolicy } from '../../src/config/read.ts'

const folder = fileURLToPath(new URL('.', import.meta.url))
const tables = readdirSync(folder).filter((name) => name.endsWith('.yaml') && !name.startsWith('policy'))

describe('cases', () => {
  for (const table of tables) {
    describe(table, () => {
      const { policy, cases } = parse(readFileSync(`${folder}${table}`, 'utf8')) as { policy: string; cases: { name: string }[] }
      let loaded: Loaded
      before(async () => {
        const read = await readPolicy({ file: `${folder}${policy}`, env: { SECRET: 'a-secret-of-thirty-two-characters' } })
        assert.ok(read.ok, JSON.stringify(read))
        loaded = read.loaded
      })
      for (const [i, { name }] of cases.entries()) {
        it(name, async () => {
          const file = await readCases(`${folder}${table}`)
          const { failures } = await runCase(loaded, file, file.cases[i]!)
          assert.deepEqual(failures, [])
        })
      }
    })
  }
})
