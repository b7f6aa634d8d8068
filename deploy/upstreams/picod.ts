/**
 * A sample sandbox: it runs nothing, and tells who called. It answers only requests whose token was made for this very sandbox, and in
 * `mtls` mode only the router. deploy/upstreams/README.md tells its flags.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller, Demand } from '../../sdk/typescript/src/index.ts'
import { Flags, readCommon, UsageError } from './options.ts'
import { json, run, serve, textOf } from './serve.ts'

const usage = `node deploy/upstreams/picod.ts --listen HOST:PORT --issuer URL --sandbox ID [OPTIONS]

  --sandbox ID         its own id; '*': the one that the path names, /v1/sandboxes/ID/… or /v1/code-interpreters/ID/…, for trying things out with many in one process
  --kind KIND          the kind of resource (sandbox)
  --mode mtls|jwt      the router's certificate and the token, or the token alone (mtls)
  --audience NAME      of tokens (picod)
The other flags are those of both samples: deploy/upstreams/README.md.
`

const idOf = /^\/v1\/(?:sandboxes|code-interpreters)\/([A-Za-z0-9._~-]{1,128})(?:[/?]|$)/

/** What is answered: what a sandbox learned of the request. */
export interface Saw {
  readonly upstream: 'picod'
  readonly sandbox: string | undefined
  readonly method: string
  readonly path: string
  readonly subject: string
  readonly issuer: string
  readonly scopes: readonly string[]
  readonly resource: string | undefined
  readonly actors: readonly string[]
  readonly workload: string | undefined
  readonly decision: string | undefined
  /** Bytes of the request's body. */
  readonly bytes: number
}

await run('picod', usage, async () => {
  const flags = new Flags('picod', process.argv.slice(2), process.env, ['sandbox', 'kind'])
  const options = readCommon('picod', flags)
  const own = flags.needed('sandbox')
  const kind = flags.text('kind') ?? 'sandbox'
  if (own !== '*' && !/^[A-Za-z0-9._~-]{1,128}$/.test(own))
    throw new UsageError(`--sandbox ${own}: expected 1 to 128 of A-Z a-z 0-9 . _ ~ -`)

  const sandboxOf = (request: IncomingMessage): string | undefined => (own === '*' ? idOf.exec(request.url ?? '')?.[1] : own)
  const demand = (request: IncomingMessage): Demand | undefined => {
    if (options.resource === 'unchecked') return { resource: 'any' }
    const id = sandboxOf(request)
    return id === undefined ? undefined : { resource: `${kind}:${id}` }
  }
  const handle = async (request: IncomingMessage, response: ServerResponse, caller: Caller): Promise<void> => {
    const { subject, issuer, scopes, resource, actors, workload } = caller
    const saw: Saw = {
      ...{ upstream: 'picod', sandbox: sandboxOf(request), method: request.method ?? '', path: request.url ?? '' },
      ...{ subject, issuer, scopes, resource, actors, workload },
      decision: request.headers['x-postern-decision']?.toString(),
      bytes: Buffer.byteLength(await textOf(request)),
    }
    json(response, 200, saw)
  }
  await serve({ name: 'picod', demand, handle, tells: { sandbox: own } }, options)
})
