import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { memoryReplays } from '../../../src/adapters/memory-replays.ts'
import { composeOAuth } from '../../../src/compose/oauth.ts'
import type { OwnToken, TokenOrder } from '../../../src/core/issuer.ts'
import type { Client, Grant } from '../../../src/core/issuer-client.ts'
import type { JsonObject } from '../../../src/core/json.ts'
import { Unavailable } from '../../../src/core/ports.ts'
import { sameSecret } from '../../../src/core/same-secret.ts'
import { type GrantAnswer, type GrantRequest, refused } from '../../../src/issuer/grants.ts'
import type { Act } from '../../../src/issuer/issuance.ts'
import { createMint, type Mint } from '../../../src/issuer/mint.ts'
import type { Offered } from '../../../src/issuer/oauth/metadata.ts'
import { ownTokens } from '../../../src/issuer/own-token.ts'
import { type HttpListener, startHttpListener } from '../../../src/wire/http-listener.ts'
import { parseListenAddress } from '../../../src/wire/listener.ts'
import { listenTls, type TlsFiles } from '../../support/listen-tls.ts'

export const issuer = 'https://sts.example/auth'

/** A compact JWS by a key of the test. */
export function signed(header: JsonObject, payload: JsonObject, key: KeyObject): string {
  const part = (value: JsonObject): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const input = `${part(header)}.${part(payload)}`
  const options = key.asymmetricKeyType === 'ec' ? { key, dsaEncoding: 'ieee-p1363' as const } : key
  return `${input}.${sign(key.asymmetricKeyType === 'ed25519' ? null : 'sha256', Buffer.from(input), options).toString('base64url')}`
}

export const client = (id: string, authentication: Client['authentication'], more: Partial<Client> = {}): Client => ({
  id,
  authentication,
  grants: ['client_credentials', 'token_exchange', 'refresh_token'],
  roles: [],
  scopes: ['read'],
  audiences: ['postern'],
  ttl: 300,
  introspects: true,
  exchange: undefined,
  ...more,
})
export const withSecret = (id: string, secret: string, more: Partial<Client> = {}): Client =>
  client(id, { kind: 'secret', matches: (shown) => sameSecret(shown, secret) }, more)

export interface Rig {
  readonly url: string
  readonly port: number
  readonly clients: Map<string, Client>
  readonly mint: Mint
  /** `jti` of what was revoked. */
  readonly revoked: Map<string, string>
  readonly requests: GrantRequest[]
  /** What the audit trail was told. */
  readonly acts: Act[]
  readonly faults: unknown[]
  readonly observed: string[]
  /** What state does. */
  readonly state: { down: boolean /** Milliseconds that a client is looked for. */; slow: number }
  offered: Offered | undefined
  readonly metadata: () => object | undefined
  readonly token: (order?: Partial<TokenOrder>) => string
  readonly post: (path: string, form: Record<string, string | string[]> | string, headers?: Record<string, string>) => Promise<Answer>
  readonly close: () => Promise<void>
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: bodies of answers are looked at as they come
  readonly json: any
}

/** The token service on a listener of its own, with small grants behind it. */
export async function openRig(tls: TlsFiles = { mode: 'none' }, at = issuer, limited = false): Promise<Rig> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const signer = { sign: (payload: JsonObject, typ: string) => signed({ alg: 'ES256', kid: 'k1', typ }, payload, privateKey) }
  const mint = createMint({ issuer: at, signer, adminAudience: 'postern-admin' })
  const verifyOwn = ownTokens({
    issuer: at,
    keys: {
      find: (kid) =>
        kid === 'k1' ? { kind: 'key', key: createPublicKey(publicKey.export({ type: 'spki', format: 'pem' })) } : { kind: 'unknown' },
    },
  })
  const clients = new Map<string, Client>()
  const revoked = new Map<string, string>()
  const requests: GrantRequest[] = []
  const acts: Act[] = []
  const faults: unknown[] = []
  const observed: string[] = []
  const state = { down: false, slow: 0 }
  const up = (): void => {
    if (state.down) throw new Unavailable('state is down')
  }
  const order = (more: Partial<TokenOrder>): TokenOrder => ({
    kind: 'edge',
    audience: 'postern',
    subject: 'alice',
    scopes: ['read'],
    ttl: 60,
    now: Date.now(),
    ...more,
  })
  const grant = (request: GrantRequest): GrantAnswer => {
    requests.push(request)
    up()
    const scope = request.params.get('scope')
    if (scope === 'too:wide') return refused('invalid_scope', 'beyond what the client may have')
    if (scope === 'nonce') return { kind: 'refused', error: 'use_dpop_nonce', description: 'take the nonce', nonce: 'n-1' }
    if (scope === 'away') return refused('temporarily_unavailable', 'keys cannot be had')
    if (scope === 'throws') throw new Error('a secret detail')
    const minted = mint.ordered(order({ subject: request.client.id, client: request.client.id }))
    return { kind: 'granted', body: { access_token: minted.token, token_type: 'Bearer', expires_in: 60, scope: 'read' } }
  }
  const rig = {
    offered: { grants: ['client_credentials', 'token_exchange', 'refresh_token'] as Grant[], federation: false } as Offered | undefined,
  }
  const service = composeOAuth({
    issuer: at,
    clients: async (id) => {
      up()
      if (state.slow > 0) await sleep(state.slow)
      return clients.get(id)
    },
    grants: { client_credentials: grant, token_exchange: async (request) => grant(request), refresh_token: grant },
    verify: verifyOwn,
    isRevoked: (token: OwnToken) => {
      if (token.scopes.includes('unknowable')) throw new Unavailable('nothing was heard of revocations')
      return revoked.has(token.id)
    },
    revoke: async (token, by) => {
      up()
      revoked.set(token.id, by.id)
    },
    replays: memoryReplays(),
    record: async (act) => {
      acts.push(act)
      up()
    },
    onFault: (cause) => faults.push(cause),
    offered: () => rig.offered,
    tls: tls.mode,
    ...(!limited && { failures: { take: () => 0, wait: () => 0, spend: () => {} } }),
    observe: (endpoint) => observed.push(endpoint),
  })
  const listener: HttpListener = await startHttpListener({
    name: 'issuer',
    listener: { address: parseListenAddress('127.0.0.1:0'), tls: listenTls(tls) },
    fetch: () => new Response('not taken', { status: 404 }),
    take: service.handle,
    onFault: (detail) => faults.push(detail),
  })
  const { port } = listener.address as { port: number }
  const url = `http://127.0.0.1:${port}`
  return Object.assign(rig, {
    url,
    port,
    clients,
    mint,
    revoked,
    requests,
    acts,
    faults,
    observed,
    state,
    metadata: service.metadata,
    token: (more: Partial<TokenOrder> = {}) => mint.ordered(order(more)).token,
    post: async (path: string, form: Record<string, string | string[]> | string, headers: Record<string, string> = {}): Promise<Answer> => {
      const body =
        typeof form === 'string'
          ? form
          : new URLSearchParams(
              Object.entries(form).flatMap(([name, value]) => [value].flat().map((one): [string, string] => [name, one])),
            ).toString()
      const answer = await fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
        body,
      })
      const text = await answer.text()
      const isJson = answer.headers.get('content-type')?.startsWith('application/json')
      return { status: answer.status, headers: answer.headers, text, json: isJson ? JSON.parse(text) : undefined }
    },
    close: async () => {
      service.close()
      await listener.close(100)
    },
  })
}

export const basic = (id: string, secret: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`,
})
