import type { Hono } from 'hono'
import { z } from 'zod'
import { labelOf } from '../core/audit-chain.ts'
import { auditEventTypes, auditOutcomes } from '../core/audit-event.ts'
import { auditLogs } from '../core/audit-log.ts'
import { type AdminContext, type AdminEnv, problem } from './answers.ts'
import { findEvents, readCursor } from './audit-query.ts'
import { demand } from './authenticate.ts'
import type { AdminOptions } from './ports.ts'

const [usualPage, longestPage] = [100, 1000]
const [usualExport, longestExport] = [1000, 5000]

const oneOf = <const T extends readonly string[]>(values: T) => z.enum(values, { error: `expected one of ${values.join(', ')}` })
const upTo = (most: number) =>
  z
    .string()
    .regex(/^\d{1,6}$/, { error: `expected a number from 1 to ${most}` })
    .transform(Number)
    .refine((count) => count >= 1 && count <= most, { error: `expected a number from 1 to ${most}` })

const query = z.strictObject({
  event_type: oneOf(auditEventTypes).optional(),
  agent_id: z.string().min(1).max(1024).optional(),
  outcome: oneOf(auditOutcomes).optional(),
  since: z.iso
    .datetime({ offset: true, error: 'expected a time such as 2027-01-31T12:00:00Z (RFC 3339)' })
    .transform((time) => Date.parse(time))
    .optional(),
  limit: upTo(longestPage).default(usualPage),
  cursor: z.string().max(200).optional(),
})

const exported = z.strictObject({
  log: oneOf(auditLogs).default('events'),
  after: z
    .string()
    .regex(/^\d{1,20}(-\d{1,20})?$/, { error: 'expected what x-postern-next of the page before said' })
    .optional(),
  limit: upTo(longestExport).default(usualExport),
  format: oneOf(['ndjson', 'json']).default('ndjson'),
})

const badQuery = (c: AdminContext, { issues }: z.ZodError) =>
  problem(c, 400, 'bad_query', issues.map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message)).join('; '))

/** `GET /v1/audit/events`, `/v1/audit/export` and `/v1/audit/keys`: the trail, to be looked through and to be verified elsewhere. */
export function addAudit(app: Hono<AdminEnv>, { audit, issuer }: AdminOptions): void {
  app.use('/v1/audit/*', demand('admin:audit:*'))

  app.get('/v1/audit/events', async (c) => {
    const asked = query.safeParse(c.req.query())
    if (!asked.success) return badQuery(c, asked.error)
    const { event_type: type, agent_id: agent, outcome, since, limit, cursor } = asked.data
    const from = cursor === undefined ? undefined : readCursor(cursor)
    if (cursor !== undefined && !from) return problem(c, 400, 'bad_query', 'cursor: expected next_cursor of the page before')
    const { events, next } = await findEvents(audit, { type, agent, outcome, since, limit }, from)
    const heads: object[] = []
    for (const log of auditLogs) {
      const [newest] = await audit.read(log, { limit: 1, newestFirst: true })
      const link = newest && labelOf(newest.text).link
      if (link) heads.push({ log, boot: link.boot, seq: link.seq, hash: link.hash })
    }
    return c.json({ events, ...(next === undefined ? {} : { next_cursor: next }), chain: { heads } })
  })

  app.get('/v1/audit/export', async (c) => {
    const asked = exported.safeParse(c.req.query())
    if (!asked.success) return badQuery(c, asked.error)
    const { log, after, limit, format } = asked.data
    // One more, so that the last page knows that it is.
    const found = await audit.read(log, { limit: limit + 1, after })
    const page = found.slice(0, limit)
    const next = found.length > limit ? page.at(-1)?.cursor : undefined
    const lines = page.map(({ text }) => text)
    if (format === 'json') return c.json({ lines, next: next ?? null })
    const headers = { 'content-type': 'application/x-ndjson', ...(next === undefined ? {} : { 'x-postern-next': next }) }
    return c.body(lines.map((line) => `${line}\n`).join(''), 200, headers)
  })

  // Whose checkpoints: none where nothing is signed.
  app.get('/v1/audit/keys', (c) => c.json(issuer?.jwks?.() ?? { keys: [] }))
}
