import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeProtectedHeader } from 'jose'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { request } from '../support/request.ts'
import { until } from '../support/until.ts'
import { type Admin, adminOf } from './admin.ts'
import { type AgentcubeEdge, startAgentcubeEdge } from './agentcube-edge.ts'
import type { AccessToken, RunningKeycloak } from './keycloak.ts'
import { sharedKeycloak } from './shared.ts'

const path = '/v1/namespaces/default/agent-runtimes/my-agent/invocations/'
/** As Envoy's `cache_duration` is in this test; envoy.yaml has 60. */
const cacheSeconds = 2

/** A client that asks without a pause, with a token that it renews each half second, and with others when it is told. */
interface Traffic {
  readonly asked: () => number
  readonly end: () => Promise<void>
}

describe('a rotation of Keycloak’s keys', function () {
  this.timeout(60_000)
  let keycloak: RunningKeycloak
  let admin: Admin
  let redis: RunningRedis
  let realmId: string
  const made: string[] = []

  before(async function () {
    this.timeout(180_000)
    keycloak = await sharedKeycloak()
    admin = await adminOf(keycloak)
    redis = await startRedis()
    realmId = (await admin('GET', '/agentcube')).body.id as string
  })
  after(async () => {
    for (const id of made) await admin('DELETE', `/agentcube/components/${id}`)
    await redis?.stop()
  })

  const kid = ({ token }: AccessToken) => decodeProtectedHeader(token).kid
  let priority = 1_000
  const component = (config: Record<string, string>, name: string) => ({
    name,
    parentId: realmId,
    providerId: 'rsa-generated',
    providerType: 'org.keycloak.keys.KeyProvider',
    config: Object.fromEntries(Object.entries({ algorithm: 'RS256', keySize: '2048', ...config }).map(([key, value]) => [key, [value]])),
  })
  /** Adds a key that comes before all others. */
  const addKey = async (active: boolean): Promise<string> => {
    const name = `rsa-${priority}`
    await admin('POST', '/agentcube/components', component({ priority: `${priority++}`, active: `${active}`, enabled: 'true' }, name))
    const [found] = (await admin('GET', `/agentcube/components?parent=${realmId}&type=org.keycloak.keys.KeyProvider&name=${name}`))
      .body as { id: string }[]
    assert.ok(found)
    made.push(found.id)
    return found.id
  }
  const change = async (id: string, config: Record<string, string>) => {
    const { body } = await admin('GET', `/agentcube/components/${id}`)
    const changed = Object.fromEntries(Object.entries(config).map(([key, value]) => [key, [value]]))
    await admin('PUT', `/agentcube/components/${id}`, { ...body, config: { ...body.config, ...changed } })
  }

  const call = (edge: AgentcubeEdge, { token }: AccessToken) =>
    request({ port: edge.port, tls: edge.tls, path, headers: { authorization: `Bearer ${token}` } })

  function startTraffic(edge: AgentcubeEdge, others: () => readonly AccessToken[]): Traffic {
    let going = true
    let count = 0
    const run = async () => {
      let fresh = await keycloak.login('agentcube-sdk')
      let renewed = Date.now()
      while (going) {
        if (Date.now() - renewed > 500) [fresh, renewed] = [await keycloak.login('agentcube-sdk'), Date.now()]
        for (const who of [fresh, ...others()]) {
          const { status, body } = await call(edge, who)
          assert.equal(status, 200, `request ${count}, key ${kid(who)}: ${body}`)
          count++
        }
        await sleep(20)
      }
    }
    const running = run()
    // Told by `end`; until then it is not unhandled.
    running.catch(() => {})
    return {
      asked: () => count,
      end: () => {
        going = false
        return running
      },
    }
  }
  const more = (traffic: Traffic, by: number) => {
    const from = traffic.asked()
    return until(`${by} more requests`, async () => traffic.asked() >= from + by, 20_000)
  }

  it('loses no request where Postern verifies: it fetches the key that it does not know', async () => {
    const first = await addKey(true)
    const edge = await startAgentcubeEdge(keycloak, redis, 'postern')
    try {
      let old: AccessToken[] = [await keycloak.login('agentcube-sdk')]
      const traffic = startTraffic(edge, () => old)
      await more(traffic, 20)
      const second = await addKey(true)
      await more(traffic, 40)
      const now = await keycloak.login('agentcube-sdk')
      assert.notEqual(kid(now), kid(old[0]!))
      // The old key signs no more, and still verifies …
      await change(first, { active: 'false' })
      await more(traffic, 40)
      // … until the last token that it signed has ended, which nobody here waits for.
      old = [now]
      await more(traffic, 4)
      await change(first, { enabled: 'false' })
      await more(traffic, 40)
      await traffic.end()
      await change(second, { priority: '1' })
    } finally {
      await edge.stop()
    }
  })

  it('loses no request where Envoy verifies, if the key is published before it signs', async () => {
    const first = await addKey(true)
    const edge = await startAgentcubeEdge(keycloak, redis, 'envoy', cacheSeconds)
    try {
      let old: AccessToken[] = [await keycloak.login('agentcube-sdk')]
      const traffic = startTraffic(edge, () => old)
      await more(traffic, 20)
      const second = await addKey(false)
      await sleep((cacheSeconds + 1) * 1_000)
      assert.equal(kid(await keycloak.login('agentcube-sdk')), kid(old[0]!), 'a passive key signs')
      await change(second, { active: 'true' })
      await until('the new key', async () => kid(await keycloak.login('agentcube-sdk')) !== kid(old[0]!), 5_000)
      await more(traffic, 40)
      await change(first, { active: 'false' })
      await more(traffic, 20)
      const last = old[0]!
      old = [await keycloak.login('agentcube-sdk')]
      await more(traffic, 4)
      await change(first, { enabled: 'false' })
      await until('the old key to be forgotten', async () => (await call(edge, last)).status === 401, 15_000)
      await more(traffic, 20)
      await traffic.end()
    } finally {
      await edge.stop()
    }
  })

  it('is 401 for as long as Envoy keeps the keys, if it signs at once', async () => {
    const edge = await startAgentcubeEdge(keycloak, redis, 'envoy', 5)
    try {
      await until('the keys', async () => (await call(edge, await keycloak.login('agentcube-sdk'))).status === 200, 10_000)
      await addKey(true)
      const began = Date.now()
      const fresh = await keycloak.login('agentcube-sdk')
      const answer = await call(edge, fresh)
      assert.equal(answer.status, 401)
      assert.equal((JSON.parse(answer.body) as { reason: string }).reason, 'invalid_credential')
      await until('Envoy to fetch', async () => (await call(edge, fresh)).status === 200, 15_000)
      assert.ok(Date.now() - began < 8_000)
    } finally {
      await edge.stop()
    }
  })
})
