import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readPolicy } from '../../src/config/read.ts'

const folder = new URL('fixtures/faults/', import.meta.url).pathname
const fixtures = new URL('fixtures/', import.meta.url).pathname

/** Each fixture ends with its faults: `#! line:column path | message`. */
const expected = (file: string): string[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('#! '))
    .map((line) => line.slice(3))

async function told(file: string): Promise<string[]> {
  const result = await readPolicy({ file, env: {} })
  assert.ok(!result.ok, 'the file was accepted')
  for (const fault of result.faults) assert.equal(fault.file, file)
  return result.faults.map((fault) => `${fault.line}:${fault.column} ${fault.path} | ${fault.message}`)
}

describe('faults of a policy file', () => {
  for (const name of readdirSync(folder)) {
    it(`${name.replace('.yaml', '').replaceAll('-', ' ')}`, async () => {
      const want = expected(join(folder, name))
      assert.notEqual(want.length, 0)
      assert.deepEqual(await told(join(folder, name)), want)
    })
  }

  it('ten ways of being broken give ten errors in one run', () => {
    assert.equal(expected(join(folder, 'ten-ways.yaml')).length, 10)
  })

  it('finds none in the file with every setting', async () => {
    const result = await readPolicy({ file: join(fixtures, 'every-setting.yaml'), env: {}, secrets: 'warn' })
    assert.ok(result.ok, JSON.stringify(result))
  })

  describe('files that are none', () => {
    const cases: readonly [name: string, content: Buffer | undefined, message: RegExp][] = [
      ['missing', undefined, /cannot be read: there is no such file/],
      ['empty', Buffer.from(''), /expected a mapping of settings/],
      ['a list', Buffer.from('- a\n'), /expected a mapping of settings/],
      ['not UTF-8', Buffer.from([0x61, 0x3a, 0x20, 0xff, 0xfe]), /not UTF-8/],
      ['over 4 MiB', Buffer.alloc(4 * 1024 * 1024 + 1, '#'), /expected at most 4194304/],
      ['aliases that grow without bound', Buffer.from(bomb()), /alias/],
      ['nested without end', Buffer.from(`a: ${'['.repeat(200)}${']'.repeat(200)}`), /nested deeper than 64 levels/],
      ['thousands of broken lines', Buffer.from(`version: 1\n${'\tx: [\n'.repeat(5000)}`), /not YAML/],
    ]
    for (const [name, content, message] of cases) {
      it(name, async () => {
        const file = join(await mkdtemp(join(tmpdir(), 'postern-')), 'postern.yaml')
        if (content) await writeFile(file, content)
        const result = await readPolicy({ file, env: {} })
        assert.ok(!result.ok)
        assert.match(result.faults[0]?.message ?? '', message)
        assert.ok(result.faults.length <= 101, `${result.faults.length} faults`)
      })
    }
  })
})

function bomb(): string {
  let text = 'a0: &a0 [x, x, x, x, x, x, x, x, x]\n'
  for (let i = 1; i < 12; i++)
    text += `a${i}: &a${i} [${Array(9)
      .fill(`*a${i - 1}`)
      .join(', ')}]\n`
  return text
}
