import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { sourceFile } from '../../src/config/document.ts'
import { openParser, type ParserLimits, parserHere } from '../../src/config/document-process.ts'
import { readPolicy } from '../../src/config/read.ts'
import { Turns } from '../../src/config/turns.ts'
import { policyFiles, usual } from './policy-files.ts'

const folder = new URL('fixtures/faults/', import.meta.url).pathname

/** The usual policy with so many routes more. */
const large = (routes: number): string =>
  usual + Array.from({ length: routes }, (_, i) => `  - { id: r${i}, path: "/r${i}/{id}/**", roles: [invoke], claims: [C] }\n`).join('')

describe('YAML that is parsed in a process of its own', () => {
  const parsers: ReturnType<typeof openParser>[] = []
  const open = (limits: ParserLimits = {}) => {
    const parser = openParser(new Turns(), { smallBytes: 0, ...limits })
    parsers.push(parser)
    return parser
  }
  afterEach(() => Promise.all(parsers.splice(0).map((parser) => parser.close())))

  it('is the same, with the same faults at the same places', async () => {
    const apart = open()
    const odd = Buffer.from('a: .nan\nb: [1, &x {c: "d e"}]\n__proto__: *x\nroutes: [{ when: |\n  f\n g }]\n')
    for (const bytes of [odd, ...readdirSync(folder).map((name) => readFileSync(folder + name))]) {
      const [here, there] = [await parserHere.parse('f', bytes), await apart.parse('f', bytes)]
      assert.deepEqual(there.data, here.data)
      assert.deepEqual([there.faults, there.brokenAt], [here.faults, here.brokenAt])
      const [one, two] = [sourceFile('f', here), sourceFile('f', there)]
      for (const path of [[], ['a'], ['b', 1, 'c'], ['routes', 0], ['routes', 0, 'when'], ['identity', 0, 'name']])
        assert.deepEqual(two.locate(path, { offset: 2 }), one.locate(path, { offset: 2 }))
    }
  })

  it('makes the same policy of a large file, without holding up this thread', async () => {
    const file = await policyFiles({ 'postern.yaml': large(4000) })
    let [longest, last] = [0, performance.now()]
    const beat = setInterval(() => {
      longest = Math.max(longest, performance.now() - last)
      last = performance.now()
    }, 1)
    const served = await readPolicy({ file, env: {}, serving: true })
    clearInterval(beat)
    assert.ok(served.ok)
    assert.ok(longest < 150, `this thread was held for ${longest} ms`)
    const read = await readPolicy({ file, env: {} })
    assert.ok(read.ok)
    assert.equal(read.loaded.settings.routes.length, 4002)
    assert.equal(served.loaded.settings.routes.length, 0)
    assert.equal(served.loaded.revision, read.loaded.revision)
    assert.deepEqual(served.loaded.warnings, read.loaded.warnings)
    const ids = ({ policy }: typeof read.loaded): string[] => policy.routes.routes.map(({ id }) => id)
    assert.deepEqual(ids(served.loaded), ids(read.loaded))
    const [a, b] = served.loaded.policy.routes.routes.slice(-2)
    assert.equal(a?.roles, b?.roles)
  })

  it('tells all faults of a large file with their places', async () => {
    const file = await policyFiles({ 'postern.yaml': `${large(1000)}  - { id: last, path: /x, rolls: [invoke] }\n` })
    const served = await readPolicy({ file, env: {}, serving: true })
    const read = await readPolicy({ file, env: {} })
    assert.ok(!served.ok && !read.ok)
    assert.deepEqual(served.faults, read.faults)
    assert.deepEqual([served.faults[0]?.path, served.faults[0]?.line], ['routes[1002].rolls', large(1000).split('\n').length])
  })

  it('is a fault of the file where it takes too long or too much, and the next file is parsed again', async () => {
    const slow = open({ longestMs: 1 })
    assert.match((await slow.parse('f', Buffer.from('a: b'))).faults[0]?.message ?? '', /cannot be read: its YAML took longer than 0.001 s/)
    const full = open({ heapMiB: 16 })
    const [fault] = (await full.parse('f', Buffer.from(large(20_000)))).faults
    assert.match(fault?.message ?? '', /cannot be read: its YAML needs more than 16 MiB of memory/)
    assert.deepEqual((await full.parse('f', Buffer.from('a: b'))).data, { a: 'b' })
  }).timeout(20_000)
})
