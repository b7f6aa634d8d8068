import { type Handler, Hono, type MiddlewareHandler } from 'hono'
import { routePath } from 'hono/route'
import { setSafeHeaders } from '../../core/http-headers.ts'
import { Unavailable } from '../../core/ports.ts'
import { agentCalls } from './http-agents.ts'
import { type BrokerContext, type BrokerEnv, problem } from './http-answers.ts'
import { appCalls } from './http-apps.ts'
import { openCalls } from './http-open.ts'
import type { AddressLimit, BrokerHttpOptions, Method } from './http-ports.ts'

/** Calls of the admin API that are the broker's too, and no others. */
const adminCalls: readonly (readonly [path: string, ...methods: Method[]])[] = [
  ['/v1/admin/auth', 'POST'],
  ['/v1/admin/launch-tokens', 'POST'],
  ['/v1/admin/apps', 'POST', 'GET'],
  ['/v1/admin/apps/:id', 'GET', 'PUT', 'DELETE'],
  ['/v1/revoke', 'POST'],
  ['/v1/revoke/lift', 'POST'],
  ['/v1/audit/events', 'GET'],
  ['/v1/audit/export', 'GET'],
  ['/v1/audit/keys', 'GET'],
]

const limited = (take: AddressLimit): MiddlewareHandler<BrokerEnv> => {
  return async (c, next) => {
    const wait = take(c.env.remoteAddress)
    if (wait > 0) return problem(c, 429, 'too_many_requests', `try again in ${wait} s`, { 'retry-after': String(wait) })
    return next()
  }
}

/** The broker's HTTP API, `/v1/…` on the issuer listener. Its `env` is the connection. */
export function createBrokerApp(options: BrokerHttpOptions): Hono<BrokerEnv> {
  const app = new Hono<BrokerEnv>()
  app.onError((cause, c) => {
    if (cause instanceof Unavailable)
      return problem(c, 503, 'state_unavailable', 'state does not answer; try again', { 'retry-after': '1' })
    options.onFault(cause)
    return problem(c, 500, 'internal', 'the cause is in the log')
  })
  app.notFound((c) => problem(c, 404, 'not_found', 'there is no such call'))

  const administer: Handler<BrokerEnv> = (c) => options.admin(c.req.raw, c.env)
  const allowed = new Map<string, Method[]>()
  for (const [path, ...methods] of adminCalls) {
    allowed.set(path, methods)
    app.on(methods, path, administer)
  }
  app.use(async (c, next) => {
    const begun = performance.now()
    await next()
    setSafeHeaders(c.res.headers, c.env.secure)
    options.observe(endpoint(c), (performance.now() - begun) / 1000)
  })
  for (const { method, path, limit, run } of [...openCalls(options), ...agentCalls(options), ...appCalls(options)]) {
    allowed.set(path, [...(allowed.get(path) ?? []), method])
    if (limit) app.on(method, path, limited(options.limits[limit]), run)
    else app.on(method, path, run)
  }
  for (const [path, methods] of allowed) {
    const allow = methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ')
    app.all(path, (c) => problem(c, 405, 'not_this_method', `expected ${allow}`, { allow }))
  }
  return app
}

/** The template that a request matched, never its path: labels of metrics are bounded. */
function endpoint(c: BrokerContext): string {
  const template = routePath(c)
  return template === '' || template.endsWith('*') || !/^(?:GET|POST|PUT|DELETE|HEAD)$/.test(c.req.method)
    ? 'other'
    : `${c.req.method} ${template}`
}
