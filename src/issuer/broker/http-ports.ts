import type { Handler } from 'hono'
import type { Apps, LaunchTokens } from '../../core/broker.ts'
import type { Connection } from '../../core/connection.ts'
import type { Minted, OwnToken } from '../../core/issuer.ts'
import type { Delegated, DelegationOrder } from './delegation.ts'
import type { BrokerEnv } from './http-answers.ts'
import type { Nonces } from './nonces.ts'
import type { ReadPresented } from './presented.ts'
import type { Registered, Registration } from './register.ts'
import type { Renewal } from './renewal.ts'
import type { BrokerRules } from './rules.ts'

/** How the broker is, as load balancers ask. */
export interface BrokerHealth {
  readonly version: string
  /** Seconds. */
  readonly uptime: number
  readonly dbConnected: boolean
  readonly auditEvents: number
}

/** Apps that log in; what agents and apps ask; what anybody may look at. */
export type LimitName = 'logins' | 'asks' | 'looks'

/** @returns 0 where the address may go on, else the seconds after which to try again */
export type AddressLimit = (address: string) => number

/** What the broker's HTTP API asks of the rest. Milliseconds since the epoch, where it is `now`. */
export interface BrokerHttpOptions {
  /** The audience of apps' tokens. */
  readonly issuer: string
  readonly rules: () => BrokerRules
  readonly present: ReadPresented
  readonly nonces: Pick<Nonces, 'make'>
  readonly register: (asked: Registration, now: number) => Promise<Registered>
  readonly renewal: Renewal
  readonly delegate: (token: OwnToken, asked: DelegationOrder, now: number) => Promise<Delegated>
  readonly apps: Pick<Apps, 'get'>
  readonly launchTokens: LaunchTokens
  readonly logIn: (id: string, secret: string, from: string, now: number) => Promise<Minted | undefined>
  /** The admin API, for the calls that the broker's operator knows; it authenticates by itself. */
  readonly admin: (request: Request, connection: Connection) => Response | Promise<Response>
  readonly limits: Readonly<Record<LimitName, AddressLimit>>
  readonly health: () => Promise<BrokerHealth>
  readonly metrics: { readonly expose: () => Promise<string>; readonly contentType: string }
  /** The OpenAPI document, in JSON. */
  readonly openapi: () => string
  /** Told of each request that the admin API did not answer, by its template, and how long it took in seconds. */
  readonly observe: (endpoint: string, seconds: number) => void
  readonly clock: () => number
  /** An error that nobody expected; the caller is told nothing of it. */
  readonly onFault: (cause: unknown) => void
}

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'

/** A call of the API. */
export interface Call {
  readonly method: Method
  readonly path: string
  /** Whose it is to say how often an address may call it; absent: as often as it likes, or the admin API's. */
  readonly limit?: LimitName
  readonly run: Handler<BrokerEnv>
}
