// What of oidc-provider is used here. The package ships no types.

declare module 'oidc-provider/lib/provider.js' {
  import type { ServerResponse } from 'node:http'

  /** A Koa context with the library's own part. */
  export interface Context {
    readonly req: unknown
    status: number
    body: unknown
    readonly set: (name: string, value: string) => void
    readonly remove: (name: string) => void
    readonly oidc: {
      readonly params: Readonly<Record<string, string | readonly string[] | undefined>>
      readonly client: { readonly clientId: string }
    }
  }

  /** The library's view of a store, for each of its models. */
  export interface Adapter {
    readonly find: (id: string) => Promise<object | undefined>
    readonly upsert: (id: string, payload: object, expiresIn: number) => Promise<void>
    readonly destroy: (id: string) => Promise<void>
  }

  export class Provider {
    static readonly ctx: Context | undefined
    constructor(issuer: string, configuration: object)
    readonly Client: { readonly prototype: { compareClientSecret: (shown: string) => boolean } }
    readonly OIDCContext: { readonly prototype: { clientJwtAuthExpectedAudience: () => ReadonlySet<string> } }
    use(middleware: (ctx: Context, next: () => Promise<void>) => Promise<void>): this
    on(event: 'error', listener: (cause: unknown, ctx?: Context) => void): this
    on(event: 'server_error', listener: (ctx: Context, cause: unknown) => void): this
    registerGrantType(
      name: string,
      handler: (ctx: Context) => Promise<void>,
      parameters: readonly string[],
      repeated: readonly string[],
    ): void
    callback(): (request: object, response: ServerResponse) => Promise<void>
  }
}

declare module 'oidc-provider/lib/helpers/errors.js' {
  export class OIDCProviderError extends Error {
    constructor(status: number, error: string)
    error_description?: string
    expose: boolean
  }
  export class InvalidClientAuth extends OIDCProviderError {
    /** @param detail for the library's debug output, never for the client */
    constructor(detail: string)
  }
}
