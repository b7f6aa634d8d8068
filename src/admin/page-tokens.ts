import type { Hono } from 'hono'
import { z } from 'zod'
import { maxPageLife, operatorNamespace, pageAudience } from '../core/management-plane.ts'
import { type AdminEnv, problem } from './answers.ts'
import { demand } from './authenticate.ts'
import { readBody } from './body.ts'
import type { AdminOptions } from './ports.ts'
import { record } from './record.ts'

const word = z.string().regex(/^[!-~]{1,256}$/, { error: 'expected visible characters without space, at most 256' })
const order = z.strictObject({
  roles: z.array(word).max(100).default([]),
  scopes: z.array(word).max(100).default([]),
  ttl: z.int().min(1).max(maxPageLife).default(maxPageLife),
})

/**
 * `POST /v1/page-tokens {roles?, scopes?, ttl?}`: a token by which the operator page asks an agent in the operator's own
 * name, for 60 s at most. It can carry any role, so it takes all scopes of an admin; it is in the audit trail before it
 * is handed out.
 */
export function addPageTokens(app: Hono<AdminEnv>, options: AdminOptions): void {
  const { pages } = options
  app.post('/v1/page-tokens', demand('every'), async (c) => {
    if (!pages?.admitted()) {
      const detail = 'nothing admits page tokens: set admin.secret, and leave out allow_management_plane: false'
      return problem(c, 403, 'page_tokens_off', detail)
    }
    const body = await readBody(c, order, {})
    if (body instanceof Response) return body
    const known = pages.roles()
    const unknown = body.roles.findIndex((role) => !known.has(role))
    if (unknown >= 0) return problem(c, 400, 'bad_role', `roles.${unknown}: the policy has no such role`)
    const now = options.clock()
    const { roles, scopes, ttl } = body
    const { name } = c.get('caller')
    const minted = await pages.mint({ subject: name, roles, scopes, ttl, now })
    await record(options, {
      type: 'token_issued',
      outcome: 'success',
      actor: name,
      target: minted.id,
      detail: { subject: operatorNamespace + name, roles, scope: scopes, audience: pageAudience, expires_at: minted.expiresAt },
    })
    options.metrics.tokenIssued(scopes)
    return c.json(
      { access_token: minted.token, token_type: 'Bearer', expires_in: minted.expiresAt - Math.floor(now / 1000), jti: minted.id },
      201,
    )
  })
}
