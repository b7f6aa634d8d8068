import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Connection } from '../../core/connection.ts'
import { grantTypes } from '../../core/issuer-client.ts'
import type { Limit } from '../../core/limit.ts'
import { limitKey } from '../../core/limit.ts'
import { federatedClient, jwtBearer } from './client-metadata.ts'
import { type Form, readForm, single } from './form.ts'
import { type Offered, tokenServiceMetadata } from './metadata.ts'
import type { Protocol } from './provider.ts'
import { type Call, type Endpoint, endpoints, RelayedRequest, shownToken } from './relayed.ts'

export interface TokenServiceOptions {
  /** The `iss` of tokens: the endpoints are at its path, and at the root. */
  readonly issuer: string
  /** What the policy's clients may do; undefined where there is no client: then nothing is served. */
  readonly offered: () => Offered | undefined
  /** Loads the protocol; called when it is first needed, and again where that failed. */
  readonly open: () => Promise<Protocol>
  /** Whether the listener asks for client certificates. */
  readonly mtls: boolean
  /** Failed client authentications, by address. */
  readonly failures: Limit
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** Told of each request, by its endpoint, and how long it took in seconds. */
  readonly observe: (endpoint: string, seconds: number) => void
  readonly onFault: (cause: unknown) => void
}

/** The endpoints of the token service: `/token`, `/introspect` and `/revoke`. */
export interface TokenService {
  /** @returns whether the request is one of these endpoints', and is answered */
  readonly handle: (incoming: IncomingMessage, outgoing: ServerResponse, connection: Connection) => boolean
  /** What discovery says of it; undefined while nothing is served. */
  readonly metadata: () => object | undefined
  /** Loads what the first request would have waited for, where there is a client. */
  readonly warm: () => Promise<void>
}

export function createTokenService(options: TokenServiceOptions): TokenService {
  const { issuer, offered, clock, failures, observe, onFault } = options
  const { pathname, host } = new URL(issuer)
  const at = pathname.replace(/\/$/, '')
  const paths = new Map<string, Endpoint>(
    endpoints.flatMap((endpoint) => [`/${endpoint}`, `${at}/${endpoint}`].map((path) => [path, endpoint] as const)),
  )
  let opened: Promise<Protocol> | undefined
  const protocol = (): Promise<Protocol> => {
    opened ??= options.open().catch((cause: unknown) => {
      opened = undefined
      throw cause
    })
    return opened
  }

  const mustWait = (outgoing: ServerResponse, key: string): boolean => {
    const wait = failures.wait(key)
    if (wait > 0) {
      const retry = { 'retry-after': String(wait) }
      refuse(outgoing, 429, 'temporarily_unavailable', 'too many failed client authentications from this address', retry)
    }
    return wait > 0
  }

  const answer = async (endpoint: Endpoint, incoming: IncomingMessage, outgoing: ServerResponse, remoteAddress: string): Promise<void> => {
    if (incoming.method !== 'POST') return refuse(outgoing, 405, 'invalid_request', 'only POST is allowed here', { allow: 'POST' })
    const key = limitKey(remoteAddress)
    if (mustWait(outgoing, key)) return
    const twice = comeOnce.find((name) => (incoming.headersDistinct[name]?.length ?? 0) > 1)
    if (twice !== undefined) return refuse(outgoing, 400, 'invalid_request', `the header ${twice} is there more than once`)
    const form = await readForm(incoming)
    // A request may be begun long before it is sent: the failures of others count all the same.
    if (mustWait(outgoing, key)) return
    if ('status' in form) return refuse(outgoing, form.status, 'invalid_request', form.description)
    const nobody = incoming.headers.authorization === undefined && !form.some(([name]) => namesClient.has(name))
    const federated = nobody && endpoint === 'token' && offered()?.federation === true && showsToken(form)
    if (nobody && !federated)
      return refuse(outgoing, 401, 'invalid_client', 'client authentication is required', {
        'www-authenticate': `Basic realm="${issuer}"`,
      })
    const shown = endpoint === 'token' ? undefined : single(form, 'token')
    const call: Call = { endpoint, socket: incoming.socket, remoteAddress, now: clock(), dpop: one(incoming.headers['dpop']), shown }
    const relayed = form.map(([name, value]) => [name, name === 'token' && endpoint !== 'token' ? shownToken : value] as const)
    await (await protocol())(
      new RelayedRequest(incoming, federated ? [...relayed, ['client_id', federatedClient]] : relayed, call, host),
      outgoing,
    )
    // Who has no client proves who it is by the token that it wants swapped.
    const unproved = outgoing.statusCode === 401 || (outgoing.statusCode === 400 && call.client?.authentication.kind === 'federated')
    if (unproved) failures.spend(key)
  }

  return {
    handle: (incoming, outgoing, { secure, remoteAddress }) => {
      const endpoint = paths.get(pathOf(incoming.url ?? ''))
      if (endpoint === undefined || !offered()) return false
      const begun = performance.now()
      const template = incoming.method === 'POST' ? `POST /${endpoint}` : 'other'
      outgoing.once('close', () => observe(template, (performance.now() - begun) / 1000))
      for (const [name, value] of Object.entries(protecting)) outgoing.setHeader(name, value)
      if (secure) outgoing.setHeader('strict-transport-security', 'max-age=31536000; includeSubDomains')
      answer(endpoint, incoming, outgoing, remoteAddress).catch((cause: unknown) => {
        // A client that went away in the middle of its request is no fault of ours, and gets no answer.
        if (incoming.destroyed && !incoming.complete) return
        onFault(cause)
        if (outgoing.headersSent) outgoing.destroy()
        else refuse(outgoing, 500, 'server_error', undefined)
      })
      return true
    },
    metadata: () => {
      const now = offered()
      return now && tokenServiceMetadata(issuer, now, options.mtls)
    },
    warm: async () => {
      if (offered()) await protocol()
    },
  }
}

/** On every answer. */
const protecting = { 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'cache-control': 'no-store', pragma: 'no-cache' }

/** Headers of which another reader of the request might take another one than we do. */
const comeOnce = ['authorization', 'content-type']

/** Parameters by which a client says who it is. */
const namesClient = new Set(['client_id', 'client_secret', 'client_assertion'])

const jwt = /^[\w-]+\.[\w-]+\.[\w-]*$/
/** Whether a request without a client shows a JWT to be swapped. */
function showsToken(form: Form): boolean {
  const grant = single(form, 'grant_type')
  const parameter = grant === grantTypes.token_exchange ? 'subject_token' : grant === jwtBearer ? 'assertion' : undefined
  return parameter !== undefined && jwt.test(single(form, parameter) ?? '')
}

const pathOf = (url: string): string => {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

const one = (header: string | string[] | undefined): string | undefined => (Array.isArray(header) ? header.join(', ') : header)

/** An answer without the library (RFC 6749, section 5.2); what is left of the request is not read. */
function refuse(outgoing: ServerResponse, status: number, error: string, description?: string, headers: Record<string, string> = {}): void {
  const unread = status === 401 ? {} : { connection: 'close' }
  outgoing.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...unread, ...headers })
  outgoing.end(JSON.stringify({ error, ...(description !== undefined && { error_description: description }) }))
}
