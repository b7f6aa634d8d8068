import assert from 'node:assert/strict'
import {
  type DownstreamCache,
  type DownstreamOptions,
  type DownstreamSettings,
  downstreamTokens,
} from '../../src/adapters/downstream-tokens.ts'
import type { Asked, StsAnswer } from '../../src/adapters/sts-answer.ts'
import { type TokenAnswer, type TokenRequest, Unavailable } from '../../src/core/ports.ts'
import type { Principal } from '../../src/core/principal.ts'

const start = 1_800_000_000_000
const t = start / 1000
const alice: Principal = {
  validator: 'users',
  issuer: 'https://idp.example',
  subject: 'alice',
  rawSubject: 'alice',
  roles: ['r1'],
  scopes: ['s1'],
  claims: { sub: 'alice' },
  tokenId: 'j1',
  issuedAt: t,
  expiresAt: t + 3600,
  digest: 'd1',
  subjectToken: 'x',
}
const base: TokenRequest = {
  principal: alice,
  workload: 'w1',
  audience: 'a1',
  scope: ['s1'],
  ttl: 60,
  resource: 'sandbox:1',
  via: 'issuer',
  now: start,
}
const viaSts: TokenRequest = { ...base, via: { sts: 'kc' } }
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('downstream tokens', () => {
  let minted: number
  let calls: { readonly asked: Asked; readonly answer: (answer: StsAnswer) => void }[]
  let tokens: DownstreamCache
  const client = {
    identity: 'endpoint client',
    breaker: () => 'closed' as const,
    exchange: (asked: Asked) => new Promise<StsAnswer>((answer) => calls.push({ asked, answer })),
  }
  const settings: DownstreamSettings = {
    realm: 'default',
    digest: 'settings',
    mint: ({ ttl, now, principal }) => {
      const expiresAt = Math.min(Math.floor(now / 1000) + ttl, principal.expiresAt + 60)
      return expiresAt > now / 1000 ? { token: `minted-${++minted}`, expiresAt } : undefined
    },
    sts: new Map([['kc', client]]),
  }
  const make = (more: Partial<DownstreamOptions> = {}): DownstreamCache => downstreamTokens({ settings, ...more })
  const atOnce = (request: TokenRequest): TokenAnswer => {
    const answer = tokens.obtain(request)
    return answer instanceof Promise ? assert.fail('memory and issuer answer at once') : answer
  }
  const text = (answer: TokenAnswer): string => (answer.kind === 'token' ? `${answer.cache} ${answer.token.text}` : answer.kind)
  /** Answers the newest exchange under way. */
  const give = async (token: string, life: number, now = start): Promise<void> => {
    calls.at(-1)!.answer({ kind: 'token', token, expiresAt: now / 1000 + life })
    await turn()
  }
  beforeEach(() => {
    minted = 0
    calls = []
    tokens = make()
  })

  it('mints at once, and remembers', () => {
    assert.equal(text(atOnce(base)), 'miss minted-1')
    assert.equal(text(atOnce({ ...base, principal: { ...alice } })), 'hit minted-1')
    assert.equal(text(atOnce({ ...base, now: start + 39_000 })), 'hit minted-1')
  })
  it('mints a new one when a third of its life is left, once, and after the answer', async () => {
    atOnce(base)
    for (let i = 0; i < 3; i++) assert.equal(text(atOnce({ ...base, now: start + 40_000 })), 'hit minted-1')
    await turn()
    assert.equal(text(atOnce({ ...base, now: start + 41_000 })), 'hit minted-2')
    assert.equal(tokens.stats().renewals, 1)
  })
  it('does not bring back by renewal what was purged, or what other settings made', async () => {
    atOnce(base)
    atOnce({ ...base, now: start + 40_000 })
    tokens.purge(() => true)
    await turn()
    assert.equal(tokens.stats().size, 0)
    atOnce(base)
    atOnce({ ...base, now: start + 40_000 })
    tokens.configure({ ...settings, digest: 'others' })
    await turn()
    assert.equal(minted, 2)
  })
  it('goes on with the old one where a renewal fails', async () => {
    let keys = true
    const mint: DownstreamSettings['mint'] = (request) => {
      if (!keys) throw new Unavailable('no keys')
      return settings.mint!(request)
    }
    tokens = make({ settings: { ...settings, mint } })
    atOnce(base)
    keys = false
    for (const after of [40_000, 42_000]) {
      assert.equal(text(atOnce({ ...base, now: start + after })), 'hit minted-1')
      await turn()
    }
    keys = true
    atOnce({ ...base, now: start + 44_000 })
    await turn()
    assert.equal(text(atOnce({ ...base, now: start + 44_001 })), 'hit minted-2')
  })
  it('hands out a token to its end where the credential ends with it', () => {
    const principal = { ...alice, expiresAt: t - 50 }
    assert.equal(text(atOnce({ ...base, principal })), 'miss minted-1')
    assert.equal(text(atOnce({ ...base, principal, now: start + 9000 })), 'hit minted-1')
    assert.equal(atOnce({ ...base, principal, now: start + 10_000 }).kind, 'refused')
  })

  const different: Record<string, Partial<TokenRequest>> = {
    subject: { principal: { ...alice, subject: 'bob' } },
    validator: { principal: { ...alice, validator: 'others' } },
    issuer: { principal: { ...alice, issuer: 'https://other.example' } },
    digest: { principal: { ...alice, digest: 'd2' } },
    claims: { principal: { ...alice, claims: { sub: 'alice', groups: ['g'] } } },
    roles: { principal: { ...alice, roles: [] } },
    scopes: { principal: { ...alice, scopes: [] } },
    'end user': { principal: { ...alice, endUser: 'carol' } },
    actor: { principal: { ...alice, actor: { subject: 'agent' } } },
    'end of the credential': { principal: { ...alice, expiresAt: t + 10 } },
    workload: { workload: 'w2' },
    'no workload': { workload: undefined },
    audience: { audience: 'a2' },
    scope: { scope: ['s1', 's2'] },
    ttl: { ttl: 30 },
    resource: { resource: 'sandbox:2' },
    'no resource': { resource: undefined },
  }
  for (const [name, part] of Object.entries(different)) {
    it(`never shares a token across another ${name}`, () => {
      atOnce(base)
      assert.equal(text(atOnce({ ...base, ...part })), 'miss minted-2')
      assert.equal(text(atOnce(base)), 'hit minted-1')
    })
  }
  it('never shares one across realms or settings', () => {
    atOnce(base)
    tokens.configure({ ...settings, digest: 'other' })
    assert.equal(text(atOnce(base)), 'miss minted-2')
    tokens.configure({ ...settings, realm: 'other' })
    assert.equal(text(atOnce(base)), 'miss minted-3')
  })
  it('keeps no more than its bound', () => {
    tokens = make({ max: 3 })
    for (let i = 0; i < 10; i++) atOnce({ ...base, audience: `a${i}` })
    assert.equal(tokens.stats().size, 3)
  })
  it('keeps none for long after it has ended', () => {
    for (let i = 0; i < 20; i++) atOnce({ ...base, resource: `sandbox:${i}` })
    atOnce({ ...base, now: start + 50_000 })
    assert.equal(tokens.stats().size, 20)
    atOnce({ ...base, now: start + 120_000 })
    assert.equal(tokens.stats().size, 1)
  })

  it('refuses where there is nothing to make tokens with', () => {
    tokens.configure({ ...settings, mint: undefined, sts: new Map() })
    assert.equal(atOnce(base).kind, 'refused')
    assert.equal(atOnce(viaSts).kind, 'refused')
  })

  describe('from a token endpoint', () => {
    it('asks once for all who wait, then answers at once', async () => {
      const waiting = Promise.all(Array.from({ length: 20 }, () => tokens.obtain(viaSts)))
      assert.equal(calls.length, 1)
      assert.equal(tokens.stats().pending, 1)
      await give('t1', 60)
      assert.deepEqual(new Set((await waiting).map(text)), new Set(['miss t1']))
      assert.equal(text(atOnce(viaSts)), 'hit t1')
      assert.deepEqual([tokens.stats().pending, tokens.stats().size], [0, 1])
    })
    it('renews ahead, once, while the old one is handed out', async () => {
      const first = tokens.obtain(viaSts)
      await give('t1', 60)
      await first
      const later = { ...viaSts, now: start + 41_000 }
      for (let i = 0; i < 5; i++) assert.equal(text(atOnce(later)), 'hit t1')
      assert.equal(calls.length, 2)
      await give('t2', 60, later.now)
      assert.equal(text(atOnce(later)), 'hit t2')
      assert.equal(tokens.stats().renewals, 1)
    })
    it('waits for the new one where the old one has less than 5 s left', async () => {
      const first = tokens.obtain(viaSts)
      await give('t1', 60)
      await first
      const late = tokens.obtain({ ...viaSts, now: start + 56_000 })
      assert.ok(late instanceof Promise)
      await give('t2', 60, start + 56_000)
      assert.equal(text(await late), 'miss t2')
    })
    it('falls back to the old one where the endpoint is down, until it ends', async () => {
      const first = tokens.obtain(viaSts)
      await give('t1', 60)
      await first
      const down = async (now: number): Promise<string> => {
        const answer = tokens.obtain({ ...viaSts, now })
        if (!(answer instanceof Promise)) return text(answer)
        calls.at(-1)!.answer({ kind: 'unavailable', detail: 'down' })
        return text(await answer)
      }
      assert.equal(await down(start + 58_000), 'hit t1')
      assert.equal(await down(start + 60_000), 'unavailable')
    })
    it('tries a failed renewal again after a second, not at every request', async () => {
      const first = tokens.obtain(viaSts)
      await give('t1', 60)
      await first
      const ask = (now: number) => text(atOnce({ ...viaSts, now }))
      ask(start + 41_000)
      calls.at(-1)!.answer({ kind: 'unavailable', detail: 'down' })
      await turn()
      assert.equal(ask(start + 41_500), 'hit t1')
      assert.equal(calls.length, 2)
      assert.equal(ask(start + 42_000), 'hit t1')
      assert.equal(calls.length, 3)
    })
    it('remembers a refusal for a second', async () => {
      const first = tokens.obtain(viaSts)
      calls[0]!.answer({ kind: 'refused', detail: 'no' })
      assert.deepEqual(await first, { kind: 'refused', detail: 'no' })
      assert.deepEqual(atOnce({ ...viaSts, now: start + 999 }), { kind: 'refused', detail: 'no' })
      assert.equal(calls.length, 1)
      assert.ok(tokens.obtain({ ...viaSts, now: start + 1000 }) instanceof Promise)
    })
    it('remembers no outage', async () => {
      const first = tokens.obtain(viaSts)
      calls[0]!.answer({ kind: 'unavailable', detail: 'down' })
      assert.equal((await first).kind, 'unavailable')
      assert.ok(tokens.obtain(viaSts) instanceof Promise)
    })
    it('lets no more than its bound wait', () => {
      tokens = make({ maxPending: 2 })
      for (const audience of ['a1', 'a2']) assert.ok(tokens.obtain({ ...viaSts, audience }) instanceof Promise)
      assert.equal(atOnce({ ...viaSts, audience: 'a3' }).kind, 'unavailable')
    })
  })

  describe('purge', () => {
    it('drops what was made for a principal, and nothing else', () => {
      const bob = { ...base, principal: { ...alice, subject: 'bob' } }
      atOnce(base)
      atOnce({ ...base, audience: 'a2' })
      atOnce(bob)
      assert.equal(
        tokens.purge((principal) => principal.subject === 'alice'),
        2,
      )
      assert.equal(text(atOnce(bob)), 'hit minted-3')
      assert.equal(text(atOnce(base)), 'miss minted-4')
    })
    it('keeps nothing of an exchange that was under way', async () => {
      const first = tokens.obtain(viaSts)
      tokens.purge((principal) => principal.tokenId === 'j1')
      const second = tokens.obtain(viaSts)
      assert.equal(calls.length, 2)
      calls[0]!.answer({ kind: 'token', token: 'old', expiresAt: t + 60 })
      assert.equal((await first).kind, 'refused')
      assert.equal(tokens.stats().pending, 1, 'the second is still awaited')
      await give('new', 60)
      assert.equal(text(await second), 'miss new')
      assert.equal(text(atOnce(viaSts)), 'hit new')
    })
  })
})
