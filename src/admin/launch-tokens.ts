import type { Hono } from 'hono'
import { launchAnswer } from '../core/broker.ts'
import { type AdminContext, type AdminEnv, problem } from './answers.ts'
import { demand } from './authenticate.ts'
import { readBody } from './body.ts'
import type { AdminOptions } from './ports.ts'

/** The answer where nothing is minted. */
export const noBroker = (c: AdminContext) => problem(c, 404, 'no_issuer', 'there is no issuer: set listen.issuer')

/** `POST /v1/admin/launch-tokens`: what lets one agent in, or several; shown this once. */
export function addLaunchTokens(app: Hono<AdminEnv>, { broker }: AdminOptions): void {
  app.post('/v1/admin/launch-tokens', demand('admin:launch-tokens:*'), async (c) => {
    if (!broker) return noBroker(c)
    const order = await readBody(c, broker.launchBody)
    if (order instanceof Response) return order
    const made = await broker.launchTokens.create(order, c.get('caller').name)
    // Only an app has a ceiling.
    if (!made) return problem(c, 403, 'scope_outside_ceiling', 'a scope is outside of what is allowed')
    return c.json(launchAnswer(order, made), 201)
  })
}
