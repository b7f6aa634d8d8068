import type { JsonObject } from './json.ts'

// Pieces of an OpenAPI 3.1 document that several of our APIs put together.

/** A call as it is described. */
export interface Operation {
  readonly id: string
  readonly summary: string
  readonly description?: string
  /** Which credential: a scheme of {@link securitySchemes}; absent: none. */
  readonly by?: 'admin' | 'agent' | 'app'
  /** JSON Schema of the body, and an example. */
  readonly body?: { readonly schema: JsonObject; readonly example: JsonObject; readonly optional?: boolean }
  readonly parameters?: readonly JsonObject[]
  /** Status of success, and what the answer is; without a schema it has no body. */
  readonly success: { readonly status: 200 | 201 | 204; readonly says: string; readonly schema?: JsonObject; readonly example?: JsonObject }
  /** Members of the success's response object beside its content: `links`, `headers`, a content of another type. */
  readonly response?: JsonObject
  /** Statuses of refusals, beside those that every call may answer with (500, 503, and 400, 413, 415 where it has a body). */
  readonly refusals?: readonly (400 | 401 | 403 | 404 | 409 | 429)[]
}

const meanings = {
  400: 'The request is not as it should be; `detail` says what was expected',
  401: 'The credential is missing, invalid, used, revoked or expired',
  403: 'Known, and not allowed',
  404: 'There is no such thing',
  405: 'Not a method of this call',
  409: 'It was changed meanwhile',
  413: 'The body has more than 1 MiB',
  415: 'The body is not declared as JSON',
  421: 'The Host header does not name this listener',
  429: 'Too many requests from this address',
  500: 'An internal error; the cause is in the log of the service',
  503: 'State does not answer at the moment',
} as const
type Meaning = keyof typeof meanings

const headersOf: Partial<Record<Meaning, JsonObject>> = {
  401: { 'WWW-Authenticate': { description: 'RFC 6750, section 3', schema: { type: 'string' } } },
  405: { Allow: { description: 'RFC 9110, section 10.2.1', schema: { type: 'string' } } },
  429: { 'Retry-After': { description: 'Seconds', schema: { type: 'string', pattern: '^[0-9]+$' } } },
}

/** The responses that calls refer to. */
export const refusalResponses = (): JsonObject =>
  Object.fromEntries(
    Object.entries(meanings).map(([status, description]) => [
      `Refused${status}`,
      {
        description,
        ...(headersOf[Number(status) as Meaning] && { headers: headersOf[Number(status) as Meaning]! }),
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    ]),
  )

/** Problem details (RFC 9457) as all our APIs write them. */
export const problemSchema: JsonObject = {
  type: 'object',
  required: ['type', 'title', 'status', 'reason', 'detail'],
  additionalProperties: false,
  properties: {
    type: { type: 'string', description: 'urn:postern:<api>:<reason>' },
    title: { type: 'string' },
    status: { type: 'integer', minimum: 400, maximum: 599 },
    reason: { type: 'string', description: 'a word for programs' },
    detail: { type: 'string', description: 'a sentence for people' },
  },
}

/** An operation object (OpenAPI 3.1, section 4.8.10). */
export function operation(call: Operation): JsonObject {
  const { body, by, success } = call
  const always: readonly Meaning[] = [...(body ? ([400, 413, 415] as const) : []), 500, 503]
  const statuses = [...new Set<Meaning>([...(call.refusals ?? []), ...(by ? ([401] as const) : []), ...always])].sort((a, b) => a - b)
  const content = success.schema && {
    content: { 'application/json': { schema: success.schema, ...(success.example && { example: success.example }) } },
  }
  return {
    operationId: call.id,
    summary: call.summary,
    ...(call.description !== undefined && { description: call.description }),
    security: by ? [{ [by]: [] }] : [],
    ...(call.parameters && { parameters: call.parameters }),
    ...(body && {
      requestBody: { required: body.optional !== true, content: { 'application/json': { schema: body.schema, example: body.example } } },
    }),
    responses: {
      [success.status]: { description: success.says, ...content, ...call.response },
      ...Object.fromEntries(statuses.map((status) => [String(status), { $ref: `#/components/responses/Refused${status}` }])),
    },
  }
}

/** How callers show who they are. */
export const securitySchemes: JsonObject = {
  admin: { type: 'http', scheme: 'bearer', description: 'a token of POST /v1/admin/auth' },
  agent: { type: 'http', scheme: 'bearer', description: 'the token that the agent was given last' },
  app: { type: 'http', scheme: 'bearer', description: 'a token of POST /v1/app/auth' },
}

/** The answer that carries a token (RFC 6749, section 5.1), with members of its own. */
export const tokenSchema = (own: JsonObject = {}): JsonObject => ({
  type: 'object',
  required: ['access_token', 'token_type', 'expires_in', ...Object.keys(own)],
  additionalProperties: false,
  properties: {
    access_token: { type: 'string' },
    token_type: { const: 'Bearer' },
    expires_in: { type: 'integer', minimum: 0, description: 'seconds' },
    ...own,
  },
})

/** The answer to whoever made a launch token. */
export const launchTokenSchema: JsonObject = {
  type: 'object',
  required: ['launch_token', 'expires_at', 'policy'],
  additionalProperties: false,
  properties: {
    launch_token: { type: 'string', pattern: '^[0-9a-f]{64}$' },
    expires_at: { type: 'string', format: 'date-time' },
    policy: {
      type: 'object',
      required: ['allowed_scope', 'max_ttl'],
      additionalProperties: false,
      properties: { allowed_scope: { type: 'array', items: { type: 'string' } }, max_ttl: { type: 'integer' } },
    },
  },
}

/** An example of a body that asks for a launch token, and of its answer. */
export const launchExample = {
  body: { agent_name: 'data-processor', allowed_scope: ['read:data:*', 'write:data:*'], max_ttl: 300, single_use: true, ttl: 30 },
  answer: {
    launch_token: 'a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90',
    expires_at: '2027-02-15T12:00:30.000Z',
    policy: { allowed_scope: ['read:data:*', 'write:data:*'], max_ttl: 300 },
  },
} as const

/** A JSON Schema of an object that has these members and no others. @param required absent: all of them */
export const objectSchema = (properties: JsonObject, required: readonly string[] = Object.keys(properties)): JsonObject => ({
  type: 'object',
  required,
  additionalProperties: false,
  properties,
})
