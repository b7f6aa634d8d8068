import type { Hono } from 'hono'
import { z } from 'zod'
import { type App, ceilingExpected, ceilingScope } from '../core/broker.ts'
import { issuesText } from '../core/http-body.ts'
import { type AdminContext, type AdminEnv, problem } from './answers.ts'
import { demand } from './authenticate.ts'
import { readBody } from './body.ts'
import { noBroker } from './launch-tokens.ts'
import type { AdminOptions } from './ports.ts'

const day = 86_400
const [usualPage, longestPage] = [100, 1000]

const name = z
  .string()
  .regex(/^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,256}$/, { error: 'expected 1 to 256 characters, no control characters' })
  .transform((text) => text.toWellFormed())
const scope = z.string().max(128).regex(ceilingScope, { error: ceilingExpected })
const scopes = z.array(scope).max(100)
const tokenTtl = z.int().min(1).max(day)

/** Bodies and query of the calls, as the OpenAPI document shows them. */
export const appBodies = {
  create: z.strictObject({ name, scopes, token_ttl: tokenTtl.optional() }),
  update: z.strictObject({ name: name.optional(), scopes: scopes.optional(), token_ttl: tokenTtl.optional() }),
} as const
/** What drivers of state give as the cursor of a page. */
export const afterPattern = /^([0-9]{1,20}|app-[0-9a-f]{16})$/
const query = z.strictObject({
  limit: z
    .string()
    .regex(/^[1-9][0-9]{0,3}$/)
    .transform(Number)
    .pipe(z.int().min(1).max(longestPage))
    .default(usualPage),
  after: z.string().regex(afterPattern, { error: 'expected "next" of the page before' }).optional(),
})

const rfc3339 = (at: number): string => new Date(at * 1000).toISOString()
const unknownApp = (c: AdminContext) => problem(c, 404, 'unknown_app', 'there is no app with this id')

const show = ({ id, name, scopes, tokenTtl, createdAt, updatedAt }: App) => ({
  app_id: id,
  name,
  scopes,
  token_ttl: tokenTtl ?? null,
  created_at: rfc3339(createdAt),
  updated_at: rfc3339(updatedAt),
})

/** `POST|GET /v1/admin/apps`, `GET|PUT|DELETE /v1/admin/apps/{id}`. The secret is in the answer that makes it, and nowhere else. */
export function addApps(app: Hono<AdminEnv>, { broker }: AdminOptions): void {
  app.use('/v1/admin/apps', demand('admin:apps:*'))
  app.use('/v1/admin/apps/*', demand('admin:apps:*'))

  app.post('/v1/admin/apps', async (c) => {
    if (!broker) return noBroker(c)
    const body = await readBody(c, appBodies.create)
    if (body instanceof Response) return body
    const order = { name: body.name, scopes: [...new Set(body.scopes)], tokenTtl: body.token_ttl }
    const made = await broker.apps.create(order, c.get('caller').name)
    const shown = show(made.app)
    return c.json({ ...shown, client_id: made.app.id, client_secret: made.secret }, 201, { location: `/v1/admin/apps/${made.app.id}` })
  })

  app.get('/v1/admin/apps', async (c) => {
    if (!broker) return noBroker(c)
    const asked = query.safeParse(c.req.query())
    if (!asked.success) return problem(c, 400, 'bad_query', issuesText(asked.error.issues))
    const { apps, cursor } = await broker.apps.list(asked.data.limit, asked.data.after)
    return c.json({ apps: apps.map(show), next: cursor ?? null })
  })

  app.get('/v1/admin/apps/:id', async (c) => {
    if (!broker) return noBroker(c)
    const found = await broker.apps.get(c.req.param('id'))
    return found ? c.json(show(found)) : unknownApp(c)
  })

  app.put('/v1/admin/apps/:id', async (c) => {
    if (!broker) return noBroker(c)
    const body = await readBody(c, appBodies.update)
    if (body instanceof Response) return body
    const change = {
      ...(body.name !== undefined && { name: body.name }),
      ...(body.scopes !== undefined && { scopes: [...new Set(body.scopes)] }),
      ...(body.token_ttl !== undefined && { tokenTtl: body.token_ttl }),
    }
    const changed = await broker.apps.update(c.req.param('id'), change, c.get('caller').name)
    return changed ? c.json(show(changed)) : unknownApp(c)
  })

  app.delete('/v1/admin/apps/:id', async (c) => {
    if (!broker) return noBroker(c)
    return (await broker.apps.remove(c.req.param('id'), c.get('caller').name)) ? c.body(null, 204) : unknownApp(c)
  })
}
