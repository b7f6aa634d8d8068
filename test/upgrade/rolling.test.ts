import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { request } from '../support/request.ts'
import { until } from '../support/until.ts'
import { type Pair, type Place, startPair } from './pair.ts'
import { earlier, now, type Version } from './replica.ts'

/** Milliseconds within which a change is in force on the other replica. */
const promised = 1000
const plain = '/v1/sandboxes'

describe('two versions on one Redis', function () {
  this.timeout(120_000)
  let previous: Version
  let pair: Pair

  before(async function () {
    this.timeout(300_000)
    const found = await earlier()
    if ('reason' in found) {
      process.stdout.write(`      ${found.reason}\n`)
      return void this.skip()
    }
    previous = found
    pair = await startPair(previous, now)
  })
  after(() => pair?.stop())

  const directions = [
    ['the earlier one', 'this one', 0],
    ['this one', 'the earlier one', 1],
  ] as const
  for (const [from, to, index] of directions) {
    describe(`what ${from} writes is in force on ${to} within a second:`, () => {
      const here = (): Place => pair.places[index]
      const there = (): Place => pair.places[index === 0 ? 1 : 0]
      const soon = (what: string, is: () => Promise<boolean>) => until(what, is, promised)

      it('(each runs what it should)', () => {
        assert.deepEqual(
          pair.places.map(({ version }) => version()),
          [previous.name, now.name],
        )
      })

      it('an owner, set, changed and removed', async () => {
        const admin = await here().admin()
        const [alice, bob] = await Promise.all(['alice', 'bob'].map((subject) => admin.mint({ subject, roles: ['sandbox:invoke'] })))
        const path = `/v1/sandboxes/owned-${index}/run`
        // What is not there is remembered too, and must be forgotten.
        assert.equal(await there().ask(path, alice?.token), 'not_owner')
        await admin.setOwner('sandbox', `owned-${index}`, 'agent:alice')
        await soon('the owner', async () => (await there().ask(path, alice?.token)) === 'ok')
        await admin.setOwner('sandbox', `owned-${index}`, 'agent:bob')
        await soon('the next owner', async () => (await there().ask(path, bob?.token)) === 'ok')
        assert.equal(await there().ask(path, alice?.token), 'not_owner')
        assert.equal((await admin.call('DELETE', `/v1/resources/sandbox/owned-${index}/labels`)).ok, true)
        await soon('no owner', async () => (await there().ask(path, bob?.token)) === 'not_owner')
      })

      it('a token that it made, and the revocation of it and of its subject', async () => {
        const admin = await here().admin()
        const minted = await admin.mint({ subject: `carol-${index}`, roles: ['sandbox:invoke'] })
        await soon('the token', async () => (await there().ask(plain, minted.token)) === 'ok')
        assert.equal(await here().ask(plain, minted.token), 'ok')
        await admin.revoke('token', minted.jti)
        await soon('its revocation', async () => (await there().ask(plain, minted.token)) === 'revoked')
        const another = await admin.mint({ subject: `dave-${index}`, roles: ['sandbox:invoke'] })
        await soon('the other token', async () => (await there().ask(plain, another.token)) === 'ok')
        await admin.revoke('subject', `agent:dave-${index}`)
        await soon('the revocation of its subject', async () => (await there().ask(plain, another.token)) === 'revoked')
      })

      it('an API key, and its revocation', async () => {
        const admin = await here().admin()
        const made = (await (await admin.call('POST', '/v1/api-keys', { owner: 'acme' })).json()) as { id: string; key: string }
        await soon('the key', async () => (await there().ask(plain, made.key)) === 'ok')
        assert.equal((await admin.call('DELETE', `/v1/api-keys/${made.id}`)).ok, true)
        await soon('the key to be gone', async () => /^(revoked|invalid_credential)$/.test(await there().ask(plain, made.key)))
      })

      it('its signing keys: a token of one is verified by the key set of the other', async () => {
        const minted = await (await here().admin()).mint({ subject: 'erin', roles: ['sandbox:invoke'] })
        const keys = createRemoteJWKSet(new URL(`${there().issuer}/jwks.json`))
        const { payload } = await jwtVerify(minted.token, keys, { issuer: 'https://issuer.example', audience: 'postern' })
        assert.equal(payload.sub, 'erin')
      })

      it('its audit events', async () => {
        const admin = await here().admin()
        await admin.revoke('token', `audited-${index}`)
        const seen = await (await there().admin()).call('GET', '/v1/audit/events?event_type=token_revoked&limit=100')
        const text = await seen.text()
        assert.equal(seen.status, 200, text)
        assert.match(text, new RegExp(`audited-${index}`))
      })
    })
  }

  // In a block of its own: mocha runs the tests of a block before the blocks in it.
  describe('one after the other', () => {
    it('are upgraded and rolled back under load, with no request that fails', async () => {
      const token = await pair.edge.users.mint({ sub: 'alice', aud: 'agentcube-router', realm_access: { roles: ['sandbox:invoke'] } })
      const failed: string[] = []
      let answered = 0
      let going = true
      const one = async (): Promise<void> => {
        const headers = { authorization: `Bearer ${token}` }
        const { status, body } = await request({ port: pair.edge.port, tls: pair.edge.tls(), path: plain, headers })
        if (status === 200) answered += 1
        else failed.push(`${status} ${body} while ${pair.places.map(({ version }) => version()).join(' and ')} ran`)
      }
      const open: Promise<void>[] = []
      const load = (async () => {
        while (going) {
          open.push(one())
          await sleep(40)
        }
      })()
      // As docs/guides/upgrade.md has it: until Envoy calls both healthy, and two seconds more. A replica that was away is ejected until
      // a health check finds it well, and Envoy's workers hear of both changes up to a second later (`update_merge_window`): counts of
      // checks alone may grow on a host that the workers are about to lose.
      const both = async (): Promise<void> => {
        const asked = async (): Promise<{ healthy: boolean; counts: number[] }> => {
          const text = await pair.edge.envoy.admin('/clusters')
          const found = (pattern: RegExp) => [...text.matchAll(pattern)].map(([, value]) => value)
          const flags = found(/^postern::[\d.:]+::health_flags::(.*)$/gm)
          const counts = found(/^postern::[\d.:]+::rq_success::(\d+)/gm).map(Number)
          return { healthy: flags.length === 2 && flags.every((flag) => flag === 'healthy'), counts }
        }
        let since = performance.now()
        const stays = async () => {
          if (!(await asked()).healthy) since = performance.now()
          return performance.now() - since > 2_000
        }
        await until('both to be healthy for Envoy', stays, 30_000)
        const begun = (await asked()).counts
        const grown = async () => (await asked()).counts.every((count, at) => count > (begun[at] ?? 0) + 3)
        await until('checks at both', grown, 30_000)
      }
      const codes: (number | null)[] = []
      await both()
      // The earlier one is replaced: the upgrade is complete.
      codes.push(await pair.places[0].become(now))
      await both()
      // Back, one after the other: this version, then none of it.
      for (const place of pair.places) {
        codes.push(await place.become(previous))
        await both()
      }
      going = false
      await load
      await Promise.all(open)
      assert.deepEqual(
        failed,
        [],
        JSON.stringify(
          pair.edge.envoy
            .accessLog()
            .filter(({ status }) => Number(status) >= 500)
            .slice(0, 3),
        ),
      )
      assert.deepEqual(codes, [0, 0, 0])
      assert.ok(answered > 100, `${answered} answered`)
    })
  })
})
