import { z } from 'zod'
import type { JsonObject } from '../../core/json.ts'
import {
  launchExample,
  launchTokenSchema,
  objectSchema,
  operation,
  problemSchema,
  refusalResponses,
  securitySchemes,
  tokenSchema,
} from '../../core/openapi.ts'
import { appAuthBody, delegateBody, launchFields, noBody, registerBody, validateBody } from './http-schemas.ts'

/** A zod schema as JSON Schema, what may be sent. */
const sent = (schema: z.ZodType): JsonObject => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return rest as unknown as JsonObject
}

const token = { access_token: 'eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.…', token_type: 'Bearer', expires_in: 300 }
const agentId = 'spiffe://agents.local/agent/orch-1/task-7/3f2c8a1e-6f0d-4b9e-9a55-0c1d2e3f4a5b'
const empty = { schema: sent(noBody), example: {}, optional: true }

const agentPaths = (): JsonObject => ({
  '/v1/challenge': {
    get: operation({
      id: 'challenge',
      summary: 'A nonce to sign',
      description: 'Good for 30 s, and for one registration.',
      success: {
        status: 200,
        says: 'A nonce',
        schema: objectSchema({ nonce: { type: 'string', pattern: '^[A-Za-z0-9_-]{75}$' }, expires_in: { type: 'integer' } }),
      },
      refusals: [429],
    }),
  },
  '/v1/register': {
    post: operation({
      id: 'register',
      summary: 'Lets an agent in',
      description: 'The signature is made over the UTF-8 bytes of the nonce with the private half of `public_key` (Ed25519, RFC 8032).',
      body: {
        schema: sent(registerBody),
        example: {
          launch_token: launchExample.answer.launch_token,
          nonce: 'AAABnE0gTAC0Gk9xX0cT7m4QeVqXq2b1lqYxk0h8n8b3Qd5YhEoQJm7sZ5yJc0uX1rT9wPq4aZk',
          public_key: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo',
          signature: `${'A'.repeat(85)}A`,
          orch_id: 'orch-1',
          task_id: 'task-7',
          requested_scope: ['read:data:*'],
        },
      },
      success: {
        status: 201,
        says: 'Registered',
        schema: tokenSchema({ agent_id: { type: 'string', pattern: '^spiffe://' } }),
        example: { agent_id: agentId, ...token },
      },
      refusals: [401, 403, 429],
    }),
  },
  '/v1/token/validate': {
    post: operation({
      id: 'validateToken',
      summary: "Whether an agent's token is good, and what it says",
      body: { schema: sent(validateBody), example: { token: token.access_token } },
      success: {
        status: 200,
        says: 'Whether it is',
        schema: {
          oneOf: [objectSchema({ valid: { const: true }, claims: { type: 'object' } }), objectSchema({ valid: { const: false } })],
        },
        example: { valid: false },
      },
      refusals: [429],
    }),
  },
  '/v1/token/renew': {
    post: operation({
      id: 'renewToken',
      summary: 'A fresh token for the one that was given last, which is then revoked',
      by: 'agent',
      body: empty,
      success: { status: 200, says: 'A fresh token', schema: tokenSchema(), example: token },
      refusals: [429],
    }),
  },
  '/v1/token/release': {
    post: operation({
      id: 'releaseToken',
      summary: 'Says that the task is done: the token is revoked',
      by: 'agent',
      body: empty,
      success: { status: 204, says: 'Released' },
      refusals: [429],
    }),
  },
  '/v1/delegate': {
    post: operation({
      id: 'delegate',
      summary: 'A token with less, for another agent or for oneself',
      by: 'agent',
      body: { schema: sent(delegateBody), example: { scope: ['read:data:partition-7'], ttl: 60 } },
      success: { status: 200, says: 'A token', schema: tokenSchema(), example: token },
      refusals: [403, 429],
    }),
  },
})

const appPaths = (): JsonObject => ({
  '/v1/app/auth': {
    post: operation({
      id: 'appAuth',
      summary: "An app's secret for a short token",
      body: { schema: sent(appAuthBody), example: { client_id: 'app-0123456789abcdef', client_secret: 'f'.repeat(64) } },
      success: {
        status: 200,
        says: 'A token',
        schema: tokenSchema({ scope: { type: 'string' } }),
        example: { ...token, expires_in: 1800, scope: 'app:launch-tokens:*' },
      },
      refusals: [401, 429],
    }),
  },
  '/v1/app/launch-tokens': {
    post: operation({
      id: 'appCreateLaunchToken',
      summary: "A launch token within the app's ceiling",
      by: 'app',
      body: { schema: sent(launchFields), example: launchExample.body },
      success: { status: 201, says: 'A launch token', schema: launchTokenSchema, example: launchExample.answer },
      refusals: [403, 429],
    }),
  },
})

const health = (says: string): JsonObject => ({
  description: says,
  content: {
    'application/json': {
      schema: objectSchema({
        status: { enum: ['ok', 'degraded'] },
        version: { type: 'string' },
        uptime: { type: 'integer', minimum: 0, description: 'seconds' },
        db_connected: { type: 'boolean' },
        audit_events_count: { type: 'integer', minimum: 0 },
      }),
    },
  },
})

const openPaths = (): JsonObject => {
  const about = (id: string, summary: string, type: string, schema: JsonObject) => ({
    get: operation({
      id,
      summary,
      refusals: [429],
      success: { status: 200, says: summary },
      response: { content: { [type]: { schema } } },
    }),
  })
  const plain = operation({ id: 'health', summary: 'How the broker is', refusals: [429], success: { status: 200, says: 'Well' } })
  const responses = { ...(plain['responses'] as JsonObject), '200': health('Well'), '503': health('State does not answer') }
  return {
    '/v1/health': { get: { ...plain, responses } },
    '/v1/metrics': about('metrics', 'Metrics in the text format of Prometheus', 'text/plain', { type: 'string' }),
    '/v1/openapi.json': about('openapi', 'This document', 'application/json', { type: 'object' }),
  }
}

export interface OpenApiNeeds {
  readonly version: string
  /** URL of the issuer listener. */
  readonly server: string
  /** Path items of the admin calls that the broker serves too. */
  readonly adminPaths: JsonObject
}

/** The OpenAPI 3.1 document of the broker, in JSON. */
export const openapiText = ({ version, server, adminPaths }: OpenApiNeeds): string =>
  JSON.stringify({
    openapi: '3.1.0',
    info: {
      title: 'Postern agent broker',
      version,
      description: 'Lets agents in, and gives them short tokens. Every answer that is no success is a problem (RFC 9457).',
    },
    servers: [{ url: server }],
    paths: { ...agentPaths(), ...appPaths(), ...adminPaths, ...openPaths() },
    components: { schemas: { Problem: problemSchema }, responses: refusalResponses(), securitySchemes },
  })
