import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { checkRequest, type Shape } from '../../src/wire/read-fields.ts'

interface Field {
  readonly id: number
  readonly type: string
  readonly keyType?: string
  readonly rule?: string
}
interface Node {
  readonly fields?: Readonly<Record<string, Field>>
  readonly values?: Readonly<Record<string, number>>
  readonly nested?: Readonly<Record<string, Node>>
}

const { root } = JSON.parse(readFileSync(new URL('../../proto/served.json', import.meta.url), 'utf8')) as { root: Node }

const find = (name: string): Node | undefined => name.split('.').reduce<Node | undefined>((node, part) => node?.nested?.[part], root)

/** A type as it is named inside another: looked for from the inside out. */
function resolve(scope: string, name: string): [name: string, node: Node] | undefined {
  for (let parts = scope.split('.'); ; parts = parts.slice(0, -1)) {
    const full = [...parts, name].join('.')
    const node = find(full)
    if (node && (node.fields || node.values)) return [full, node]
    if (parts.length === 0) return undefined
  }
}

const scalars: Readonly<Record<string, readonly [wireType: number, isNarrow: boolean]>> = {
  string: [2, false],
  bytes: [2, false],
  double: [1, false],
  int64: [0, false],
  int32: [0, true],
  uint32: [0, true],
  bool: [0, true],
}

function checkField(shape: Shape, scope: string, id: number, type: string, seen: Set<string>): void {
  const place = `${shape.name} ${id}`
  const scalar = scalars[type]
  const [full, node] = (!scalar && resolve(scope, type)) || [type, {}]
  const isMessage = 'fields' in node
  assert(scalar || 'fields' in node || 'values' in node, `${place}: ${type}`)
  assert.equal(shape.wireTypes[id], scalar?.[0] ?? (isMessage ? 2 : 0), place)
  assert.equal((shape.narrow & (1 << id)) !== 0, scalar?.[1] ?? !isMessage, place)
  assert.equal(shape.parts[id]?.name, isMessage ? full : undefined, place)
  const isRepeated = (shape.repeated & (1 << id)) !== 0
  assert.equal(shape.texts[(id << 3) | 2], shape.wireTypes[id] === 2 && !isMessage && !isRepeated ? 1 : 0, place)
  if (isMessage) checkMessage(shape.parts[id]!, node, seen)
}

function checkMessage(shape: Shape, node: Node, seen: Set<string>): void {
  if (seen.has(shape.name)) return
  seen.add(shape.name)
  assert.equal(shape.levels, 1, shape.name)
  assert.equal(shape.needed, 0, shape.name)
  const fields = Object.values(node.fields ?? {})
  const known = [...shape.wireTypes.keys()].filter((id) => shape.wireTypes[id] !== 0xff)
  assert.deepEqual(
    known,
    fields.map(({ id }) => id).sort((a, b) => a - b),
    shape.name,
  )
  for (const { id, type, keyType, rule } of fields) {
    assert.equal((shape.repeated & (1 << id)) !== 0, keyType !== undefined || rule === 'repeated', `${shape.name} ${id}`)
    if (keyType === undefined) checkField(shape, shape.name, id, type, seen)
    else {
      const entry = shape.parts[id]!
      assert.equal(keyType, 'string')
      assert.equal(entry.levels, 0, entry.name)
      assert.deepEqual(
        [...entry.wireTypes.keys()].filter((part) => entry.wireTypes[part] !== 0xff),
        [1, 2],
        entry.name,
      )
      checkField(entry, shape.name, 1, 'string', seen)
      checkField(entry, shape.name, 2, type, seen)
      assert.equal(entry.needed, entry.parts[2] ? 1 << 2 : 0, entry.name)
    }
  }
}

describe('the table of fields', () => {
  it('is what the definitions say, field by field', () => {
    const seen = new Set<string>()
    checkMessage(checkRequest, find(checkRequest.name)!, seen)
    assert(seen.size > 15, `${seen.size} messages`)
  })
})
