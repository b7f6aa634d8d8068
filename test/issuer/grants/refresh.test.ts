import assert from 'node:assert/strict'
import { openMemoryState } from '../../../src/adapters/memory-state.ts'
import type { Client } from '../../../src/core/issuer-client.ts'
import { familyOf } from '../../../src/issuer/grants/refresh-claims.ts'
import type { GrantAnswer } from '../../../src/issuer/grants.ts'
import { clientOf, openRig, type Params, type Rig, t, thumbprint, typeUri } from './rig.ts'

const refreshUri = 'urn:ietf:params:oauth:token-type:refresh_token'
const bodyOf = (answer: GrantAnswer): Readonly<Record<string, string | number>> => {
  assert.equal(answer.kind, 'granted', JSON.stringify(answer))
  return (answer as Extract<GrantAnswer, { kind: 'granted' }>).body
}
const errorOf = (answer: GrantAnswer): string => {
  assert.equal(answer.kind, 'refused')
  return (answer as Extract<GrantAnswer, { kind: 'refused' }>).error
}
const claimsOf = (token: unknown) =>
  JSON.parse(Buffer.from(String(token).split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown> & {
    jti: string
    exp: number
  }

const client = clientOf({
  grants: ['token_exchange', 'refresh_token'],
  exchange: { audiences: ['picod', 'postern', 'workloadmanager'], maxTtl: 300 },
})

describe('refresh tokens', () => {
  let rig: Rig
  beforeEach(async () => {
    rig = await openRig()
  })
  afterEach(() => rig.close())

  const begin = async (params: Params = {}, claims: Record<string, unknown> = {}, who: Client = client, dpop?: string) => {
    const subject_token = rig.token({
      from: 'users',
      claims: { scope: 'read:data:* write:data:1', realm_access: { roles: ['member'] }, ...claims },
    })
    return bodyOf(await rig.ask('token_exchange', who, { subject_token, subject_token_type: typeUri.access_token, ...params }, { dpop }))
  }
  const refresh = (token: unknown, params: Params = {}, who: Client = client, extra: Parameters<Rig['ask']>[3] = {}) =>
    rig.ask('refresh_token', who, { refresh_token: String(token), ...params }, extra)

  it('come with an exchange, and give the same token again', async () => {
    const first = await begin({ audience: 'postern' })
    const next = bodyOf(await refresh(first['refresh_token'], {}, client, { at: 200 }))
    const [a, b] = [claimsOf(first['access_token']), claimsOf(next['access_token'])]
    for (const name of ['iss', 'sub', 'aud', 'client_id', 'roles', 'scope', 'act', 'exchanged']) assert.deepEqual(b[name], a[name], name)
    assert.deepEqual([b['aud'], b['roles'], b['act']], ['postern', ['member'], { sub: 'router' }])
    assert.equal(b.exp, t + 500)
    assert.notEqual(a.jti, b.jti)
    assert.equal(next['token_type'], 'Bearer')
    assert.equal(next['scope'], 'read:data:* write:data:1')
    const events = await rig.events()
    assert.deepEqual(
      events.map((event) => [event.type, event.detail?.['grant'], event.detail?.['kind']]),
      [
        ['token_issued', 'token_exchange', 'edge'],
        ['token_issued', 'refresh_token', 'refresh'],
        ['token_issued', 'refresh_token', 'edge'],
        ['token_issued', 'refresh_token', 'refresh'],
      ],
    )
  })

  it('are our own, for our token endpoint alone, and end with the subject token', async () => {
    const first = await begin()
    const token = rig.verify(String(first['refresh_token']), t * 1000)
    assert.deepEqual(
      [token?.typ, token?.audience, token?.client, token?.expiresAt],
      ['postern-refresh+jwt', ['https://sts.example'], 'router', t + 3600],
    )
    const day = await begin({}, { exp: t + 1_000_000 })
    assert.equal(claimsOf(day['refresh_token']).exp, t + 86_400)
  })

  it('do not come where there is no grant, or the access token lives as long', async () => {
    assert.equal((await begin({}, {}, clientOf({ exchange: {} })))['refresh_token'], undefined)
    assert.equal((await begin({}, { exp: t + 300 }))['refresh_token'], undefined)
    assert.notEqual((await begin({}, { exp: t + 301 }))['refresh_token'], undefined)
  })

  it('are asked for instead of an access token', async () => {
    const first = await begin({ requested_token_type: refreshUri })
    assert.deepEqual(
      [first['issued_token_type'], first['token_type'], first['expires_in'], first['refresh_token']],
      [refreshUri, 'N_A', 3600, undefined],
    )
    const next = bodyOf(await refresh(first['access_token']))
    assert.equal(claimsOf(next['access_token'])['sub'], 'u1')
    assert.notEqual(next['refresh_token'], undefined)
  })

  it('never carry access beyond the subject token', async () => {
    let token: unknown = (await begin({}, { exp: t + 1000 }))['refresh_token']
    let rounds = 0
    for (let at = 0; token !== undefined; at += 250) {
      const answer = bodyOf(await refresh(token, {}, client, { at }))
      assert.ok(claimsOf(answer['access_token']).exp <= t + 1000)
      token = answer['refresh_token']
      if (token !== undefined) assert.equal(claimsOf(token).exp, t + 1000)
      rounds++
    }
    assert.equal(rounds, 4)
  })

  it('have ended with the subject token', async () => {
    const first = await begin()
    assert.equal(errorOf(await refresh(first['refresh_token'], {}, client, { at: 3600 })), 'invalid_grant')
  })

  it('give no wider scope than the first time, and keep what they have', async () => {
    const first = await begin({ scope: 'read:data:*' })
    assert.equal(errorOf(await refresh(first['refresh_token'], { scope: 'write:data:1' })), 'invalid_scope')
    const next = bodyOf(await refresh(first['refresh_token'], { scope: 'read:data:7' }))
    assert.equal(next['scope'], 'read:data:7')
    assert.equal(bodyOf(await refresh(next['refresh_token']))['scope'], 'read:data:*')
  })

  it('give a token for some of the same audiences, and for no other', async () => {
    const first = await begin({ audience: ['picod', 'workloadmanager'] })
    assert.equal(errorOf(await refresh(first['refresh_token'], { audience: 'postern' })), 'invalid_target')
    const next = bodyOf(await refresh(first['refresh_token'], { audience: 'workloadmanager' }))
    assert.equal(claimsOf(next['access_token'])['aud'], 'workloadmanager')
  })

  it('are the one client’s', async () => {
    const first = await begin()
    assert.equal(errorOf(await refresh(first['refresh_token'], {}, { ...client, id: 'sdk' })), 'invalid_grant')
    bodyOf(await refresh(first['refresh_token']))
  })

  it('are good while the client may still do what it did', async () => {
    const first = await begin()
    const without = clientOf({ grants: ['token_exchange'], exchange: {} })
    assert.equal(errorOf(await refresh(first['refresh_token'], {}, without)), 'unauthorized_client')
    const others = clientOf({ grants: ['token_exchange', 'refresh_token'], exchange: { subjectsOf: ['others'] } })
    assert.equal(errorOf(await refresh(first['refresh_token'], {}, others)), 'invalid_grant')
    const elsewhere = clientOf({ grants: ['token_exchange', 'refresh_token'], exchange: { audiences: ['workloadmanager'] } })
    assert.equal(errorOf(await refresh(first['refresh_token'], {}, elsewhere)), 'invalid_target')
    const less = clientOf({ grants: ['token_exchange', 'refresh_token'], exchange: { scopes: ['read:data:1'], maxTtl: 60 } })
    const next = bodyOf(await refresh(first['refresh_token'], {}, less))
    assert.deepEqual([next['scope'], next['expires_in']], ['read:data:1', 60])
  })

  it('are good once: the second use ends all that came of the exchange', async () => {
    const first = await begin()
    const next = bodyOf(await refresh(first['refresh_token']))
    assert.equal(errorOf(await refresh(first['refresh_token'])), 'invalid_grant')
    const events = await rig.events()
    assert.deepEqual(
      events.slice(-2).map(({ type, reason }) => [type, reason]),
      [
        ['token_revoked', 'refresh_reused'],
        ['token_refused', 'refresh_reused'],
      ],
    )
    assert.equal(errorOf(await refresh(next['refresh_token'])), 'invalid_grant')
    const revoked = (await rig.state.revocations.list()).entries.map(({ level, target }) => [level, target])
    assert.deepEqual(revoked.slice(0, 2), [
      ['token', claimsOf(first['access_token']).jti],
      ['token', claimsOf(next['access_token']).jti],
    ])
  })

  it('are good once on all replicas: of many at a time one is served at most', async () => {
    const state = await openMemoryState({ realm: 'shared' })
    const replicas = await Promise.all([1, 2, 3].map(() => openRig({ state })))
    try {
      const before = rig
      const subject_token = before.token({ from: 'users' })
      const [one] = replicas
      const first = bodyOf(await one!.ask('token_exchange', client, { subject_token, subject_token_type: typeUri.access_token }))
      const answers = await Promise.all(
        Array.from({ length: 30 }, (_, i) =>
          replicas[i % 3]!.ask('refresh_token', client, { refresh_token: String(first['refresh_token']) }),
        ),
      )
      assert.ok(answers.filter(({ kind }) => kind === 'granted').length <= 1)
      // Somebody used it twice: whoever was served is out too.
      for (const answer of answers)
        if (answer.kind === 'granted') {
          const again = await one!.ask('refresh_token', client, { refresh_token: String(answer.body['refresh_token']) })
          assert.equal(errorOf(again), 'invalid_grant')
          const revoked = (await state.revocations.list()).entries.map(({ target }) => target)
          assert.ok(revoked.includes(claimsOf(answer.body['access_token']).jti))
        }
    } finally {
      for (const replica of replicas) await replica.close()
      await state.close()
    }
  })

  it('end where their family is ended, with what it gave', async () => {
    const first = await begin()
    const family = familyOf(rig.verify(String(first['refresh_token']), t * 1000)!)
    assert.ok(family)
    assert.deepEqual(await rig.families.end(family, t * 1000), [claimsOf(first['access_token']).jti])
    assert.equal(errorOf(await refresh(first['refresh_token'])), 'invalid_grant')
    assert.deepEqual(await rig.families.end('nobody', t * 1000), [])
    assert.equal(familyOf(rig.verify(String(first['access_token']), t * 1000)!), undefined)
  })

  const levels: readonly (readonly [what: string, level: Parameters<Rig['revoke']>[0], target: string])[] = [
    ['its subject', 'subject', 'u1'],
    ['the subject token', 'token', 'the-subject-token'],
    ['the client', 'client', 'router'],
  ]
  for (const [what, level, target] of levels)
    it(`are refused when ${what} was revoked meanwhile`, async () => {
      const first = await begin({}, { jti: 'the-subject-token' })
      await rig.revoke(level, target, t + 10)
      assert.equal(errorOf(await refresh(first['refresh_token'], {}, client, { at: 20 })), 'invalid_grant')
      assert.equal((await rig.events()).at(-1)?.reason, 'revoked')
    })

  it('are refused when they were revoked themselves', async () => {
    const first = await begin()
    await rig.revoke('token', claimsOf(first['refresh_token']).jti)
    assert.equal(errorOf(await refresh(first['refresh_token'])), 'invalid_grant')
  })

  it('are refused when an actor further in was revoked, or the agent is gone', async () => {
    const agent = { from: 'edge', claims: { task_id: 't', act: { sub: 'b', act: { sub: 'a' } } } } as const
    const ask = () => rig.ask('token_exchange', client, { subject_token: rig.token(agent), subject_token_type: typeUri.jwt })
    const first = bodyOf(await ask())
    const second = bodyOf(await ask())
    await rig.revoke('chain', 'a', t + 5)
    assert.equal(errorOf(await refresh(first['refresh_token'])), 'invalid_grant')
    assert.equal(errorOf(await refresh(second['refresh_token'])), 'invalid_grant')
  })

  it('ask for the key again that was proved', async () => {
    const bound = { cnf: { jkt: thumbprint('a') } }
    const first = await begin({ audience: 'postern' }, bound, client, rig.proof({ key: 'a' }))
    assert.equal(first['token_type'], 'DPoP')
    assert.equal(errorOf(await refresh(first['refresh_token'])), 'invalid_grant')
    assert.equal(errorOf(await refresh(first['refresh_token'], {}, client, { dpop: rig.proof({ key: 'b' }) })), 'invalid_dpop_proof')
    const next = bodyOf(await refresh(first['refresh_token'], {}, client, { dpop: rig.proof({ key: 'a' }) }))
    assert.deepEqual(claimsOf(next['access_token'])['cnf'], { jkt: thumbprint('a') })
  })

  for (const [what, params] of [
    ['no token', {}],
    ['two tokens', { refresh_token: ['a', 'b'] }],
  ] as const)
    it(`refuse a request with ${what}`, async () =>
      assert.equal(errorOf(await rig.ask('refresh_token', client, params)), 'invalid_request'))

  it('are no access token, and no access token is one', async () => {
    const first = await begin({ audience: 'postern' })
    for (const token of [
      first['access_token'],
      rig.token({ from: 'users' }),
      rig.token({ from: 'refresh', claims: { client_id: 'router' } }),
      'x.y.z',
    ])
      assert.equal(errorOf(await refresh(token)), 'invalid_grant')
  })
})

describe('a proof at the token endpoint', () => {
  it('is good once', async () => {
    const rig = await openRig()
    const sdk = clientOf({ id: 'sdk', grants: ['client_credentials'], audiences: ['postern'] })
    const dpop = rig.proof({ key: 'a' })
    assert.equal((await rig.ask('client_credentials', sdk, {}, { dpop })).kind, 'granted')
    assert.equal(errorOf(await rig.ask('client_credentials', sdk, {}, { dpop })), 'invalid_dpop_proof')
    await rig.close()
  })

  it('is not spent by a request that is refused', async () => {
    const rig = await openRig()
    const sdk = clientOf({ id: 'sdk', grants: ['client_credentials'], audiences: ['postern'] })
    const dpop = rig.proof({ key: 'a' })
    assert.equal(errorOf(await rig.ask('client_credentials', sdk, { audience: 'x' }, { dpop })), 'invalid_target')
    assert.equal((await rig.ask('client_credentials', sdk, {}, { dpop })).kind, 'granted')
    await rig.close()
  })
})

describe('refusals in the trail', () => {
  it('are counted once a client is too loud, and answered all the same', async () => {
    let left = 2
    const rig = await openRig({ admits: () => (left-- > 0 ? 0 : left === -3 ? 2 : undefined) })
    const sdk = clientOf({ id: 'sdk', grants: [] })
    for (let i = 0; i < 5; i++) assert.equal(errorOf(await rig.ask('client_credentials', sdk, {})), 'unauthorized_client')
    const events = await rig.events()
    assert.deepEqual(
      events.map(({ detail }) => detail?.['suppressed']),
      [undefined, undefined, 2],
    )
    await rig.close()
  })
})

describe('a token that nobody would read, as it is over 8 KiB', () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => `read:data:number-${i}-of-a-long-list`)

  it('is not issued', async () => {
    const rig = await openRig()
    const sdk = clientOf({ id: 'sdk', grants: ['client_credentials'], audiences: ['postern'], scopes: many(200) })
    assert.equal(errorOf(await rig.ask('client_credentials', sdk, {})), 'invalid_scope')
    const fewer = bodyOf(await rig.ask('client_credentials', sdk, { scope: many(100).join(' ') }))
    assert.ok(String(fewer['access_token']).length <= 8192)
    await rig.close()
  })

  it('is no refresh token either: the access token comes without', async () => {
    const rig = await openRig()
    const name = 'u'.repeat(900)
    const scope = (count: number) => many(count).join(' ')
    let without = 0
    for (const count of [1, 40, 60, 80, 90, 100, 110]) {
      const subject_token = rig.token({ from: 'users', claims: { sub: name, scope: scope(count) } })
      if (subject_token.length > 8192) continue
      const answer = await rig.ask('token_exchange', client, { subject_token, subject_token_type: typeUri.jwt })
      if (answer.kind === 'refused') {
        assert.equal(answer.error, 'invalid_scope')
        continue
      }
      const { access_token, refresh_token } = answer.body
      assert.ok(String(access_token).length <= 8192)
      if (refresh_token === undefined) without++
      else bodyOf(await rig.ask('refresh_token', client, { refresh_token: String(refresh_token) }))
    }
    assert.ok(without > 0)
    await rig.close()
  })
})
