import assert from 'node:assert/strict'
import { openMemoryState } from '../../../src/adapters/memory-state.ts'
import { sweeping } from '../../../src/issuer/broker/sweep.ts'
import { families } from '../../../src/issuer/grants/families.ts'
import type { Act } from '../../../src/issuer/issuance.ts'

describe('what is remembered of refresh tokens', () => {
  it('is no token, whose end would be told', async () => {
    const { records, close } = await openMemoryState({ realm: 'default' })
    const now = Math.floor(Date.now() / 1000)
    const acts: Act[] = []
    const revoke = async (): Promise<void> => {}
    await families({ records, revoke }).begin({ id: 'family-1', client: 'backend', subject: 'alice', until: now + 10 }, [])
    await records.write('token', { id: 'token-1', value: { subject: 'alice', kind: 'refresh' }, until: now + 10 }, undefined)
    const swept = await sweeping({ records, revoke, record: async (act) => void acts.push(act), longestLife: () => 60 })(now + 20)
    assert.deepEqual(
      acts.map(({ type, target }) => [type, target]),
      [['token_expired', 'token-1']],
    )
    assert.equal(swept.tokens, 1)
    assert.equal(await records.read('token', 'family-1'), undefined)
    await close()
  })
})
