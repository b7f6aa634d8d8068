import type { JsonObject } from '../core/json.ts'
import { objectSchema, operation, problemSchema, refusalResponses, securitySchemes } from '../core/openapi.ts'
import { mostLabelsAtOnce } from '../core/ports.ts'
import type { LabelRules } from './ports.ts'
import { mostLabels } from './resources-labels.ts'

const text = (maxLength: number, more: JsonObject = {}): JsonObject => ({ type: 'string', minLength: 1, maxLength, ...more })
const subject = text(1024)
const reason = text(256, { description: 'for the audit trail', pattern: '^[ -~]+$' })
const name: JsonObject = { pattern: '^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$', maxLength: 317 }
const value: JsonObject = { type: 'string', pattern: '^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$', maxLength: 63 }
const marks = { orphan: text(512), deleting: text(512), source: text(512) }
const revision: JsonObject = { type: ['string', 'null'], description: 'of the content, whoever wrote it; null: nothing is known any more' }
const texts: JsonObject = { type: 'object', additionalProperties: { type: 'string' } }

const found: JsonObject = objectSchema(
  { resource: text(256), id: text(1024), owner: { type: 'string' }, labels: texts, annotations: texts, marks: texts, revision },
  ['resource', 'id', 'labels', 'revision'],
)
const example = {
  resource: 'sandbox',
  id: 's1',
  owner: 'alice',
  labels: { 'agentcube.io/owner': 'alice' },
  revision: '0Yl6Yc2IhmK6bI0kq2eVgA',
}

const kind: JsonObject = { name: 'resource', in: 'path', required: true, schema: { type: 'string', pattern: '^[a-z][a-z0-9-]*$' } }
const id: JsonObject = {
  name: 'id',
  in: 'path',
  required: true,
  description: 'where a route has an id_pattern for this kind: or what that says',
  schema: text(128, { pattern: '^[A-Za-z0-9_~-]+$' }),
}
const header = (name: string, description: string, schema: JsonObject): JsonObject => ({ name, in: 'header', description, schema })
const tag = '("[A-Za-z0-9_-]+"|[A-Za-z0-9_-]+)'
const tags: JsonObject = { type: 'string', pattern: `^(\\*|${tag}(,${tag})*)$` }
const conditions: JsonObject[] = [
  header('If-Match', 'revisions as strong entity tags; *: where anything is known (RFC 9110, section 13.1.1)', tags),
  header('If-None-Match', 'as If-Match, and the contrary; *: where nothing is known yet (section 13.1.2)', tags),
]
const why = header('x-postern-reason', 'for the audit trail; percent-encoded', text(256, { pattern: '^[!-$&-~]([ -$&-~]*[!-$&-~])?$' }))
const query = (name: string, schema: JsonObject): JsonObject => ({ name, in: 'query', schema })

const one = { status: 200, says: 'The labels as they are', schema: found, example } as const
const tagged: JsonObject = { headers: { ETag: { description: 'the revision', schema: { type: 'string' } } } }

/** Adds what only these calls answer with: 412. */
const conditional = (call: JsonObject): JsonObject => ({
  ...call,
  responses: { ...(call['responses'] as JsonObject), '412': { $ref: '#/components/responses/Refused412' } },
})

const labelsSchema = ({ owner, shared, tenant, endpoint }: LabelRules): JsonObject => ({
  type: 'object',
  maxProperties: mostLabels,
  propertyNames: name,
  properties: {
    ...(tenant !== undefined && { [tenant]: { type: 'string', maxLength: 1024, pattern: '^[ -~]*$' } }),
    ...(shared !== undefined && {
      [shared]: { type: 'string', maxLength: 8192, pattern: '^[A-Za-z0-9:_.-]+(;write)?(,[A-Za-z0-9:_.-]+(;write)?)*$' },
    }),
    ...(endpoint && { [endpoint.label]: { type: 'string', pattern: '^[0-9.]+:[0-9]{1,5}$' } }),
    [owner]: { type: 'string', maxLength: 1024 },
  },
  additionalProperties: value,
})

const withReason = (properties: JsonObject): JsonObject => objectSchema({ ...properties, reason }, Object.keys(properties))

/** Path items (OpenAPI 3.1) of the owner API. */
export function ownerPaths(rules: LabelRules): JsonObject {
  const labels = labelsSchema(rules)
  const nullable = (schema: JsonObject): JsonObject => ({ oneOf: [schema, { type: 'null' }] })
  return {
    '/v1/resources/{resource}/{id}/labels': {
      parameters: [kind, id],
      get: operation({
        id: 'getLabels',
        summary: 'Whose a resource is',
        by: 'admin',
        success: one,
        response: tagged,
        refusals: [400, 403, 404],
      }),
      put: conditional(
        operation({
          id: 'putLabels',
          summary: 'Another owner, where other labels stay; or all labels',
          by: 'admin',
          parameters: conditions,
          body: {
            schema: { oneOf: [withReason({ owner: subject }), withReason({ labels })] },
            example: { owner: 'alice', reason: 'created' },
          },
          success: one,
          response: tagged,
          refusals: [403, 409],
        }),
      ),
      patch: conditional(
        operation({
          id: 'patchLabels',
          summary: 'Some labels; null takes one away (RFC 7396)',
          by: 'admin',
          parameters: conditions,
          body: {
            schema: objectSchema(
              {
                labels: {
                  ...labels,
                  properties: Object.fromEntries(
                    Object.entries(labels['properties'] as JsonObject).map(([key, of]) => [key, nullable(of as JsonObject)]),
                  ),
                  additionalProperties: nullable(value),
                },
                marks: objectSchema(Object.fromEntries(Object.keys(marks).map((mark) => [mark, { type: 'null' }])), []),
                reason,
              },
              [],
            ),
            example: { labels: { team: 'red', old: null } },
          },
          success: one,
          response: tagged,
          refusals: [403, 409],
        }),
      ),
      delete: conditional(
        operation({
          id: 'removeLabels',
          summary: 'Forgets a resource',
          by: 'admin',
          parameters: [...conditions, why],
          success: { status: 204, says: 'Nothing is known of it any more' },
          refusals: [400, 403, 404, 409],
        }),
      ),
    },
    '/v1/resources/{resource}/{id}/transfer': {
      parameters: [kind, id],
      post: conditional(
        operation({
          id: 'transfer',
          summary: 'Another owner, where it is whose the caller says',
          by: 'admin',
          parameters: [conditions[0]!],
          body: {
            schema: objectSchema({ to: subject, from: subject, reason }, ['to', 'reason']),
            example: { from: 'alice', to: 'bob', reason: 'alice left' },
          },
          success: one,
          response: tagged,
          refusals: [403, 404, 409],
        }),
      ),
    },
    '/v1/resources': { get: list('listAll', 'Resources of all kinds, a page at a time') },
    '/v1/resources/{resource}': { parameters: [kind], get: list('list', 'Resources of a kind, a page at a time') },
    '/v1/import/labels': { post: importing(labels) },
  }
}

const list = (operationId: string, summary: string): JsonObject =>
  operation({
    id: operationId,
    summary,
    by: 'admin',
    description:
      'In no order that means anything. `next` of a page, as `cursor`, asks for the one after it; `short`: there are fewer than asked for, and more to come.',
    parameters: [
      query('owner', subject),
      query('label', { type: 'string', pattern: '^[a-z0-9]{1,63}=[a-z0-9]{0,63}$', description: 'NAME=VALUE' }),
      query('mark', { enum: Object.keys(marks) }),
      query('limit', { type: 'integer', minimum: 1, maximum: mostLabelsAtOnce, default: 100 }),
    ],
    success: {
      status: 200,
      says: 'A page',
      schema: objectSchema({ resources: { type: 'array', items: found }, short: { type: 'boolean' }, next: { type: ['string', 'null'] } }),
      example: { resources: [example], short: false, next: null },
    },
    refusals: [400, 403],
  })

function importing(labels: JsonObject): JsonObject {
  const members = {
    resource: kind['schema']!,
    id: id['schema']!,
    owner: subject,
    labels: { ...labels, minProperties: 1 },
    annotations: texts,
    marks: objectSchema(marks, []),
    revision,
  }
  const line = {
    ...objectSchema(members, ['resource', 'id']),
    anyOf: [{ required: ['owner'] }, { required: ['labels'] }, { required: ['marks'] }],
  }
  const count: JsonObject = { type: 'integer', minimum: 0 }
  const result = objectSchema(
    {
      line: count,
      resource: { type: 'string' },
      id: { type: 'string' },
      result: { enum: ['written', 'kept', 'same', 'valid', 'invalid'] },
      expected: { type: 'string' },
    },
    ['line', 'result'],
  )
  const call = operation({
    id: 'importLabels',
    summary: 'Many records at once',
    by: 'admin',
    description: `At most ${mostLabelsAtOnce} lines. Where one of them is not as it should be, nothing is written, unless \`partial=true\`.`,
    parameters: [
      query('mode', { enum: ['absent', 'replace'], default: 'absent', description: 'absent: what is known stays as it is' }),
      query('partial', { enum: ['true', 'false'], default: 'false' }),
      query('dry_run', { enum: ['true', 'false'], default: 'false', description: 'nothing is written' }),
      query('report', { enum: ['all', 'invalid'], default: 'all', description: 'lines that are told of' }),
      why,
    ],
    body: {
      schema: { type: 'array', minItems: 1, maxItems: mostLabelsAtOnce, items: line },
      example: [{ resource: 'sandbox', id: 's1', owner: 'alice' }] as never,
    },
    success: {
      status: 200,
      says: 'What happened to each line',
      schema: objectSchema({
        mode: { enum: ['absent', 'replace'] },
        ...Object.fromEntries(['lines', 'written', 'kept', 'same', 'valid', 'invalid'].map((each) => [each, count])),
        sha256: { type: 'string', pattern: '^[0-9a-f]{64}$' },
        results: { type: 'array', items: result },
      }),
    },
    refusals: [403],
  })
  const body = call['requestBody'] as JsonObject
  const lines: JsonObject = { 'application/x-ndjson': { schema: { type: 'string', description: 'each line one of the items' } } }
  const refusedLines = { type: 'array', items: objectSchema({ line: count, expected: { type: 'string' } }) }
  const problem = { ...problemSchema, properties: { ...(problemSchema['properties'] as JsonObject), lines: refusedLines } }
  return {
    ...call,
    requestBody: { ...body, content: { ...(body['content'] as JsonObject), ...lines } },
    responses: {
      ...(call['responses'] as JsonObject),
      '400': { description: 'Not as it should be; nothing was written', content: { 'application/problem+json': { schema: problem } } },
    },
  }
}

/** The OpenAPI 3.1 document of the owner API, in JSON. */
export function ownerDocument(rules: LabelRules): JsonObject {
  const refused = refusalResponses()
  const meaning = { ...(refused['Refused409'] as JsonObject), description: 'The revision is another than the one that was sent' }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Postern owner API',
      version: '1',
      description: 'Whose a resource is. Every answer that is no success is a problem (RFC 9457).',
    },
    servers: [{ url: '/' }],
    paths: ownerPaths(rules),
    components: { schemas: { Problem: problemSchema }, responses: { ...refused, Refused412: meaning }, securitySchemes },
  }
}
