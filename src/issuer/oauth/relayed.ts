import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { Context } from 'oidc-provider/lib/provider.js'
import type { OwnToken } from '../../core/issuer.ts'
import type { Client } from '../../core/issuer-client.ts'
import type { Form } from './form.ts'

/** The endpoints, by the last part of their path. */
export const endpoints = ['token', 'introspect', 'revoke'] as const
export type Endpoint = (typeof endpoints)[number]

/** What stands for the shown token in what the library sees: it takes no JWT, but looks up whatever else it is given. */
export const shownToken = 'the-shown-token'

/** One request, as our functions behind the library need it. */
export interface Call {
  readonly endpoint: Endpoint
  readonly socket: Socket
  /** Empty on a unix socket. */
  readonly remoteAddress: string
  /** Milliseconds since the epoch. */
  readonly now: number
  /** The `DPoP` header. */
  readonly dpop: string | undefined
  /** What was shown to be introspected or revoked. */
  readonly shown: string | undefined
  /** The client that the library asked for; it has proved who it is once a handler runs. */
  client?: Client
  /** The shown token, once it has been verified. */
  token?: OwnToken
}

/**
 * The request that the library sees: only the headers that it needs, and the form as we have read it, so that nothing is
 * parsed in two ways, no `Origin`, `Host`, `Forwarded` or `Cookie` has any say, and errors are never pages.
 */
export class RelayedRequest extends Readable {
  readonly call: Call
  readonly method = 'POST'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly httpVersionMajor: number
  readonly httpVersionMinor: number
  readonly httpVersion: string
  readonly socket: Socket
  #body: Buffer | undefined

  constructor(incoming: IncomingMessage, form: Form, call: Call, host: string) {
    super()
    this.call = call
    this.url = `/${call.endpoint}`
    this.#body = Buffer.from(new URLSearchParams(form.map(([name, value]) => [name, value])).toString())
    const { authorization } = incoming.headers
    this.headers = {
      host,
      accept: 'application/json',
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': String(this.#body.length),
      ...(authorization !== undefined && { authorization }),
    }
    this.httpVersion = incoming.httpVersion
    this.httpVersionMajor = incoming.httpVersionMajor
    this.httpVersionMinor = incoming.httpVersionMinor
    this.socket = incoming.socket
  }

  override _read(): void {
    if (this.#body && this.#body.length > 0) this.push(this.#body)
    this.#body = undefined
    this.push(null)
  }
}

/** @throws where a context is none of ours, which is a fault of the program */
export function callOf(ctx: Context | undefined): Call {
  if (!(ctx?.req instanceof RelayedRequest)) throw new Error('the library asks outside of a request')
  return ctx.req.call
}
