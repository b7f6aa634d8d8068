import { hash } from 'node:crypto'
import type { Hono } from 'hono'
import { z } from 'zod'
import { isWholeApiKey, makeApiKey } from '../core/api-key.ts'
import type { JsonObject } from '../core/json.ts'
import { type ApiKeyRecord, Unavailable } from '../core/ports.ts'
import { type AdminContext, type AdminEnv, problem } from './answers.ts'
import { demand } from './authenticate.ts'
import { readBody } from './body.ts'
import type { AdminOptions, ApiKeys, ApiKeysPort, ApiKeyValidator } from './ports.ts'
import { record } from './record.ts'

/** Seconds: ten years. */
const longestLife = 3650 * 86_400
const [usualPage, longestPage] = [100, 1000]

// A lone surrogate has no UTF-8 of its own, and control characters would confuse whoever reads a table or a log.
const label = z
  .string()
  .max(256)
  .regex(/^\P{C}*$/u, { error: 'expected text without control characters' })
const owner = label.min(1)
const word = z.string().regex(/^[!-~]{1,256}$/, { error: 'expected visible characters without space, at most 256' })
const seconds = z.int().min(1).max(longestLife)
const instant = z.iso.datetime({ offset: true, error: 'expected a time such as 2027-01-31T12:00:00Z' })

const order = z
  .strictObject({
    validator: z.string().optional(),
    name: label.default(''),
    owner,
    role: word.optional(),
    roles: z.array(word).max(100).optional(),
    scopes: z.array(word).max(100).default([]),
    expires_in: seconds.optional(),
    expires_at: instant.optional(),
  })
  .refine(({ role, roles }) => role === undefined || roles === undefined, { error: 'expected role or roles, not both' })
  .refine(({ expires_in, expires_at }) => expires_in === undefined || expires_at === undefined, {
    error: 'expected expires_in or expires_at, not both',
  })
type Order = z.output<typeof order>

const statuses = ['active', 'expired', 'revoked'] as const
type Status = (typeof statuses)[number]

const query = z.strictObject({
  owner: z.string().optional(),
  validator: z.string().optional(),
  status: z.enum(statuses).optional(),
  digest: z
    .string()
    .regex(/^[0-9a-f]{64}$/, { error: 'expected the SHA-256 of a key, 64 hexadecimal digits' })
    .optional(),
  limit: z.coerce.number().int().min(1).max(longestPage).default(usualPage),
  after: z.string().optional(),
})

const rfc3339 = (at: number): string => new Date(at * 1000).toISOString()
const statusOf = ({ revokedAt, expiresAt }: ApiKeyRecord, now: number): Status =>
  revokedAt !== undefined ? 'revoked' : expiresAt !== undefined && expiresAt <= now / 1000 ? 'expired' : 'active'

const unknownKey = (c: AdminContext) => problem(c, 404, 'unknown_key', 'there is no API key with this id')
const noKeys = (c: AdminContext) => problem(c, 404, 'no_api_keys', 'no validator admits API keys: add one of type api-keys under identity')

/** `POST|GET /v1/api-keys`, `GET|DELETE /v1/api-keys/{id}`. The key itself is in the answer that makes it, and nowhere else. */
export function addApiKeys(app: Hono<AdminEnv>, options: AdminOptions): void {
  const { apiKeys, clock } = options
  app.use('/v1/api-keys', demand('admin:api-keys:*'))
  app.use('/v1/api-keys/*', demand('admin:api-keys:*'))

  const show = (key: ApiKeyRecord, used: number | undefined): JsonObject => {
    const validator = apiKeys.validators().find(({ name }) => name === key.validator)
    const { defaultRole, namespace = '' } = validator ?? {}
    return {
      id: key.id,
      name: key.name,
      validator: key.validator,
      owner: key.owner,
      subject: namespace + key.owner,
      roles: key.roles.length > 0 || defaultRole === undefined ? [...key.roles] : [defaultRole],
      scopes: [...key.scopes],
      status: statusOf(key, clock()),
      created_at: rfc3339(key.createdAt),
      created_by: key.createdBy,
      expires_at: key.expiresAt === undefined ? null : rfc3339(key.expiresAt),
      ...(key.revokedAt === undefined ? {} : { revoked_at: rfc3339(key.revokedAt) }),
      last_used_at: used === undefined ? null : rfc3339(used),
    }
  }

  app.post('/v1/api-keys', async (c) => {
    const list = apiKeys.list()
    if (!list) return noKeys(c)
    const body = await readBody(c, order)
    if (body instanceof Response) return body
    const now = clock()
    const validator = validatorOf(c, apiKeys, body.validator)
    if (validator instanceof Response) return validator
    const roles = body.roles ?? (body.role === undefined ? [] : [body.role])
    const wrong = roleFault(roles, validator, apiKeys.roles()) ?? endFault(body, now)
    if (wrong !== undefined) return problem(c, 400, 'bad_body', wrong)
    const key = makeApiKey()
    const made: ApiKeyRecord = {
      id: options.newId(),
      digest: hash('sha256', key),
      validator: validator.name,
      name: body.name,
      owner: body.owner,
      roles: [...new Set(roles)],
      scopes: [...new Set(body.scopes)],
      createdAt: Math.floor(now / 1000),
      createdBy: c.get('caller').name,
      expiresAt: endOf(body, now),
      revokedAt: undefined,
    }
    await list.put(made)
    const shown = show(made, undefined)
    const { name, owner, subject, expires_at } = shown as Record<string, string>
    const detail = { name: name!, validator: validator.name, owner: owner!, subject: subject!, roles: shown['roles']!, scopes: body.scopes }
    await record(options, {
      type: 'api_key_created',
      outcome: 'success',
      actor: made.createdBy,
      target: made.id,
      detail: { ...detail, expires_at: expires_at ?? null },
    })
    return c.json({ id: made.id, key, ...shown }, 201, { location: `/v1/api-keys/${encodeURIComponent(made.id)}` })
  })

  app.get('/v1/api-keys', async (c) => {
    const list = apiKeys.list()
    if (!list) return noKeys(c)
    const asked = query.safeParse(c.req.query())
    if (!asked.success) return problem(c, 400, 'bad_query', asked.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; '))
    if (!list.trusted()) throw new Unavailable('the keys are not known here')
    const { owner, validator, status, digest, limit, after } = asked.data
    const now = clock()
    const page: ApiKeyRecord[] = []
    let begun = after === undefined
    let more = false
    for (const key of list.all()) {
      if (!begun) begun = key.id === after
      else if (
        (owner === undefined || key.owner === owner) &&
        (validator === undefined || key.validator === validator) &&
        (digest === undefined || key.digest === digest) &&
        (status === undefined || statusOf(key, now) === status)
      ) {
        if (page.length === limit) {
          more = true
          break
        }
        page.push(key)
      }
    }
    if (!begun) return problem(c, 400, 'bad_query', 'after: expected the id of a key, as "next" of the page before has it')
    const used = await lastUsed(list, page)
    return c.json({ api_keys: page.map((key) => show(key, used.get(key.id))), next: more ? page.at(-1)!.id : null })
  })

  app.get('/v1/api-keys/:id', async (c) => {
    const list = apiKeys.list()
    if (!list) return noKeys(c)
    if (!list.trusted()) throw new Unavailable('the keys are not known here')
    const key = await list.byId(c.req.param('id'))
    if (!key) return unknownKey(c)
    return c.json(show(key, (await lastUsed(list, [key])).get(key.id)))
  })

  app.delete('/v1/api-keys/:id', async (c) => {
    if (!apiKeys.list()) return noKeys(c)
    return (await revokeApiKey(options, c.req.param('id'), c.get('caller').name)) ? c.body(null, 204) : unknownKey(c)
  })
}

/**
 * Revokes a key: in force on every replica within 1 s, and in the audit trail. One that is revoked already stays as it is.
 * @returns whether there is such a key
 * @throws {Unavailable}
 */
export async function revokeApiKey(options: AdminOptions, id: string, actor: string): Promise<boolean> {
  const list = options.apiKeys.list()
  const key = await list?.byId(id)
  if (!list || !key) return false
  const again = key.revokedAt !== undefined
  if (!again) await list.put({ ...key, revokedAt: Math.floor(options.clock() / 1000) })
  const { owner, name, validator } = key
  // Again too: the first time the trail may have failed after state had taken it, and whoever asks now is told that it holds.
  const detail = { owner, name, validator, ...(again && { again }) }
  await record(options, { type: 'api_key_revoked', outcome: 'success', actor, target: id, detail })
  if (!again) options.metrics.tokenRevoked('key')
  return true
}

/** Whether a target is a key itself, where an id is expected. */
export const looksLikeApiKey = isWholeApiKey

/** Best effort: whoever asks what keys there are is not refused for this. */
const lastUsed = (list: ApiKeys, keys: readonly ApiKeyRecord[]): Promise<ReadonlyMap<string, number>> =>
  list.lastUsed(keys.map(({ id }) => id)).catch(() => new Map<string, number>())

function validatorOf(c: AdminContext, { validators }: ApiKeysPort, name: string | undefined): ApiKeyValidator | Response {
  const all = validators()
  const names = all.map((validator) => validator.name).join(', ')
  if (name === undefined && all.length > 1) return problem(c, 400, 'bad_validator', `validator: expected one of ${names}`)
  const found = name === undefined ? all[0] : all.find((validator) => validator.name === name)
  return found ?? problem(c, 400, 'bad_validator', `validator: expected the name of a validator of type api-keys: ${names}`)
}

/** Why these roles cannot be given; undefined where they can. */
function roleFault(roles: readonly string[], { name, mayAssert }: ApiKeyValidator, known: readonly string[]): string | undefined {
  if (roles.some((role) => !known.includes(role)))
    return `roles: expected roles of the policy: ${known.length === 0 ? 'it has none' : known.join(', ')}`
  if (mayAssert && roles.some((role) => !mayAssert.has(role)))
    return `roles: expected roles that may_assert of ${name} lets it give: ${mayAssert.size === 0 ? 'it has none' : [...mayAssert].join(', ')}`
  return undefined
}

/** Seconds since the epoch; undefined for a key without an end. */
const endOf = ({ expires_in, expires_at }: Order, now: number): number | undefined =>
  expires_in !== undefined
    ? Math.floor(now / 1000) + expires_in
    : expires_at === undefined
      ? undefined
      : Math.floor(Date.parse(expires_at) / 1000)

function endFault(body: Order, now: number): string | undefined {
  const end = endOf(body, now)
  if (end === undefined || (end > now / 1000 && end <= now / 1000 + longestLife)) return undefined
  return 'expires_at: expected a time in the future, in ten years at most'
}
