import assert from 'node:assert/strict'
import fc from 'fast-check'
import { NearCopies, nowhere } from '../../src/adapters/near-copies.ts'
import type { LookedUp } from '../../src/core/ports.ts'

const hit = (owner?: string): LookedUp => ({ labels: owner === undefined ? undefined : new Map([['owner', owner]]), cache: 'hit' })
const none = hit()
const get = (copies: NearCopies, kind: string, id: string) => {
  const place = copies.find(kind, id)
  return place === nowhere ? undefined : { hit: copies.hit(place), askedAt: copies.askedAt(place) }
}

describe('near copies', () => {
  it('are found by kind and id', () => {
    const copies = new NearCopies(10)
    copies.set('sandbox', 's1', hit('alice'), 12.7)
    copies.set('job', 's1', none, 13)
    const long = 'a-long-id-that-is-cut-from-a-path'
    copies.set('job', `x${long}`.slice(1), none, 14)
    assert.equal(get(copies, 'job', long)?.askedAt, 14)
    copies.delete('job', long)
    assert.equal(get(copies, 'sandbox', 's1')?.hit.labels?.get('owner'), 'alice')
    assert.equal(get(copies, 'sandbox', 's1')?.askedAt, 12)
    assert.equal(get(copies, 'job', 's1')?.hit, none)
    assert.equal(get(copies, 'job', 's2'), undefined)
    assert.equal(copies.size, 2)
    copies.delete('sandbox', 's1')
    assert.equal(get(copies, 'sandbox', 's1'), undefined)
    copies.clear()
    assert.deepEqual([copies.size, get(copies, 'job', 's1')], [0, undefined])
  })

  it('that are asked for stay, and others give way', () => {
    const copies = new NearCopies(3)
    for (const id of ['a', 'b', 'c']) copies.set('k', id, none, 0)
    for (let n = 0; n < 20; n++) {
      assert.ok(get(copies, 'k', 'b'), `lost after ${n}`)
      copies.set('k', `new-${n}`, none, 0)
      assert.equal(copies.size, 3)
    }
  })

  it('answer as a map would, but for what gave way, and never exceed their number', () => {
    const step = fc.record({
      what: fc.constantFrom('set', 'get', 'delete', 'clear'),
      kind: fc.constantFrom('a', 'b'),
      id: fc.integer({ min: 0, max: 12 }).map(String),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 8 }), (steps, max) => {
        const copies = new NearCopies(max)
        const model = new Map<string, number>()
        for (const [n, { what, kind, id }] of steps.entries()) {
          const key = `${kind} ${id}`
          if (what === 'set') {
            copies.set(kind, id, none, n)
            model.set(key, n)
            assert.equal(get(copies, kind, id)?.askedAt, n)
          } else if (what === 'delete') {
            copies.delete(kind, id)
            model.delete(key)
          } else if (what === 'clear' && n % 7 === 0) {
            copies.clear()
            model.clear()
          }
          const found = get(copies, kind, id)
          if (found) assert.equal(found.askedAt, model.get(key))
          assert.ok(copies.size <= max && copies.size <= model.size)
        }
        // What never had to give way is all there.
        if (model.size <= max && steps.length <= max) assert.equal(copies.size, model.size)
      }),
    )
  })
})
