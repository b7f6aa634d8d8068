import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { Hono } from 'hono'
import { z } from 'zod'
import { issuesText, maxBodyBytes, readText } from '../core/http-body.ts'
import { problemText, problemType } from '../core/http-problem.ts'
import type { JsonObject } from '../core/json.ts'
import { sameLabels } from '../core/ownership.ts'
import { type LabelStore, mostLabelsAtOnce, type StoredLabels } from '../core/ports.ts'
import { type AdminContext, type AdminEnv, problem } from './answers.ts'
import { demand } from './authenticate.ts'
import type { AdminOptions } from './ports.ts'
import { record } from './record.ts'
import { type Line, readLine } from './resources-import-lines.ts'
import { reasonOf, rulesOf } from './resources-place.ts'

export const importModes = ['absent', 'replace'] as const
type Mode = (typeof importModes)[number]

const flag = z
  .enum(['true', 'false'])
  .default('false')
  .transform((text) => text === 'true')
const query = z.strictObject({
  mode: z.enum(importModes).default('absent'),
  partial: flag,
  dry_run: flag,
  report: z.enum(['all', 'invalid']).default('all'),
})

/** Lines that are handled in one go: about a millisecond in the thread that checks. */
const atATime = 100

/** What happened to a line. */
type Result = 'written' | 'kept' | 'same' | 'valid' | 'invalid'

/** `POST /v1/import/labels`: many records at once, as JSON lines or as a JSON array. */
export function addImport(app: Hono<AdminEnv>, options: AdminOptions): void {
  app.use('/v1/import/labels', demand('admin:owners:*'))
  app.post('/v1/import/labels', async (c) => {
    const asked = query.safeParse(c.req.query())
    if (!asked.success) return problem(c, 400, 'bad_query', issuesText(asked.error.issues))
    const { mode, partial, dry_run: dry, report } = asked.data
    const why = reasonOf(c)
    if (why instanceof Response) return why
    const body = await readLines(c)
    if (body instanceof Response) return body
    const rules = rulesOf(options)
    const lines: Line[] = []
    await inTurns(body.lines, ({ line, data, broken }) =>
      lines.push(broken ? { line, expected: 'expected a JSON object on a line of its own' } : readLine(options, rules, line, data)),
    )
    const invalid = lines.filter((line) => 'expected' in line)
    if (invalid.length > 0 && !partial && !dry) return refused(c, invalid)
    const good = lines.filter((line) => 'entry' in line)
    const sha256 = createHash('sha256').update(body.text).digest('hex')
    const tell = (outcome: 'success' | 'failure', counted: JsonObject): Promise<void> => {
      const [actor, detail] = [c.get('caller').name, { mode, lines: lines.length, ...counted, sha256 }]
      return record(options, { type: 'owners_imported', outcome, actor, ...(why !== undefined && { reason: why }), detail })
    }
    const entries = good.map(({ entry }) => entry)
    // Where it is not known of all of them, some may be written: who it was, the audit trail knows at any rate.
    const results = dry
      ? good.map((): Result => 'valid')
      : await write(options.labels, mode, entries).catch(async (cause: unknown) => {
          await tell('failure', { invalid: invalid.length })
          throw cause
        })
    const counts = { ...countsOf(results), invalid: invalid.length }
    if (!dry) await tell('success', counts)
    const told = new Map<number, Result>(good.map(({ line }, i) => [line, results[i]!]))
    const shown = report === 'all' ? lines : invalid
    return c.json({ mode, lines: lines.length, ...counts, sha256, results: shown.map((line) => resultOf(line, told.get(line.line))) })
  })
}

interface RawLine {
  /** From 1 on: of the text, or the place in the array. */
  readonly line: number
  readonly data?: unknown
  readonly broken?: true
}

/** The body in parts, or the answer that refuses it. */
async function readLines(c: AdminContext): Promise<{ readonly text: string; readonly lines: readonly RawLine[] } | Response> {
  const text = await readText(c.req.raw)
  if (text === undefined) return problem(c, 413, 'body_too_large', `a body has at most ${maxBodyBytes} bytes`, { connection: 'close' })
  const type = c.req.header('content-type')
  // A form of another site can send text/plain without asking first; these it cannot.
  if (type === undefined || !/^application\/(?:json|x-ndjson|ndjson|jsonl|x-jsonlines|json-lines)\s*(?:;|$)/i.test(type))
    return problem(c, 415, 'not_json', 'expected content-type: application/x-ndjson, or application/json with an array')
  const lines = /^application\/json\s*(?:;|$)/i.test(type) ? arrayOf(text) : linesOf(text)
  if (lines === undefined) return problem(c, 400, 'not_json', 'the body is no JSON array')
  if (lines.length === 0) return problem(c, 400, 'bad_body', 'expected at least one line')
  if (lines.length > mostLabelsAtOnce) return problem(c, 400, 'bad_body', `expected at most ${mostLabelsAtOnce} lines`)
  return { text, lines }
}

function arrayOf(text: string): readonly RawLine[] | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) ? value.map((data: unknown, i) => ({ line: i + 1, data })) : undefined
  } catch {
    return undefined
  }
}

const linesOf = (text: string): readonly RawLine[] =>
  text.split('\n').flatMap((part, i): RawLine[] => {
    if (part.trim() === '') return []
    try {
      return [{ line: i + 1, data: JSON.parse(part) as unknown }]
    } catch {
      return [{ line: i + 1, broken: true }]
    }
  })

/** What becomes of each record. A resource that comes twice is written twice, in the order of the lines. @throws {Unavailable} */
async function write(store: LabelStore, mode: Mode, entries: readonly StoredLabels[]): Promise<readonly Result[]> {
  const results: Result[] = []
  let left = entries.map((entry, i) => ({ entry, i }))
  while (left.length > 0) {
    const seen = new Set<string>()
    const [turn, later]: [typeof left, typeof left] = [[], []]
    for (const each of left) {
      const key = `${each.entry.resource}:${each.entry.id}`
      ;(seen.has(key) ? later : turn).push(each)
      seen.add(key)
    }
    // What is there already costs no write, and no near copy of it.
    const asked =
      mode === 'replace'
        ? await sames(
            store,
            turn.map(({ entry }) => entry),
          )
        : turn.map(() => false)
    const wanted = turn.filter((_, i) => !asked[i])
    for (const [i, each] of turn.entries()) if (asked[i]) results[each.i] = 'same'
    const done =
      wanted.length === 0
        ? []
        : await store.writeMany(
            wanted.map(({ entry }) => entry),
            mode,
          )
    const kept = wanted.filter((_, i) => !done[i])
    const same = await sames(
      store,
      kept.map(({ entry }) => entry),
    )
    for (const [i, each] of wanted.entries()) if (done[i]) results[each.i] = 'written'
    for (const [i, each] of kept.entries()) results[each.i] = same[i] ? 'same' : 'kept'
    left = later
  }
  return results
}

/** Whether state says of each what it says. */
async function sames(store: LabelStore, entries: readonly StoredLabels[]): Promise<readonly boolean[]> {
  const asked: Promise<boolean>[] = []
  const ask = async ({ resource, id, labels }: StoredLabels): Promise<boolean> => {
    const now = await store.read(resource, id)
    return now !== undefined && sameLabels(now.labels, labels)
  }
  await inTurns(entries, (entry) => {
    const answer = ask(entry)
    // It is looked at when all have been asked.
    answer.catch(() => {})
    asked.push(answer)
  })
  return Promise.all(asked)
}

/** Does something with each; checks have their turn now and then. */
async function inTurns<T>(items: readonly T[], run: (item: T) => void): Promise<void> {
  for (const [i, item] of items.entries()) {
    if (i > 0 && i % atATime === 0) await setImmediate()
    run(item)
  }
}

function countsOf(results: readonly Result[]): Record<Exclude<Result, 'invalid'>, number> {
  const counts = { written: 0, kept: 0, same: 0, valid: 0, invalid: 0 }
  for (const result of results) counts[result]++
  const { invalid: _, ...others } = counts
  return others
}

const resultOf = (line: Line, result: Result | undefined): JsonObject => {
  if ('entry' in line) return { line: line.line, resource: line.entry.resource, id: line.entry.id, result: result ?? 'invalid' }
  return { ...line, result: 'invalid' }
}

/** Nothing of it was written: which lines, and what was expected of them. */
function refused(c: AdminContext, invalid: readonly Extract<Line, { expected: string }>[]) {
  const detail = 'nothing was written: "lines" says what was expected; with partial=true the other lines are'
  const text = problemText('admin', { status: 400, title: 'The request is not as it should be', reason: 'invalid_lines', detail })
  const lines = invalid.map(({ line, expected }) => ({ line, expected }))
  return c.body(JSON.stringify({ ...(JSON.parse(text) as object), lines }), 400, { 'content-type': problemType })
}
