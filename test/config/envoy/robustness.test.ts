import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { parse } from 'yaml'
import { type Node, sourceOf } from '../../../src/config/envoy/node.ts'
import { readJson } from '../../../src/config/envoy/read-json.ts'
import { factsOf, fixturePath, lintText } from './fixtures.ts'

/** What stands in place of a setting: each kind of value, and nothing. */
const strange: readonly unknown[] = [undefined, null, true, 7, 'x', [], {}, ['x'], [null], { x: 1 }]

type Tree = Record<string | number, unknown>

/** Calls back for each member of each mapping and list. */
function eachPlace(value: unknown, visit: (holder: Tree, key: string | number) => void): void {
  if (typeof value !== 'object' || value === null) return
  for (const key of Array.isArray(value) ? value.keys() : Object.keys(value)) {
    visit(value as Tree, key)
    eachPlace((value as Tree)[key], visit)
  }
}

const plain = ({ value }: Node): unknown =>
  Array.isArray(value)
    ? value.map(plain)
    : value instanceof Map
      ? Object.fromEntries([...(value as ReadonlyMap<string, Node>)].map(([name, node]) => [name, plain(node)]))
      : value

describe('lint of Envoy configurations that are strange', function () {
  this.timeout(60_000)

  it('judges a configuration in which any one setting is something else', async () => {
    const policy = await factsOf('policies/users.yaml')
    const tree = parse(readFileSync(fixturePath('good/bootstrap.yaml'), 'utf8')) as Tree
    let tried = 0
    eachPlace(tree, (holder, key) => {
      const kept = holder[key]
      for (const other of strange) {
        holder[key] = other
        for (const compared of [policy, undefined]) assert.ok(lintText(JSON.stringify(tree), compared).findings)
        tried++
      }
      holder[key] = kept
    })
    assert.ok(tried > 2000)
  })

  for (const kind of ['istio', 'envoy-gateway']) {
    it(`does so for ${kind}`, async () => {
      const policy = await factsOf('policies/users.yaml')
      const documents = readFileSync(fixturePath(`good/${kind}.yaml`), 'utf8')
        .split('\n---\n')
        .map((text) => parse(text) as Tree)
      eachPlace(documents, (holder, key) => {
        const kept = holder[key]
        for (const other of strange) {
          holder[key] = other
          lintText(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: documents }), policy)
        }
        holder[key] = kept
      })
    })
  }

  it('reads JSON as JSON.parse does', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), (text) => {
        assert.deepEqual(plain(readJson(text, sourceOf('a.json', text))), JSON.parse(text))
      }),
      { numRuns: 300 },
    )
  })

  it('says where text is no JSON, and never falls', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), fc.nat(200), fc.string({ maxLength: 3 }), (text, at, noise) => {
        const broken = text.slice(0, at) + noise + text.slice(at + 1)
        const linted = lintText(broken)
        assert.ok(linted.faults.length <= 1)
      }),
      { numRuns: 300 },
    )
  })
})
