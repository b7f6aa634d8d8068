import type { MiddlewareHandler } from 'hono'
import { createMiddleware } from 'hono/factory'
import { bearerOf } from '../core/http-problem.ts'
import { adminScopes } from '../core/issuer.ts'
import { covers } from '../core/scopes.ts'
import { type AdminEnv, problem } from './answers.ts'
import type { AdminOptions } from './ports.ts'

/** What a call demands: one scope; all of them (keys and tokens, which could make any other); or just to be known. */
export type Demand = (typeof adminScopes)[number] | 'every' | 'known'

/**
 * Lets in a token of the admin audience, or a workload on the allow list. With no way to authenticate, what is
 * behind it is off.
 */
export function authenticate(options: AdminOptions): MiddlewareHandler<AdminEnv> {
  const { issuer } = options
  return createMiddleware<AdminEnv>(async (c, next) => {
    const workloads = options.workloads()
    const byToken = issuer !== undefined && options.secret() !== undefined
    if (!byToken && workloads.size === 0) {
      const detail = 'no admin authentication is configured: set admin.secret and listen.issuer, or listen.admin.tls.allow'
      return problem(c, 403, 'admin_off', detail)
    }
    const header = c.req.header('authorization')
    if (header !== undefined) {
      // A token that is presented decides: a certificate never stands in for a bad one.
      const token = bearerOf(header)
      const admin = token === undefined || !byToken ? undefined : await issuer.verifyAdmin(token, options.clock())
      if (!admin) {
        return problem(c, 401, 'invalid_token', 'the admin token is not valid, or has expired', {
          'www-authenticate': 'Bearer realm="postern-admin", error="invalid_token"',
        })
      }
      c.set('caller', { kind: 'token', name: admin.subject, scopes: admin.scopes })
      return next()
    }
    const workload = c.env.peer
    if (workload === undefined || !workloads.has(workload)) {
      return problem(c, 401, 'no_token', 'send an admin token (POST /v1/admin/auth) as a bearer token', {
        'www-authenticate': 'Bearer realm="postern-admin"',
      })
    }
    c.set('caller', { kind: 'workload', name: workload, scopes: [] })
    return next()
  })
}

/** Refuses callers without the scope. Workloads may use the owner API and see the status, no more. */
export function demand(wanted: Demand): MiddlewareHandler<AdminEnv> {
  return createMiddleware<AdminEnv>(async (c, next) => {
    const { kind, scopes } = c.get('caller')
    const has = (scope: string): boolean => scopes.some((granted) => covers(granted, scope))
    const met =
      wanted === 'known' || (kind === 'workload' ? wanted === 'admin:owners:*' : wanted === 'every' ? adminScopes.every(has) : has(wanted))
    if (met) return next()
    const needed = wanted === 'every' ? adminScopes.join(' ') : wanted
    return problem(c, 403, 'insufficient_scope', `this call needs ${needed}`, {
      'www-authenticate': `Bearer realm="postern-admin", error="insufficient_scope", scope="${needed}"`,
    })
  })
}
