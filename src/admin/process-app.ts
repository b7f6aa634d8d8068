import { Hono } from 'hono'
import type { Connection } from '../core/connection.ts'
import { setSafeHeaders } from '../core/http-headers.ts'
import { type AdminEnv, problem } from './answers.ts'
import { checkHost } from './hosts.ts'
import type { AdminOptions } from './ports.ts'
import type { Readiness } from './status.ts'

export interface ProcessAppOptions extends Pick<AdminOptions, 'hosts' | 'onFault'> {
  readonly metrics: Pick<AdminOptions['metrics'], 'expose' | 'contentType'>
  readonly readiness: () => Readiness
  /** What is true of the process, whichever realm is asked about. */
  readonly about: () => object
  /** The admin API of each realm, by its name. */
  readonly realms: () => Iterable<
    readonly [realm: string, fetch: (request: Request, connection: Connection) => Response | Promise<Response>]
  >
}

/**
 * What the admin listener of several realms serves beside theirs: `/livez`, `/readyz` and `/metrics` of the process, and a `/status` of
 * those realms that would show theirs to whoever asks.
 */
export function createProcessApp({ hosts, onFault, metrics, readiness, about, realms }: ProcessAppOptions): Hono<AdminEnv> {
  const app = new Hono<AdminEnv>()
  app.use(async (c, next) => {
    await next()
    setSafeHeaders(c.res.headers, c.env.secure)
  })
  app.onError((cause, c) => {
    onFault(cause)
    return problem(c, 500, 'internal', 'the cause is in the log')
  })
  app.notFound((c) => problem(c, 404, 'not_found', 'there is no such endpoint: those of a realm are at /realms/<realm>'))
  app.use(checkHost(hosts))
  app.get('/livez', (c) => c.json({ status: 'live' }))
  app.get('/readyz', (c) => {
    const { ready, reasons } = readiness()
    return c.json({ status: ready ? 'ready' : 'not_ready', reasons }, ready ? 200 : 503)
  })
  app.get('/metrics', async (c) => c.body(await metrics.expose(), 200, { 'content-type': metrics.contentType }))
  app.get('/status', async (c) => {
    const shown: Record<string, unknown> = {}
    let refusal: Response | undefined
    for (const [realm, fetch] of realms()) {
      // Each decides for itself: a token of one realm is none of another.
      const answer = await fetch(new Request(c.req.raw.url, { headers: c.req.raw.headers }), c.env)
      if (answer.status === 200) shown[realm] = await answer.json()
      else refusal = answer
    }
    if (refusal && Object.keys(shown).length === 0) return new Response(refusal.body, refusal)
    return c.json({ ...about(), realms: shown })
  })
  return app
}
