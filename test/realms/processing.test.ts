import assert from 'node:assert/strict'
import type { Processing } from '../../src/compose/processing.ts'
import { processingOfRealms } from '../../src/compose/realms-processing.ts'
import type { JsonObject } from '../../src/core/json.ts'

/** Stands for what decides behind ext_proc in a realm. */
const deciding = (realm: string, maxBody: number, seen: string[]) => ({
  processing: {
    processor: {
      request: () => {
        seen.push(realm)
        return { kind: 'skip' as const }
      },
    },
    maxBody,
    owed: () => ({ orphan: 0, intent: 0, removal: 0 }),
    close: async () => {},
  },
})

describe('ext_proc of several realms', () => {
  const seen: string[] = []
  const told: string[] = []
  const realms = new Map<string, { readonly processing: Processing | undefined }>([
    ['acme', deciding('acme', 10, seen)],
    ['globex', deciding('globex', 20, seen)],
    ['plain', { processing: undefined }],
  ])
  const { processor, maxBody } = processingOfRealms(realms, 'x-postern-decision', (detail) => told.push(detail))
  const ask = (metadata: JsonObject | undefined) => processor.request({ metadata, method: 'POST', path: '/v1/sandboxes' })

  it('decides in the realm of the check', async () => {
    assert.deepEqual([await ask({ realm: 'globex' }), await ask({ realm: 'acme' })], [{ kind: 'skip' }, { kind: 'skip' }])
    assert.deepEqual(seen.splice(0), ['globex', 'acme'])
    assert.equal(maxBody, 20)
  })

  const strange: Record<string, JsonObject | undefined> = {
    'no metadata': undefined,
    'no realm': { decision: 'allow' },
    'a realm that is not served': { realm: 'initech' },
    'one that has nothing to decide there': { realm: 'plain' },
    'one that is no text': { realm: ['acme'] },
    'a name of every object': { realm: 'constructor' },
  }
  for (const [name, metadata] of Object.entries(strange))
    it(`lets nothing pass where the check has ${name}`, async () => {
      const step = await ask(metadata)
      assert.equal(step.kind === 'answer' && step.answer.status, 503)
      assert.deepEqual([seen, told.splice(0).length], [[], 1])
    })
})
