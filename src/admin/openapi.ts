import { z } from 'zod'
import { auditEventTypes, auditOutcomes } from '../core/audit-event.ts'
import { auditLogs } from '../core/audit-log.ts'
import type { JsonObject } from '../core/json.ts'
import { launchExample, launchTokenSchema, objectSchema, operation, tokenSchema } from '../core/openapi.ts'
import { revocationLevels } from '../core/ports.ts'
import { afterPattern, appBodies } from './apps.ts'
import type { BrokerPort } from './ports.ts'

const sent = (schema: z.ZodType): JsonObject => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return rest as unknown as JsonObject
}

const texts: JsonObject = { type: 'array', items: { type: 'string' } }
const time: JsonObject = { type: 'string', format: 'date-time' }
const app = {
  app_id: { type: 'string' },
  name: { type: 'string' },
  scopes: texts,
  token_ttl: { type: ['integer', 'null'], description: 'seconds; null: broker.app_token_ttl' },
  created_at: time,
  updated_at: time,
} satisfies JsonObject
const appExample = {
  app_id: 'app-0123456789abcdef',
  name: 'crawler',
  scopes: ['read:data:*'],
  token_ttl: null,
  created_at: '2027-02-15T12:00:00.000Z',
  updated_at: '2027-02-15T12:00:00.000Z',
}
const appId: JsonObject = { name: 'id', in: 'path', required: true, schema: { type: 'string', minLength: 1, maxLength: 256 } }
/** What is made under an id can be asked for, changed and removed under it. */
const links: JsonObject = {
  links: Object.fromEntries(
    ['getApp', 'updateApp', 'removeApp'].map((operationId) => [operationId, { operationId, parameters: { id: '$response.body#/app_id' } }]),
  ),
}
const refused = [401, 403] as const
const page: JsonObject[] = [
  { name: 'limit', in: 'query', schema: { type: 'integer', minimum: 1, maximum: 1000, default: 100 } },
  { name: 'after', in: 'query', description: '`next` of the page before', schema: { type: 'string', pattern: afterPattern.source } },
]

const apps = (): JsonObject => ({
  '/v1/admin/apps': {
    post: operation({
      id: 'createApp',
      summary: 'Makes an app; the secret is shown this once',
      by: 'admin',
      body: { schema: sent(appBodies.create), example: { name: 'crawler', scopes: ['read:data:*'], token_ttl: 1800 } },
      success: {
        status: 201,
        says: 'Made',
        schema: objectSchema({ ...app, client_id: { type: 'string' }, client_secret: { type: 'string', pattern: '^[0-9a-f]{64}$' } }),
        example: { ...appExample, client_id: appExample.app_id, client_secret: 'f'.repeat(64) },
      },
      response: links,
      refusals: refused,
    }),
    get: operation({
      id: 'listApps',
      summary: 'The apps, a page at a time',
      by: 'admin',
      parameters: page,
      success: {
        status: 200,
        says: 'A page',
        schema: objectSchema({ apps: { type: 'array', items: objectSchema(app) }, next: { type: ['string', 'null'] } }),
        example: { apps: [appExample], next: null },
      },
      refusals: [400, ...refused],
    }),
  },
  '/v1/admin/apps/{id}': {
    parameters: [appId],
    get: operation({
      id: 'getApp',
      summary: 'An app',
      by: 'admin',
      success: { status: 200, says: 'The app', schema: objectSchema(app), example: appExample },
      refusals: [...refused, 404],
    }),
    put: operation({
      id: 'updateApp',
      summary: 'Changes an app; what is left out stays',
      by: 'admin',
      body: { schema: sent(appBodies.update), example: { scopes: ['read:data:*'] } },
      success: { status: 200, says: 'The app as it is now', schema: objectSchema(app), example: appExample },
      refusals: [...refused, 404],
    }),
    delete: operation({
      id: 'removeApp',
      summary: 'Removes an app: its launch tokens let nobody in any more, and its agents renew nothing',
      by: 'admin',
      success: { status: 204, says: 'Removed' },
      refusals: [...refused, 404],
    }),
  },
})

const asked = (name: string, schema: JsonObject): JsonObject => ({ name, in: 'query', schema })
const events: JsonObject = {
  type: 'object',
  required: ['events', 'chain'],
  additionalProperties: false,
  properties: {
    events: {
      type: 'array',
      items: {
        type: 'object',
        required: ['id', 'time', 'type', 'outcome', 'realm'],
        properties: { id: { type: 'string' }, time, type: { enum: [...auditEventTypes] }, outcome: { enum: [...auditOutcomes] } },
      },
    },
    next_cursor: { type: 'string' },
    chain: objectSchema({ heads: { type: 'array', items: { type: 'object', description: 'the newest link of each log' } } }),
  },
}

const level: JsonObject = { enum: [...revocationLevels, 'key'] }
const target: JsonObject = { type: 'string', minLength: 1, maxLength: 2048 }
const revocation = (properties: JsonObject): JsonObject => ({ ...objectSchema(properties), required: ['level', 'target'] })
const done = (word: string): JsonObject => objectSchema({ [word]: { const: true }, level, target })

const others = (launchBody: BrokerPort['launchBody']): JsonObject => ({
  '/v1/admin/auth': {
    post: operation({
      id: 'adminAuth',
      summary: 'The admin secret for a token of 300 s',
      body: {
        schema: { ...objectSchema({ secret: { type: 'string', minLength: 1, maxLength: 4096 } }) },
        example: { secret: 'the admin secret, at least 32 characters' },
      },
      success: { status: 200, says: 'A token', schema: tokenSchema() },
      refusals: [401, 403, 429],
    }),
  },
  '/v1/admin/launch-tokens': {
    post: operation({
      id: 'createLaunchToken',
      summary: 'What lets an agent in; shown this once',
      by: 'admin',
      body: { schema: launchBody instanceof z.ZodType ? sent(launchBody) : {}, example: launchExample.body },
      success: { status: 201, says: 'A launch token', schema: launchTokenSchema, example: launchExample.answer },
      refusals: refused,
    }),
  },
  '/v1/revoke': {
    post: operation({
      id: 'revoke',
      summary: 'Refuses what was issued up to now, on every replica within 1 s',
      by: 'admin',
      body: {
        // When the token ends is said of a token alone.
        schema: {
          oneOf: [
            revocation({ level: { const: 'token' }, target, expires_at: { type: 'number', minimum: 0, maximum: 4_294_967_295 } }),
            revocation({ level: { enum: [...revocationLevels.filter((one) => one !== 'token'), 'key'] }, target }),
          ],
        },
        example: { level: 'task', target: 'task-7' },
      },
      success: { status: 200, says: 'In force', schema: done('revoked') },
      refusals: [...refused, 404],
    }),
  },
  '/v1/revoke/lift': {
    post: operation({
      id: 'liftRevocation',
      summary: 'Ends a revocation for credentials that have no instant of their own: API keys, certificates',
      by: 'admin',
      body: {
        schema: objectSchema({ level: { enum: revocationLevels.filter((one) => one !== 'token') }, target }),
        example: { level: 'subject', target: 'key:acme' },
      },
      success: { status: 200, says: 'Lifted', schema: done('lifted') },
      refusals: [...refused, 404, 409],
    }),
  },
  '/v1/audit/events': {
    get: operation({
      id: 'auditEvents',
      summary: 'What has happened, newest first',
      by: 'admin',
      description: '`next_cursor` of a page, as `cursor`, asks for the one after it.',
      parameters: [
        asked('event_type', { enum: [...auditEventTypes] }),
        asked('agent_id', { type: 'string', minLength: 1, maxLength: 1024 }),
        asked('outcome', { enum: [...auditOutcomes] }),
        asked('since', { type: 'string', format: 'date-time' }),
        asked('limit', { type: 'integer', minimum: 1, maximum: 1000, default: 100 }),
      ],
      success: { status: 200, says: 'A page of events', schema: events },
      refusals: [400, ...refused],
    }),
  },
})

const trail = (): JsonObject => ({
  '/v1/audit/export': {
    get: operation({
      id: 'exportAudit',
      summary: 'A log of the trail as it is stored, to be verified elsewhere; `x-postern-next` of a page is `after` of the next',
      by: 'admin',
      parameters: [
        asked('log', { enum: [...auditLogs], default: 'events' }),
        asked('after', { type: 'string', pattern: '^[0-9]{1,20}(-[0-9]{1,20})?$' }),
        asked('limit', { type: 'integer', minimum: 1, maximum: 5000, default: 1000 }),
        asked('format', { enum: ['ndjson', 'json'], default: 'ndjson' }),
      ],
      success: { status: 200, says: 'Lines of JSON' },
      response: {
        content: {
          'application/x-ndjson': { schema: { type: 'string' } },
          'application/json': {
            schema: objectSchema({ lines: texts, next: { type: ['string', 'null'] } }),
          },
        },
      },
      refusals: [400, ...refused],
    }),
  },
  '/v1/audit/keys': {
    get: operation({
      id: 'auditKeys',
      summary: 'The keys that checkpoints of the trail are signed with',
      by: 'admin',
      success: { status: 200, says: 'A key set (RFC 7517, section 5)', schema: { type: 'object', required: ['keys'] } },
      refusals: refused,
    }),
  },
})

/** Path items (OpenAPI 3.1) of the admin calls that the broker serves too. */
export const brokerPaths = (launchBody: BrokerPort['launchBody']): JsonObject => ({ ...others(launchBody), ...apps(), ...trail() })
