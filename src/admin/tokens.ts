import type { Hono } from 'hono'
import { z } from 'zod'
import { type AdminEnv, problem } from './answers.ts'
import { demand } from './authenticate.ts'
import { readBody } from './body.ts'
import type { AdminOptions } from './ports.ts'
import { record } from './record.ts'

/** Seconds: the longest life of a token that an operator mints, and the usual one. */
const maxMintedSeconds = 86_400
const mintedSeconds = 300

const word = z.string().regex(/^[!-~]{1,256}$/, { error: 'expected visible characters without space, at most 256' })
const order = z.strictObject({
  subject: z.string().min(1).max(512),
  roles: z.array(word).max(100).default([]),
  scope: z.array(word).max(100).default([]),
  audience: word.optional(),
  ttl: z.int().min(1).max(maxMintedSeconds).default(mintedSeconds),
})

/** `POST /v1/admin/tokens`: an edge token for a person or agent, whose minting is in the audit trail before it is handed out. */
export function addTokens(app: Hono<AdminEnv>, options: AdminOptions): void {
  const { issuer } = options
  app.post('/v1/admin/tokens', demand('every'), async (c) => {
    if (!issuer) return problem(c, 404, 'no_issuer', 'there is no issuer: set listen.issuer')
    const body = await readBody(c, order)
    if (body instanceof Response) return body
    const audiences = issuer.edgeAudiences()
    const audience = body.audience ?? audiences[0]
    if (audience === undefined) return problem(c, 400, 'no_audience', 'no validator of type postern would admit such a token')
    if (!audiences.includes(audience))
      return problem(c, 400, 'bad_audience', `expected one of the audiences of the postern validators: ${audiences.join(', ')}`)
    const now = options.clock()
    const { subject, roles, scope, ttl } = body
    const minted = await issuer.mintEdge({ audience, subject, roles, scopes: scope, ttl, now })
    await record(options, {
      type: 'token_issued',
      outcome: 'success',
      actor: c.get('caller').name,
      target: minted.id,
      detail: { subject, roles, scope, audience, expires_at: minted.expiresAt },
    })
    options.metrics.tokenIssued(scope)
    return c.json(
      { access_token: minted.token, token_type: 'Bearer', expires_in: minted.expiresAt - Math.floor(now / 1000), jti: minted.id, audience },
      201,
    )
  })
}
