import type { Hono } from 'hono'
import { z } from 'zod'
import { annotationOf, type Labels, marks, noLabels } from '../core/ownership.ts'
import { type AdminContext, type AdminEnv, problem } from './answers.ts'
import { demand } from './authenticate.ts'
import { readBody } from './body.ts'
import type { AdminOptions, LabelRules } from './ports.ts'
import { type Change, change, preconditionOf, tagOf } from './resources-change.ts'
import { addImport } from './resources-import.ts'
import {
  isOwner,
  labelMap,
  labelMembers,
  labelName,
  labelValue,
  mostLabels,
  readLabels,
  reason,
  show,
  subject,
  tooManyLabels,
  withOwner,
} from './resources-labels.ts'
import { addList } from './resources-list.ts'
import { ownerDocument } from './resources-openapi.ts'
import { type Place, placeOf, reasonOf, rulesOf } from './resources-place.ts'

/** `{ "owner": "<subject>" }`, `{ "labels": {…} }`, or the labels themselves. */
export const putBody = z.union([
  z.strictObject({ owner: subject, reason: reason.optional() }).transform(({ owner, reason }) => ({ owner, labels: undefined, reason })),
  z.strictObject({ labels: labelMap, reason: reason.optional() }).transform(({ labels, reason }) => ({ owner: undefined, labels, reason })),
  labelMap
    .refine((labels) => !['owner', 'labels', 'reason'].some((name) => Object.hasOwn(labels, name)), {
      error:
        'expected { "owner": "<subject>" }, { "labels": { … } }, or the labels themselves, where none is named owner, labels or reason',
    })
    .transform((labels) => ({ owner: undefined, labels, reason: undefined })),
])

const markNames = ['orphan', 'deleting', 'source'] as const
/** A merge patch (RFC 7396) of what GET answers; null takes away. */
export const patchBody = z
  .strictObject({
    owner: subject.nullable().optional(),
    labels: z.record(labelName, labelValue.nullable()).optional(),
    marks: z.partialRecord(z.enum(markNames), z.null()).optional(),
    reason: reason.optional(),
  })
  .refine(({ labels = {} }) => Object.keys(labels).length <= 2 * mostLabels, { error: `labels: at most ${2 * mostLabels} changes` })

export const transferBody = z.strictObject({ to: subject, from: subject.optional(), reason })

const unknown = (c: AdminContext) => problem(c, 404, 'unknown_resource', 'this resource has no labels')

/** The owner API: labels of one resource, transfer, lists, imports. */
export function addResources(app: Hono<AdminEnv>, options: AdminOptions): void {
  const path = '/v1/resources/:resource/:id/labels'
  const { labels: store } = options
  app.use('/v1/resources', demand('admin:owners:*'))
  app.use('/v1/resources/*', demand('admin:owners:*'))
  const answer = (c: AdminContext, at: Place, labels: Labels) =>
    c.json(show(at.resource, at.id, options.ownerLabel(), labels), 200, tagOf(labels))

  /** A call that changes a resource: which, and where its preconditions hold. */
  const changing =
    (then: (c: AdminContext, asked: Pick<Change, 'at' | 'precondition'>) => Promise<Response>) => async (c: AdminContext) => {
      const at = placeOf(c, options)
      if (at instanceof Response) return at
      const precondition = preconditionOf(c)
      return precondition instanceof Response ? precondition : then(c, { at, precondition })
    }

  app.get(path, async (c) => {
    const at = placeOf(c, options)
    if (at instanceof Response) return at
    const found = await store.read(at.resource, at.id)
    return found ? answer(c, at, found.labels) : unknown(c)
  })

  app.put(
    path,
    changing(async (c, asked) => {
      const body = await readBody(c, putBody)
      if (body instanceof Response) return body
      const rules = rulesOf(options)
      const given = body.labels && readLabels(rules, body.labels)
      if (typeof given === 'string') return problem(c, 400, 'bad_label', given)
      const next = (before: Labels | undefined) =>
        given ? withLabels(rules, before, given) : withOwner(rules.owner, before, body.owner ?? '')
      const after = await change(c, options, { ...asked, next, reason: body.reason })
      return after instanceof Response ? after : answer(c, asked.at, after)
    }),
  )

  app.patch(
    path,
    changing(async (c, asked) => {
      const body = await readBody(c, patchBody)
      if (body instanceof Response) return body
      const rules = rulesOf(options)
      const next = (before: Labels | undefined) => {
        const patched = patch(rules, before ?? noLabels, body)
        return typeof patched === 'string' ? problem(c, 400, 'bad_label', patched) : patched
      }
      const after = await change(c, options, { ...asked, next, reason: body.reason })
      return after instanceof Response ? after : answer(c, asked.at, after)
    }),
  )

  app.delete(
    path,
    changing(async (c, asked) => {
      const why = reasonOf(c)
      if (why instanceof Response) return why
      const next = (before: Labels | undefined) => (before ? noLabels : unknown(c))
      const after = await change(c, options, { ...asked, next, reason: why })
      return after instanceof Response ? after : c.body(null, 204)
    }),
  )

  app.post(
    '/v1/resources/:resource/:id/transfer',
    changing(async (c, asked) => {
      const body = await readBody(c, transferBody)
      if (body instanceof Response) return body
      const { to, from, reason } = body
      const label = options.ownerLabel()
      const next = (before: Labels | undefined) => {
        if (!before) return unknown(c)
        if (from !== undefined && !isOwner(label, before, from))
          return problem(c, 409, 'not_the_owner', 'the resource belongs to somebody else than "from" says')
        return withOwner(label, before, to)
      }
      const after = await change(c, options, { ...asked, next, reason })
      return after instanceof Response ? after : answer(c, asked.at, after)
    }),
  )

  addList(app, options)
  addImport(app, options)
  app.get('/v1/openapi.json', demand('admin:owners:*'), (c) => c.json(ownerDocument(rulesOf(options))))
  for (const [known, allow] of allowed) app.all(known, (c) => problem(c, 405, 'not_this_method', `expected ${allow}`, { allow }))
}

/** After all handlers: what is left there is another method. */
const allowed = [
  ['/v1/resources/:resource/:id/labels', 'GET, HEAD, PUT, PATCH, DELETE'],
  ['/v1/resources/:resource/:id/transfer', 'POST'],
  ['/v1/resources', 'GET, HEAD'],
  ['/v1/resources/:resource', 'GET, HEAD'],
  ['/v1/import/labels', 'POST'],
] as const

/** All labels replaced. Marks are no labels, and stay; with an owner an orphan is none any more. */
function withLabels({ owner }: LabelRules, before: Labels | undefined, given: Labels): Labels {
  const kept = [...(before ?? noLabels)].filter(([name]) => name.startsWith('mark:') && (name !== marks.orphan || !given.get(owner)))
  return new Map([...given, ...kept])
}

function patch(rules: LabelRules, before: Labels, { owner, labels = {}, marks: noted = {} }: z.output<typeof patchBody>): Labels | string {
  if (owner !== undefined && Object.hasOwn(labels, rules.owner)) return `expected owner or labels.${rules.owner}, not both`
  let after = new Map(before)
  // What holds the owner is written as an owner, by whichever name it came.
  const { [rules.owner]: named, ...others } = labels
  for (const [name, value] of Object.entries(others)) {
    after.delete(annotationOf(name))
    const members = value === null ? [] : labelMembers(rules, name, value)
    if (typeof members === 'string') return members
    if (value === null) after.delete(name)
    for (const [key, written] of members) after.set(key, written)
  }
  for (const name of Object.keys(noted)) after.delete(marks[name as keyof typeof marks])
  const who = owner !== undefined ? owner : named
  if (who === null) for (const name of [rules.owner, annotationOf(rules.owner)]) after.delete(name)
  else if (who !== undefined) {
    const members = labelMembers(rules, rules.owner, who)
    if (typeof members === 'string') return members
    if (who !== '') after = withOwner(rules.owner, after, who)
    // A hash, or nothing, stands as it was given.
    after.delete(annotationOf(rules.owner))
    for (const [key, written] of members) after.set(key, written)
  }
  return [...after.keys()].filter((name) => !name.includes(':')).length > mostLabels ? tooManyLabels : after
}
