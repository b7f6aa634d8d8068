import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

export const brokerSecret = 'a-secret-of-at-least-32-characters!!'

export interface BrokerAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  /** {} where it is no JSON object. */
  readonly json: Record<string, unknown>
}

/** A client of the broker's HTTP API. */
export interface BrokerClient {
  readonly ask: (method: string, path: string, body?: unknown, token?: string, from?: string) => Promise<BrokerAnswer>
  /** Admin token by the secret; waits where an address has logged in too often. */
  readonly login: (secret?: string) => Promise<string>
}

/**
 * @param base URL of the issuer listener
 * @param to `from` of `ask` is an address of 127.0.0.0/8 to ask from, each with a limit of its own
 */
export function brokerClient(base: string): BrokerClient {
  const ask: BrokerClient['ask'] = (method, path, body, token, from) => {
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
    const headers = {
      ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    }
    return new Promise((resolve, reject) => {
      const options = { method, headers, agent: false as const, ...(from === undefined ? {} : { localAddress: from }) }
      const outgoing = httpRequest(base + path, options, (incoming) => {
        const parts: Buffer[] = []
        incoming.on('error', reject).on('data', (part: Buffer) => parts.push(part))
        incoming.on('end', () => {
          const answer = Buffer.concat(parts).toString()
          const isJson = /json/.test(incoming.headers['content-type'] ?? '') && answer.startsWith('{')
          const json = isJson ? (JSON.parse(answer) as Record<string, unknown>) : {}
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text: answer, json })
        })
      })
      outgoing.on('error', reject)
      outgoing.end(text)
    })
  }
  return {
    ask,
    login: async (secret = brokerSecret) => {
      for (;;) {
        const answer = await ask('POST', '/v1/admin/auth', { secret })
        if (answer.status === 200) return String(answer.json['access_token'])
        if (answer.status !== 429) throw new Error(`the admin login answered ${answer.status}: ${answer.text}`)
        await sleep(300)
      }
    },
  }
}

/** A policy with a broker on loopback; `state` is `memory:` unless it is given. */
export const brokerPolicy = (at: { admin: number; issuer: number; folder: string; state?: string; broker?: string }): string => `version: 1
listen:
  check: { address: "unix:${at.folder}/check.sock" }
  admin: { address: 127.0.0.1:${at.admin} }
  issuer: { address: 127.0.0.1:${at.issuer} }
state: "${at.state ?? 'memory:'}"
admin: { secret: "${brokerSecret}" }
broker: { enabled: true, trust_domain: agents.test, roles: [agent]${at.broker === undefined ? '' : `, ${at.broker}`} }
identity:
  - { name: agents, type: postern, audience: postern, may_assert: [agent] }
roles: { agent: {} }
routes:
  - { id: data, path: /v1/data, roles: [agent], scopes: ["read:data:x"] }
`

/** A key pair of an agent, and its signatures of nonces. */
export function agentKeys(): { publicKey: string; privateKey: KeyObject; sign: (nonce: string) => string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const { x } = publicKey.export({ format: 'jwk' })
  return { publicKey: x!, privateKey, sign: (nonce) => sign(null, Buffer.from(nonce), privateKey).toString('base64url') }
}

export interface RegisteredAgent {
  readonly id: string
  readonly token: string
}

/** Lets an agent in by a launch token of its own. */
export async function agentOf(
  { ask }: BrokerClient,
  adminToken: string,
  { scopes = ['read:data:x'], task = 'task-1' }: { scopes?: readonly string[]; task?: string } = {},
): Promise<RegisteredAgent> {
  const launch = await ask('POST', '/v1/admin/launch-tokens', { agent_name: 'tester', allowed_scope: scopes }, adminToken)
  const nonce = String((await ask('GET', '/v1/challenge')).json['nonce'])
  const keys = agentKeys()
  const registered = await ask('POST', '/v1/register', {
    launch_token: launch.json['launch_token'],
    nonce,
    public_key: keys.publicKey,
    signature: keys.sign(nonce),
    orch_id: 'orch-1',
    task_id: task,
    requested_scope: scopes,
  })
  if (registered.status !== 201) throw new Error(`no agent was registered: ${registered.status} ${registered.text}`)
  return { id: String(registered.json['agent_id']), token: String(registered.json['access_token']) }
}
