import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { openMemoryState } from '../../src/adapters/memory-state.ts'
import { openRevocations, standingValidators } from '../../src/compose/revocations.ts'
import type { Revocation, State } from '../../src/core/ports.ts'
import type { Principal } from '../../src/core/principal.ts'
import { aPrincipal } from '../support/facts.ts'
import { until } from '../support/until.ts'

const now = Math.floor(Date.now() / 1000)
const entry = (more: Partial<Revocation>): Revocation => ({ level: 'token', target: 'jti-1', at: now, until: now + 600, ...more })

describe('revocations, as a service composes them', () => {
  let state: State
  const purges: ((principal: Principal) => boolean)[] = []
  let close = () => {}
  const open = async () => {
    const list = await openRevocations({
      state,
      maxStalenessMs: 5000,
      standing: () => false,
      purge: (concerns) => void purges.push(concerns),
    })
    close = list.close
    return list
  }
  beforeEach(async () => {
    purges.length = 0
    state = await openMemoryState({ realm: 'default' })
  })
  afterEach(async () => {
    close()
    await state.close()
  })

  it('purge what is kept near of whom they concern, soon', async () => {
    const list = await open()
    await list.revoke(entry({}))
    await until('the purge', () => purges.length === 1, 200)
    assert.deepEqual(
      [aPrincipal({ tokenId: 'jti-1' }), aPrincipal({ tokenId: 'jti-2' }), aPrincipal({ subject: 'jti-1' })].map(purges[0]!),
      [true, false, false],
    )
  })

  it('purge once for many, for all levels, and not for a lift', async () => {
    const list = await open()
    await list.revoke(entry({ target: 'before' }))
    await until('the first purge', () => purges.length === 1, 200)
    for (let i = 0; i < 1000; i++) await list.revoke(entry({ target: `jti-${i}` }))
    for (const level of ['subject', 'agent', 'task', 'chain', 'client'] as const) await list.revoke(entry({ level, target: `${level}-x` }))
    await until('the second', () => purges.some((concerns) => concerns(aPrincipal({ tokenId: 'jti-999' }))), 500)
    const concerns = (principal: Principal) => purges.some((one) => one(principal))
    assert.ok(purges.length < 10, `${purges.length} purges`)
    const own = (more: Partial<Principal>) => aPrincipal({ issued: {}, ...more })
    await until('all of them', () => concerns(own({ issued: { client: 'client-x' } })), 500)
    assert.deepEqual(
      [
        own({ tokenId: 'jti-0' }),
        own({ subject: 'subject-x' }),
        own({ rawSubject: 'agent-x' }),
        own({ actor: { subject: 'agent-x' } }),
        own({ issued: { task: 'task-x' } }),
        own({ actor: { subject: 'a', actor: { subject: 'chain-x' } } }),
        own({ actor: { subject: 'a', actor: { subject: 'agent-x' } } }),
        aPrincipal({ rawSubject: 'agent-x', actor: { subject: 'chain-x' } }),
      ].map(concerns),
      [true, true, true, true, true, true, false, false],
    )
    const before = purges.length
    await list.revoke(entry({ level: 'subject', target: 'subject-y', lifted: true }))
    await sleep(80)
    assert.equal(purges.length, before)
  })

  it('purge seldom where that takes long, and all the same', async () => {
    let spent = 0
    const wanted = aPrincipal({ tokenId: 'last' })
    let purged = false
    const list = await openRevocations({
      state,
      maxStalenessMs: 5000,
      standing: () => false,
      purge: (concerns) => {
        // As a hundred thousand tokens take that are looked at one by one.
        const until = performance.now() + 20
        while (performance.now() < until);
        spent += 20
        purged ||= concerns(wanted)
      },
    })
    close = list.close
    const begun = performance.now()
    for (let i = 0; performance.now() - begun < 900; i++) {
      await list.revoke(entry({ target: `jti-${i}` }))
      await sleep(5)
    }
    await list.revoke(entry({ target: 'last' }))
    assert.ok(spent <= 80, `${spent} of 900 ms`)
    await until('the last', () => purged, 600)
  })

  it('tell validators of credentials that are no tokens', () => {
    const identity = ['oidc', 'mtls', 'api-keys', 'shared-token', 'edge-trust', 'postern', 'basic'].map((type) => ({
      name: `a ${type}`,
      type,
    }))
    const names = [...standingValidators({ identity } as never)]
    assert.deepEqual(names, ['a mtls', 'a api-keys', 'a shared-token', 'a edge-trust'])
  })
})
