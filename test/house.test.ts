import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const src = fileURLToPath(new URL('../src/', import.meta.url))

/** Folder → the folders it may import; what is not listed may import nothing of ours. */
const allowed: Record<string, readonly string[]> = {
  core: [],
  check: ['core'],
  stages: ['check', 'core'],
  identity: ['check', 'core'],
  issuer: ['check', 'core'],
  admin: ['check', 'core'],
  adapters: ['check', 'core'],
  config: ['check', 'core'],
  wire: ['check', 'core'],
  cli: ['config', 'check', 'core', 'compose'],
  compose: ['wire', 'check', 'stages', 'identity', 'core', 'issuer', 'admin', 'adapters', 'config', 'compose'],
  main: ['cli', 'core'],
}
/** Packages that core may not have: all of them; it is pure but for what Node computes. */
const pureBuiltins = new Set(['node:buffer', 'node:crypto'])

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
const importPattern = /(?:^|\n)\s*(?:import|export)\s(?:[^'"]*?\sfrom\s)?['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)/g

/** Every import of a file, type-only ones and `import('…')` types among them. */
function importsOf(file: string): string[] {
  return [...readFileSync(join(src, file), 'utf8').matchAll(importPattern)].map((match) => match[1] ?? match[2]!)
}

const room = (file: string): string => (file.includes('/') ? file.slice(0, file.indexOf('/')) : file.replace(/\.ts$/, ''))

const graph = new Map(
  files.map((file) => [
    file,
    importsOf(file)
      .filter((to) => to.startsWith('.'))
      .map((to) => normalize(join(dirname(file), to))),
  ]),
)

describe('the house', () => {
  it('has files to look at', () => {
    assert.ok(files.length > 20)
    assert.ok([...graph.values()].flat().length > 40)
  })

  it('imports only along the arrows', () => {
    const forbidden: string[] = []
    for (const [file, targets] of graph) {
      const from = room(file)
      for (const target of targets) {
        const to = room(target)
        if (to !== from && !(allowed[from] ?? []).includes(to)) forbidden.push(`${file} imports ${target}`)
      }
    }
    assert.deepEqual(forbidden, [])
  })

  it('keeps core free of packages', () => {
    const forbidden = files
      .filter((file) => room(file) === 'core')
      .flatMap((file) => importsOf(file).map((to) => ({ file, to })))
      .filter(({ to }) => !to.startsWith('.') && !pureBuiltins.has(to))
    assert.deepEqual(forbidden, [])
  })

  it('imports only files that exist, and stays inside src', () => {
    const missing = [...graph].flatMap(([file, targets]) => targets.filter((to) => !graph.has(to)).map((to) => `${file} imports ${to}`))
    assert.deepEqual(
      missing.filter((line) => !line.includes('package.json')),
      [],
    )
  })

  it('has no cycle', () => {
    const done = new Set<string>()
    const cycles: string[] = []
    const visit = (file: string, trail: readonly string[]): void => {
      if (trail.includes(file)) {
        cycles.push([...trail.slice(trail.indexOf(file)), file].join(' → '))
        return
      }
      if (done.has(file)) return
      for (const target of graph.get(file) ?? []) visit(target, [...trail, file])
      done.add(file)
    }
    for (const file of files) visit(file, [])
    assert.deepEqual(cycles, [])
  })

  it('names no room utils, helpers or common', () => {
    assert.deepEqual(
      files.filter((file) => /(?:^|\/)(?:utils?|helpers?|common)(?:\/|\.ts$)/.test(relative('.', file))),
      [],
    )
  })

  it('keeps a file to one subject: at most 300 lines', () => {
    assert.deepEqual(
      files.filter((file) => readFileSync(join(src, file), 'utf8').split('\n').length > 300),
      [],
    )
  })
})
