import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { grantTypes } from '../../../src/core/issuer-client.ts'
import { type Asker, openAsker } from '../../faults/asker.ts'
import { type BrokerClient, brokerClient, brokerSecret } from '../../support/broker.ts'
import { freePorts } from '../../support/free-port.ts'
import { type OidcIssuer, startOidc } from '../../support/oidc.ts'
import { type RunningPostern, startPostern } from '../../support/postern.ts'
import { createStops } from '../../support/stops.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

/** What one address asks for is limited by address: attacks that must not disturb each other come from others of 127.0.0.0/8. */
export type From = string | undefined

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: bodies of answers are looked at as they come
  readonly json: any
}

export type Form = string | Readonly<Record<string, string | readonly string[]>>

/** A whole service with clients of several sorts, two issuers of users, one of jobs, and the broker. */
export interface World {
  readonly postern: RunningPostern
  /** Subjects without a prefix. */
  readonly users: OidcIssuer
  /** Subjects with `staff:` before them. */
  readonly staff: OidcIssuer
  /** Its tokens are swapped. */
  readonly jobs: OidcIssuer
  readonly issuer: string
  readonly port: number
  readonly broker: BrokerClient
  /** The reason that the check of a GET with this token has. */
  readonly check: Asker['ask']
  readonly post: (path: string, form: Form, headers?: Readonly<Record<string, string>>, from?: From) => Promise<Answer>
  /** Sends bytes, and gives all that comes until the connection ends, or nothing more comes for a while. */
  readonly raw: (bytes: string) => Promise<string>
  readonly exchange: (client: string, token: string, params?: Readonly<Record<string, string | readonly string[]>>) => Promise<Answer>
  readonly own: (client: string, params?: Readonly<Record<string, string | readonly string[]>>) => Promise<Answer>
  readonly policy: (more?: string) => string
  readonly stop: () => Promise<void>
}

export const secretOf = (client: string): string => `the secret of ${client}, 100% made up + long`

export const basic = (client: string, secret = secretOf(client)): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${encodeURIComponent(client)}:${encodeURIComponent(secret)}`).toString('base64')}`,
})

export const accessToken = 'urn:ietf:params:oauth:token-type:access_token'
export const exchangeGrant = grantTypes.token_exchange

export async function openWorld({ state = 'memory:', ttl = '300s' }: { state?: string; ttl?: string } = {}): Promise<World> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const [users, staff, jobs] = [started(await startOidc()), started(await startOidc()), started(await startOidc())]
    const [check = 0, admin = 0, issuer = 0] = await freePorts(3)
    const policy = (more = ''): string => `
version: 1
listen:
  check: { address: "127.0.0.1:${check}" }
  admin: { address: "127.0.0.1:${admin}" }
  issuer: { address: "127.0.0.1:${issuer}" }
state: "${state}"
admin: { secret: "${brokerSecret}" }
broker: { enabled: true, trust_domain: agents.test, roles: [agent] }
identity:
  - { name: own, type: postern, audience: postern, subject_namespace: "own:" }
  - { name: users, type: oidc, issuer: "${users.issuer}", audience: [app], claims: { roles: roles }, subject_namespace: "" }
  - { name: staff, type: oidc, issuer: "${staff.issuer}", audience: [app], claims: { roles: roles }, subject_namespace: "staff:" }
roles: { agent: {}, reader: {}, deployer: {}, root: {} }
issuer:
  keys: { encryption_key: "${'ab'.repeat(32)}" }
  clients:
    - id: backend
      auth: { secret: "${secretOf('backend').replaceAll('"', '\\"')}" }
      grants: [client_credentials, token_exchange, refresh_token]
      roles: [reader]
      scopes: ["read:data:*"]
      audiences: [postern, api]
      ttl: ${ttl}
      exchange: { audiences: [postern, api, "https://api.example/v1"], scopes: ["read:data:*"], max_ttl: ${ttl} }
    - id: narrow
      auth: { secret: "${secretOf('narrow')}" }
      grants: [token_exchange]
      exchange: { audiences: [api], subjects_of: [users], scopes: ["read:data:x"] }
    - id: plain
      auth: { secret: "${secretOf('plain')}" }
      grants: [client_credentials]
      audiences: [api]
      introspect: false
${more}
  federation:
    - { name: jobs, issuer: "${jobs.issuer}", audience: sts, subject: "job:{sub}", roles: [deployer], scopes: ["deploy:app:*"], audiences: [postern, registry] }
    - { name: raw, issuer: "${jobs.issuer}", audience: raw, subject: "{sub}", audiences: [registry] }
routes:
  - { id: any, methods: [GET], path: /any, roles: [agent, reader, deployer, root] }
  - { id: box, methods: [GET], path: "/boxes/{id}", roles: [reader], owner: { resource: box, id: "path:id" } }
`
    const postern = started(await startPostern(policy(), { folder }))
    const base = `http://127.0.0.1:${issuer}`
    const asker = openAsker(`127.0.0.1:${check}`)
    started({ stop: async () => asker.close() })
    const post: World['post'] = (path, form, headers = {}, from) => {
      const body =
        typeof form === 'string'
          ? form
          : new URLSearchParams(
              Object.entries(form).flatMap(([name, value]) => [value].flat().map((one): [string, string] => [name, String(one)])),
            ).toString()
      return new Promise((resolve, reject) => {
        const outgoing = httpRequest(
          base + path,
          {
            method: 'POST',
            agent: false,
            headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(body), ...headers },
            ...(from !== undefined && { localAddress: from }),
          },
          (incoming) => {
            const parts: Buffer[] = []
            incoming.on('error', reject).on('data', (part: Buffer) => parts.push(part))
            incoming.on('end', () => {
              const text = Buffer.concat(parts).toString()
              const isJson = /json/.test(incoming.headers['content-type'] ?? '')
              resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, json: isJson ? JSON.parse(text) : undefined })
            })
          },
        )
        outgoing.on('error', reject)
        outgoing.end(body)
      })
    }
    return {
      postern,
      users,
      staff,
      jobs,
      issuer: base,
      port: issuer,
      broker: brokerClient(base),
      check: asker.ask,
      post,
      policy,
      raw: (bytes) =>
        new Promise((resolve, reject) => {
          const socket = connect(issuer, '127.0.0.1', () => socket.write(Buffer.from(bytes, 'latin1')))
          const parts: Buffer[] = []
          socket.setTimeout(700, () => socket.destroy())
          socket.on('data', (part: Buffer) => parts.push(part))
          socket.on('close', () => resolve(Buffer.concat(parts).toString('latin1')))
          socket.on('error', (fault: NodeJS.ErrnoException) =>
            fault.code === 'ECONNRESET' || fault.code === 'EPIPE' ? undefined : reject(fault),
          )
        }),
      exchange: (client, token, params = {}) =>
        post('/token', { grant_type: exchangeGrant, subject_token: token, subject_token_type: accessToken, ...params }, basic(client)),
      own: (client, params = {}) => post('/token', { grant_type: 'client_credentials', ...params }, basic(client)),
      stop,
    }
  } catch (cause) {
    await stop()
    throw cause
  }
}
