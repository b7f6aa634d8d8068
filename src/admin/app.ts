import { Hono } from 'hono'
import { routePath } from 'hono/route'
import { setSafeHeaders } from '../core/http-headers.ts'
import { Unavailable } from '../core/ports.ts'
import { type AdminContext, type AdminEnv, problem } from './answers.ts'
import { addApiKeys } from './api-keys.ts'
import { addApps } from './apps.ts'
import { addAudit } from './audit.ts'
import { authenticate, demand } from './authenticate.ts'
import { checkHost } from './hosts.ts'
import { addKeys, showKey } from './keys.ts'
import { addLaunchTokens } from './launch-tokens.ts'
import { addLogin } from './login.ts'
import { addPageTokens } from './page-tokens.ts'
import type { AdminOptions } from './ports.ts'
import { addResources } from './resources.ts'
import { addRevocations } from './revocations.ts'
import { addTokens } from './tokens.ts'

/**
 * The admin listener's HTTP API. `/livez`, `/readyz`, `/metrics` and the login are open; all else needs an admin
 * token or an allow-listed workload. Its `env` is the {@link Connection}.
 */
export function createAdminApp(options: AdminOptions): Hono<AdminEnv> {
  const app = new Hono<AdminEnv>()

  app.use(async (c, next) => {
    const begun = performance.now()
    await next()
    setSafeHeaders(c.res.headers, c.env.secure)
    options.metrics.request(endpoint(c), (performance.now() - begun) / 1000)
  })
  app.onError((cause, c) => {
    if (cause instanceof Unavailable)
      return problem(c, 503, 'state_unavailable', 'state does not answer; try again', { 'retry-after': '1' })
    options.onFault(cause)
    return problem(c, 500, 'internal', 'the cause is in the log')
  })
  app.notFound((c) => problem(c, 404, 'not_found', 'there is no such endpoint'))

  app.use(checkHost(options.hosts))
  app.get('/livez', (c) => c.json({ status: 'live' }))
  app.get('/readyz', (c) => {
    const { ready, reasons } = options.readiness()
    return c.json({ status: ready ? 'ready' : 'not_ready', reasons }, ready ? 200 : 503)
  })
  app.get('/metrics', async (c) => c.body(await options.metrics.expose(), 200, { 'content-type': options.metrics.contentType }))

  addLogin(app, options)
  app.use(authenticate(options))
  app.get('/status', demand('known'), async (c) => {
    const report = await options.status()
    return c.json({ ...report, keys: report.keys.map(showKey) })
  })
  addResources(app, options)
  addRevocations(app, options)
  addApiKeys(app, options)
  addApps(app, options)
  addAudit(app, options)
  addLaunchTokens(app, options)
  addKeys(app, options)
  addTokens(app, options)
  addPageTokens(app, options)
  return app
}

/** The template that a request matched, never its path: labels of metrics are bounded. */
function endpoint(c: AdminContext): string {
  const template = routePath(c)
  return template === '' || template.endsWith('*') ? 'other' : `${c.req.method} ${template}`
}
