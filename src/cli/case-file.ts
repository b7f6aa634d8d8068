import { readFile } from 'node:fs/promises'
import { LineCounter, parseDocument } from 'yaml'
import { z } from 'zod'
import type { JsonObject } from '../core/json.ts'
import { revocationLevels } from '../core/ports.ts'
import { denyReasons } from '../core/reasons.ts'
import { systemCode } from '../core/system-code.ts'
import { CommandFailed } from './io.ts'

const json = z.record(z.string(), z.json()).transform((value) => value as JsonObject)
const texts = z.record(z.string(), z.string())
const time = z.union([z.string(), z.date()]).transform((value, context) => {
  const ms = value instanceof Date ? value.getTime() : Date.parse(value)
  if (Number.isNaN(ms)) context.addIssue({ code: 'custom', message: 'expected a time such as 2026-01-31T12:00:00Z' })
  return ms
})

const request = z.strictObject({
  method: z.string().default('GET'),
  host: z.string().default('localhost'),
  /** With the query. */
  path: z.string(),
  /** A list sends a name several times. */
  headers: z.record(z.string(), z.union([z.string(), z.array(z.string())])).default({}),
  /** `context_extensions` of the Envoy route. */
  extensions: texts.optional(),
})

const token = z.strictObject({
  validator: z.string(),
  claims: json.optional(),
  header: json.optional(),
  /** For a validator of type api-keys. */
  key: z
    .strictObject({
      owner: z.string().optional(),
      roles: z.array(z.string()).optional(),
      scopes: z.array(z.string()).optional(),
      expires_at: time.optional(),
      status: z.enum(['active', 'revoked', 'unknown']).optional(),
    })
    .optional(),
  forged: z.boolean().optional(),
  /** bearer (default), dpop, basic:USER, header:NAME, cookie:NAME, query, websocket */
  in: z
    .string()
    .regex(/^(?:bearer|dpop|query|websocket|basic:.*|(?:header|cookie):.+)$/, {
      error: 'expected bearer, dpop, basic:USER, header:NAME, cookie:NAME, query or websocket',
    })
    .optional(),
})

/** `sandbox:s1` or `source/session:s1` → `{ owner }`, `{ labels }` or both. */
const labels = z.record(
  z.string().regex(/^(?:[^/:]+\/)?[a-z][a-z0-9-]*:.+$/, { error: 'expected RESOURCE:ID or SOURCE/RESOURCE:ID' }),
  z.strictObject({ owner: z.string().optional(), labels: texts.optional() }),
)

/** `lifted`: an entry that lifts what was revoked before `at`. */
const revoked = z.strictObject({
  level: z.enum(revocationLevels),
  target: z.string(),
  at: time.optional(),
  lifted: z.literal(true).optional(),
})

/** What a value must be: itself, or text that matches; null for "not there". */
const expected = z.union([z.string(), z.number(), z.boolean(), z.null(), z.strictObject({ matches: z.string() })])
export type Expected = z.output<typeof expected>

const expectation = z.strictObject({
  decision: z.enum(['allow', 'deny']).optional(),
  reason: z.enum(['ok', ...denyReasons]).optional(),
  /** HTTP status of a denial. */
  status: z.int().optional(),
  route: z.union([z.string(), z.null()]).optional(),
  enforced: z.boolean().optional(),
  /** Headers set on the way to the upstream, by lower-case name; on a denial, those of the answer. */
  headers: z.record(z.string(), expected).optional(),
  /** Headers that must be removed; others may be too. */
  removed: z.array(z.string()).optional(),
  removed_query: z.array(z.string()).optional(),
  /** Members of the downstream token's payload. */
  downstream: z.record(z.string(), z.json()).optional(),
  metadata: z.record(z.string(), expected).optional(),
  /** Members of the problem body. */
  body: z.record(z.string(), expected).optional(),
  /** Members of the audit event; null: none is written. */
  audit: z.union([z.null(), z.record(z.string(), expected)]).optional(),
  /** Stages that ran, in order. */
  stages: z.array(z.string()).optional(),
})

const givens = {
  token: z.union([z.string(), token]).optional(),
  /** Payloads that Envoy's jwt_authn verified, by metadata key; {} for none. */
  verified: z.record(z.string(), json).optional(),
  workload: z.string().optional(),
  labels: labels.default({}),
  revoked: z.array(revoked).default([]),
  down: z.array(z.enum(['state', 'exchange'])).default([]),
  now: time.optional(),
}

const oneCase = z.strictObject({ name: z.string().min(1), request, ...givens, expect: expectation })

const caseFile = z.strictObject({
  /** Policy file, from the folder of this file; --config where absent. */
  policy: z.string().optional(),
  /** The time of all cases that give none. */
  now: time.optional(),
  /** Labels of all cases; those of a case win. */
  labels: labels.default({}),
  cases: z.array(oneCase).min(1),
})

export type Case = z.output<typeof oneCase>
export type CaseFile = z.output<typeof caseFile>

/**
 * Reads a table of requests and expected decisions.
 * @throws {CommandFailed} with all that is wrong with it, each with its line
 */
export async function readCases(file: string): Promise<CaseFile> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    throw new CommandFailed(2, `${file}: cannot be read (${systemCode(cause)})`)
  }
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, logLevel: 'error' })
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}`
  }
  if (document.errors.length > 0)
    throw new CommandFailed(2, ...document.errors.map((error) => `${at(error.pos[0])}: ${error.message.split('\n')[0]}`))
  const read = caseFile.safeParse(document.toJS())
  if (read.success) return read.data
  const faults = read.error.issues.map(({ path, message }) => {
    let offset = 0
    for (let length = path.length; length > 0 && offset === 0; length--) {
      const node = document.getIn(path.slice(0, length) as (string | number)[], true) as { range?: [number, number, number] } | undefined
      offset = node?.range?.[0] ?? 0
    }
    return `${at(offset)}: ${path.join('.')}: ${message}`
  })
  throw new CommandFailed(2, ...faults)
}
