import type { Hono } from 'hono'
import { z } from 'zod'
import type { KeyInfo } from '../core/issuer.ts'
import { type AdminContext, type AdminEnv, problem } from './answers.ts'
import { demand } from './authenticate.ts'
import { readBody } from './body.ts'
import type { AdminOptions } from './ports.ts'
import { record } from './record.ts'

const rfc3339 = (seconds: number): string => new Date(seconds * 1000).toISOString()

/** A key as the API and the command line show it. */
export const showKey = (key: KeyInfo): object => ({
  kid: key.kid,
  algorithm: key.algorithm,
  state: key.state,
  created_at: rfc3339(key.createdAt),
  signs_from: rfc3339(key.activeAt),
  ...(key.retiredAt === undefined ? {} : { signed_until: rfc3339(key.retiredAt) }),
})

/** With the public key, for upstreams that are given it by hand. */
const showWhole = (key: KeyInfo): object => ({ ...showKey(key), public_key: key.publicKey })

const rotation = z.strictObject({ now: z.boolean().optional() })

const noIssuer = (c: AdminContext) => problem(c, 404, 'no_issuer', 'there is no issuer: set listen.issuer')

/** `GET /v1/admin/keys`, `POST /v1/admin/keys/rotate {now?}` and `DELETE /v1/admin/keys/{kid}`. */
export function addKeys(app: Hono<AdminEnv>, options: AdminOptions): void {
  const { issuer } = options
  app.get('/v1/admin/keys', demand('every'), (c) => (issuer ? c.json({ keys: issuer.listKeys().map(showWhole) }) : noIssuer(c)))

  app.post('/v1/admin/keys/rotate', demand('every'), async (c) => {
    if (!issuer) return noIssuer(c)
    const body = await readBody(c, rotation, {})
    if (body instanceof Response) return body
    const kid = await issuer.rotateKeys({ now: body.now ?? false })
    const detail = { now: body.now ?? false }
    await record(options, { type: 'key_rotated', outcome: 'success', actor: c.get('caller').name, target: kid, detail })
    return c.json({ kid, keys: issuer.listKeys().map(showKey) })
  })

  app.delete('/v1/admin/keys/:kid', demand('every'), async (c) => {
    if (!issuer) return noIssuer(c)
    const kid = c.req.param('kid')
    const outcome = await issuer.removeKey(kid)
    if (outcome === 'unknown') return problem(c, 404, 'unknown_key', 'the issuer has no key with this id')
    if (outcome === 'signs') return problem(c, 409, 'key_signs', 'tokens are signed with it: rotate with now first')
    await record(options, { type: 'key_rotated', outcome: 'success', actor: c.get('caller').name, target: kid, detail: { removed: true } })
    return c.json({ kid, keys: issuer.listKeys().map(showKey) })
  })
}
