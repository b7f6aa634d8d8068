import type { Hono } from 'hono'
import { z } from 'zod'
import { createLimit, type Limit, limitKey } from '../core/limit.ts'
import { sameSecret } from '../core/same-secret.ts'
import { type AdminEnv, problem } from './answers.ts'
import { readBody } from './body.ts'
import type { AdminOptions } from './ports.ts'
import { record } from './record.ts'

/** `sub` of the tokens that the secret is exchanged for. */
const adminSubject = 'admin'

const loginsPerSecond = 5
const loginBurst = 10

const login = z.strictObject({ secret: z.string().min(1).max(4096) })

/** How often an address may log in. */
export const loginLimit = (): Limit => createLimit(loginsPerSecond, loginBurst)

/** `POST /v1/admin/auth`: the admin secret for a short token. Limited by address, before anything is read. */
export function addLogin(app: Hono<AdminEnv>, options: AdminOptions): void {
  const { issuer, metrics, logins: limit = loginLimit() } = options
  app.post('/v1/admin/auth', async (c) => {
    const wait = limit.take(limitKey(c.env.remoteAddress))
    if (wait > 0) {
      metrics.adminAuth('limited')
      return problem(c, 429, 'too_many_attempts', `try again in ${wait} s`, { 'retry-after': String(wait) })
    }
    const secret = options.secret()
    if (secret === undefined || issuer === undefined) {
      return problem(c, 403, 'admin_off', 'no admin authentication is configured: set admin.secret and listen.issuer')
    }
    const body = await readBody(c, login)
    if (body instanceof Response) return body
    const from = c.env.remoteAddress
    const detail = from === '' ? {} : { detail: { from } }
    if (!sameSecret(body.secret, secret)) {
      metrics.adminAuth('denied')
      await record(options, { type: 'admin_login', outcome: 'failure', reason: 'wrong_secret', ...detail })
      return problem(c, 401, 'wrong_secret', 'the admin secret is not right')
    }
    const now = options.clock()
    const minted = await issuer.mintAdmin(adminSubject, now)
    await record(options, { type: 'admin_login', outcome: 'success', actor: adminSubject, target: minted.id, ...detail })
    metrics.adminAuth('success')
    return c.json({ access_token: minted.token, token_type: 'Bearer', expires_in: Math.max(0, minted.expiresAt - Math.floor(now / 1000)) })
  })
}
