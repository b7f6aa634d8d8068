import { createHash } from 'node:crypto'
import type { Context, Hono } from 'hono'
import { z } from 'zod'
import { issuesText } from '../core/http-body.ts'
import { type Labels, marks, ownerLabelValue, resourceKind } from '../core/ownership.ts'
import { type LabelFilter, type LabelStore, mostLabelsAtOnce, type StoredLabels } from '../core/ports.ts'
import { type AdminEnv, problem } from './answers.ts'
import type { AdminOptions, LabelRules } from './ports.ts'
import { labelMembers, labelName, labelValue, show, subject } from './resources-labels.ts'
import { kindExpected, rulesOf } from './resources-place.ts'

/** Records that one call looks at, about. */
const mostLookedAt = 10_000
/** Milliseconds that one call looks for more. */
const longestLook = 2000
const [usualPage, longestPage] = [100, mostLabelsAtOnce]

const labelText = 'expected NAME=VALUE, such as team=red'
const query = z.strictObject({
  owner: subject.optional(),
  label: z
    .string()
    .transform((text, context) => {
      const at = text.indexOf('=')
      const [name, value] = [labelName.safeParse(text.slice(0, at)), labelValue.safeParse(text.slice(at + 1))]
      if (at > 0 && name.success && value.success) return [name.data, value.data] as const
      context.addIssue({ code: 'custom', message: labelText })
      return z.NEVER
    })
    .optional(),
  mark: z.enum(Object.keys(marks) as [keyof typeof marks]).optional(),
  limit: z.coerce.number().int().min(1).max(longestPage).default(usualPage),
  cursor: z.string().max(4096).optional(),
})
type Asked = z.output<typeof query>

/** `GET /v1/resources` and `GET /v1/resources/{resource}`: records of one owner, with a label, with a mark, or all. */
export function addList(app: Hono<AdminEnv>, options: AdminOptions): void {
  const list = async (c: Context<AdminEnv>, resource: string | undefined) => {
    if (resource !== undefined && !resourceKind.test(resource)) return problem(c, 400, 'bad_resource', kindExpected)
    const read = query.safeParse(c.req.query())
    if (!read.success) return problem(c, 400, 'bad_query', issuesText(read.error.issues))
    const asked = read.data
    const label = options.ownerLabel()
    const wanted = wantedOf(rulesOf(options), asked)
    const filter = filterOf(resource, wanted)
    const key = keyOf(resource, asked, label)
    const after = asked.cursor === undefined ? undefined : readCursor(asked.cursor, key)
    if (after === null) return problem(c, 400, 'bad_query', 'cursor: expected "next" of the page before, with the same filter')
    const { found, cursor } = await look(
      options.labels,
      filter,
      after,
      asked.limit,
      (labels) =>
        wanted.every(([name, value]) => labels.get(name) === value) && (asked.mark === undefined || labels.has(marks[asked.mark])),
    )
    return c.json({
      resources: found.map((each) => show(each.resource, each.id, label, each.labels)),
      // Fewer than were asked for, and yet not all: the look-ups of one call are bounded.
      short: cursor !== undefined && found.length < asked.limit,
      next: cursor === undefined ? null : writeCursor(cursor, key),
    })
  }
  app.get('/v1/resources', (c) => list(c, undefined))
  app.get('/v1/resources/:resource', (c) => list(c, c.req.param('resource')))
}

type Member = readonly [name: string, value: string]

const wantedOf = (rules: LabelRules, { owner, label: named }: Asked): readonly Member[] => [
  ...(owner === undefined ? [] : [[rules.owner, ownerLabelValue(owner)] as const]),
  ...(named ? [asStored(rules, named)] : []),
]

/** A label as it stands in records: an owner or a tenant that is no label value is a hash there. */
function asStored(rules: LabelRules, named: Member): Member {
  const members = labelMembers(rules, ...named)
  return typeof members === 'string' ? named : members[0]!
}

const filterOf = (resource: string | undefined, [member]: readonly Member[]): LabelFilter => ({ resource, member })

interface Found {
  readonly found: readonly StoredLabels[]
  /** undefined: that was all. */
  readonly cursor: string | undefined
}

/** Looks at pages of the store until enough was found, all was seen, or it was long enough. */
async function look(
  store: LabelStore,
  filter: LabelFilter,
  after: string | undefined,
  limit: number,
  is: (labels: Labels) => boolean,
): Promise<Found> {
  const begun = performance.now()
  const found: StoredLabels[] = []
  let cursor = after
  let step = limit
  for (let looked = 0; looked < mostLookedAt && performance.now() - begun < longestLook; ) {
    looked += step
    const page = await store.list(filter, step, cursor)
    const those = page.entries.filter(({ labels }) => is(labels))
    const room = limit - found.length
    // A page cannot be cut, as its cursor stands behind it. One that is too long is asked for anew, and shorter.
    if (those.length > room && step > room) {
      step = room
      continue
    }
    found.push(...those)
    cursor = page.cursor
    if (cursor === undefined || found.length >= limit) break
    // Where few are what is wanted, more are looked at in one go.
    step = those.length === 0 ? Math.min(step * 2, mostLabelsAtOnce) : Math.min(step, limit - found.length)
  }
  return { found, cursor }
}

/** What a cursor belongs to. */
const keyOf = (resource: string | undefined, { owner, label, mark }: Asked, ownerLabel: string): string =>
  createHash('sha256')
    .update(JSON.stringify([resource ?? null, owner ?? null, label ?? null, mark ?? null, ownerLabel]))
    .digest('base64url')
    .slice(0, 11)

const writeCursor = (cursor: string, key: string): string => `${key}${Buffer.from(cursor).toString('base64url')}`

/** null where it is no cursor of this list. */
const readCursor = (cursor: string, key: string): string | null =>
  cursor.startsWith(key) && /^[A-Za-z0-9_-]*$/.test(cursor) ? Buffer.from(cursor.slice(key.length), 'base64url').toString() : null
