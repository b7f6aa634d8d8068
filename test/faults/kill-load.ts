import { setTimeout as sleep } from 'node:timers/promises'

/** What was answered with 2xx so far, and so has to be there for ever. */
export interface Acknowledged {
  /** jti → the token. */
  readonly tokens: Map<string, string>
  /** jti, or subject. */
  readonly revoked: Set<string>
  /** id → the key. */
  readonly apiKeys: Map<string, string>
  readonly revokedKeys: Set<string>
  /** Apps, a record each. `asked`: to be removed, which was not answered. */
  readonly apps: Map<string, 'there' | 'asked' | 'gone'>
  /** Sandbox → the owner that was acknowledged or seen last, and those that were asked for since: any of them may be there. */
  readonly owners: Map<string, { last: string | undefined; asked: Set<string> }>
  /** `sandbox owner` of each owner that was acknowledged. */
  readonly owned: Set<string>
}

export const nothingYet = (): Acknowledged => ({
  tokens: new Map(),
  revoked: new Set(),
  apiKeys: new Map(),
  revokedKeys: new Set(),
  apps: new Map(),
  owners: new Map(),
  owned: new Set(),
})

/** How many acts were acknowledged. */
export const acts = ({ tokens, revoked, apiKeys, revokedKeys, apps, owned }: Acknowledged): number =>
  tokens.size + revoked.size + apiKeys.size + revokedKeys.size + apps.size + owned.size

/** Sends a request of the admin API; rejects where no answer came. */
export type Call = (method: string, path: string, body?: unknown) => Promise<Response>

export interface KillLoad {
  /** Answers other than 2xx, which nobody expects of a healthy service. */
  readonly refusals: readonly string[]
  /** Ends when the acts under way have been answered, or have failed. */
  readonly stop: () => Promise<void>
}

const pick = <T>(from: Iterable<T>, size: number): T | undefined => {
  let i = Math.floor(Math.random() * size)
  for (const one of from) if (i-- === 0) return one
  return undefined
}

/**
 * Several clients that each do one thing after the other: mint, revoke, set owners, make and revoke API keys. What is answered
 * is noted; what is not may have happened or not.
 * @param clients how many
 * @param named part of every name, so that no two loads share one but for owners
 */
export function startKillLoad(call: Call, known: Acknowledged, clients: number, named: string): KillLoad {
  const refusals: string[] = []
  let over = false

  const ask = async (method: string, path: string, body?: unknown): Promise<Record<string, unknown> | undefined> => {
    const response = await call(method, path, body)
    const text = await response.text()
    if (response.ok) return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
    refusals.push(`${method} ${path}: ${response.status} ${text.slice(0, 200)}`)
    return undefined
  }

  const act = async (client: number, n: number): Promise<void> => {
    const dice = Math.random()
    if (dice < 0.3) {
      const answer = await ask('POST', '/v1/admin/tokens', { subject: `${named}-${client}-${n}`, roles: ['sandbox:invoke'], ttl: 86_400 })
      if (answer) known.tokens.set(String(answer['jti']), String(answer['access_token']))
    } else if (dice < 0.5) {
      const jti = pick(known.tokens.keys(), known.tokens.size)
      if (jti !== undefined && (await ask('POST', '/v1/revoke', { level: 'token', target: jti }))) known.revoked.add(jti)
    } else if (dice < 0.6) {
      const target = `agent:gone-${named}-${client}-${n}`
      if (await ask('POST', '/v1/revoke', { level: 'subject', target })) known.revoked.add(target)
    } else if (dice < 0.8) {
      // Each client has sandboxes of its own, and sets the owner of each again and again.
      const [id, owner] = [`s-${client}-${n % 10}`, `${named}-${n}`]
      const at = known.owners.get(id) ?? { last: undefined, asked: new Set<string>() }
      known.owners.set(id, at)
      at.asked.add(owner)
      if (await ask('PUT', `/v1/resources/sandbox/${id}/labels`, { owner })) {
        at.last = owner
        known.owned.add(`${id} ${owner}`)
        at.asked.clear()
      }
    } else if (dice < 0.86) {
      const answer = await ask('POST', '/v1/admin/apps', { name: `${named}-${client}-${n}`, scopes: ['read:*:*'] })
      if (answer) known.apps.set(String(answer['app_id']), 'there')
    } else if (dice < 0.89) {
      const id = pick(known.apps.keys(), known.apps.size)
      if (id === undefined || known.apps.get(id) !== 'there') return
      known.apps.set(id, 'asked')
      if (await ask('DELETE', `/v1/admin/apps/${id}`)) known.apps.set(id, 'gone')
    } else if (dice < 0.96) {
      const answer = await ask('POST', '/v1/api-keys', { owner: `${named}-${client}-${n}` })
      if (answer) known.apiKeys.set(String(answer['id']), String(answer['key']))
    } else {
      const id = pick(known.apiKeys.keys(), known.apiKeys.size)
      if (id !== undefined && (await ask('DELETE', `/v1/api-keys/${id}`))) known.revokedKeys.add(id)
    }
  }

  const running = Array.from({ length: clients }, async (_, client) => {
    for (let n = 0; !over; n++) {
      // A killed service answers nobody; the test ends the load then.
      await act(client, n).catch(() => sleep(5))
    }
  })
  return {
    refusals,
    stop: async () => {
      over = true
      await Promise.all(running)
    },
  }
}
