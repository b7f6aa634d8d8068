import { z } from 'zod'
import { clientAuth } from './schema-client-auth.ts'
import { dpop } from './schema-dpop.ts'
import { validator } from './schema-identity.ts'
import { broker, issuer } from './schema-issuer.ts'
import { check, listen, state } from './schema-listen.ts'
import { ownership } from './schema-ownership.ts'
import { isRedisUrl, redisFiles } from './schema-redis.ts'
import { route } from './schema-routes.ts'
import { duration, filePath, name, secret, some, text } from './values.ts'

const include = () =>
  z
    .array(
      z.union([
        text(),
        z.strictObject({
          path: text(),
          owns: z
            .strictObject({
              hosts: some(text()).optional().describe('each route has one of these hosts'),
              prefix: z
                .string()
                .startsWith('/', { error: 'expected a path prefix, such as /team' })
                .optional()
                .describe('each path begins with it'),
            })
            .optional()
            .describe('what the routes of these files are held to'),
        }),
      ]),
    )
    .prefault([])
    .describe('files (globs) with more roles and routes, from the folder of this file')

const roles = () =>
  z
    .record(name(), z.strictObject({ inherits: z.array(text()).prefault([]).describe('roles that this one includes') }))
    .prefault({})
    .describe('role → what it inherits')

const sources = () =>
  z
    .record(
      name(),
      z.strictObject({
        type: z.literal('json').describe('a JSON text in a Redis of the platform'),
        redis: secret()
          .refine((url) => isRedisUrl(url.shape), { error: 'expected "redis://host:port/db" or "rediss://host:port/db"' })
          .describe('its own connection, with its own ACL user'),
        tls: redisFiles().optional().describe('files for rediss://'),
        key: text().describe('key template with one {id}; {realm} is filled in'),
        owner: z
          .string()
          .regex(/^(?:\/(?:[^~/]|~[01])*)+$/, { error: 'expected a JSON pointer (RFC 6901), such as /ownerId' })
          .describe('JSON pointer to the owner'),
        subjects_of: text().describe('the validator whose raw subjects these are'),
      }),
    )
    .prefault({})
    .describe("where owner labels are read from, beside Postern's own")

const sts = () =>
  z
    .record(
      name(),
      z.strictObject({
        token_endpoint: text().describe('https, or http on loopback; {realm} is filled in'),
        client_id: text(),
        auth: clientAuth(),
        ca: filePath().optional().describe("PEM file with the authorities that the endpoint is trusted by instead of the system's"),
        timeout: duration({ min: '10ms', max: '60s' }).prefault('1s'),
        allow_opaque: z.boolean().prefault(false).describe('whether tokens that are no JWT are passed on unchecked'),
        subjects_of: text().describe('the oidc validator whose tokens are exchanged here'),
      }),
    )
    .prefault({})
    .describe('token endpoints for `via: sts`')

/** A realm stands in keys of state, in URLs and in logs. */
export const realmName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
export const realmExpected = 'expected letters, digits, ".", "_" and "-", at most 63'

const decisions = () => z.enum(['none', 'denials', 'all']).prefault('denials')

/** Processes that answer checks. */
export const mostWorkers = 64

/** The whole policy file. Included files have `roles` and `routes` alone. */
export const policyFile = () =>
  z
    .strictObject({
      version: z.literal(1).describe('of this format'),
      realm: z
        .string()
        .regex(realmName, { error: realmExpected })
        .prefault('default')
        .describe('tenant; --realm overrides it, and {realm} stands for it in issuers, audiences and keys'),
      realms: some(text())
        .optional()
        .describe('files (globs), each the policy of one realm, from the folder of this file; this one then holds what all have in common'),
      include: include(),
      listen: listen(),
      state: state(),
      admin: z
        .strictObject({
          secret: secret().optional().describe('at least 32 characters; exchanged for admin tokens at /v1/admin/auth'),
          audience: text().prefault('postern-admin').describe('of admin tokens'),
        })
        .prefault({}),
      workers: z
        .union([z.int().min(1).max(mostWorkers), z.literal('auto')])
        .prefault(1)
        .describe('processes that answer checks; auto: one for each core; with memory state there is one'),
      check: check(),
      cors: z
        .strictObject({ preflight: z.enum(['deny', 'allow']).prefault('deny') })
        .prefault({})
        .describe('allow: a true preflight on a known path passes without a credential'),
      errors: z.enum(['denied', 'error_response']).prefault('denied').describe('how outages are told to Envoy'),
      denials: z
        .strictObject({
          detail: z.boolean().prefault(false).describe('whether problem bodies say more than the reason'),
          realm: z
            .string()
            .regex(/^[\u0020-\u0021\u0023-\u005b\u005d-\u007e]+$/, { error: 'expected visible ASCII without quotes and backslashes' })
            .prefault('postern')
            .describe('of WWW-Authenticate'),
          resource_metadata: z.url({ error: 'expected a URL (RFC 9728)' }).nullable().prefault(null),
        })
        .prefault({}),
      headers: z
        .strictObject({
          prefix: z
            .string()
            .regex(/^[a-z][a-z0-9-]*-$/, {
              error: 'expected a header prefix: lower-case letters, digits and "-", ending in "-", such as x-postern-',
            })
            .prefault('x-postern-'),
        })
        .prefault({}),
      identity: z.array(validator()).describe('validators, in order; they compete only for one presented credential'),
      dpop: dpop(),
      allow_management_plane: z
        .boolean()
        .prefault(true)
        .describe('false: the operator page cannot ask agents; else its short tokens are admitted, once admin.secret is set'),
      roles: roles(),
      sources: sources(),
      ownership: ownership(),
      sts: sts(),
      routes: z.array(route()).describe('what is not matched is denied'),
      issuer: issuer(),
      broker: broker(),
      revocation: z
        .strictObject({
          max_staleness: duration({ min: '1s' }).prefault('5s').describe('without news from state for longer, every check is 503'),
        })
        .prefault({}),
      audit: z
        .strictObject({
          decisions: decisions(),
          retain: duration({ min: '1h', max: '36500d' })
            .optional()
            .describe('how long events are kept; absent: decisions 90d, all others for ever'),
        })
        .prefault({}),
      log: z
        .strictObject({
          level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).prefault('info'),
          decisions: decisions(),
        })
        .prefault({}),
    })
    .describe('Policy of Postern')

/** The policy as plain data, under the names of the file: durations in milliseconds, sizes in bytes, defaults filled in. */
export type Settings = z.output<ReturnType<typeof policyFile>>

/** JSON Schema (2020-12) of the policy file, for editors. */
export function policySchema(): Record<string, unknown> {
  const { $schema, required, ...rest } = z.toJSONSchema(policyFile(), { io: 'input', unrepresentable: 'any' }) as Record<string, unknown>
  // One realm in one file; or what several have in common, and each of them in a file of its own.
  const forms = [required, ['version', 'listen', 'realms'], ['version', 'realm', 'identity', 'routes']]
  return { $schema, title: 'Postern policy file', ...rest, anyOf: forms.map((form) => ({ required: form })) }
}
