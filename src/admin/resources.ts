import type { Hono } from 'hono'
import { z } from 'zod'
import { defaultIdPattern, type Labels, ownerLabelValue, resourceKind } from '../core/ownership.ts'
import { type AdminContext, type AdminEnv, problem } from './answers.ts'
import { demand } from './authenticate.ts'
import { readBody } from './body.ts'
import type { AdminOptions } from './ports.ts'
import { record } from './record.ts'

// A Kubernetes label: an optional DNS prefix and a name; values are what Kubernetes takes.
const labelName = z
  .string()
  .max(317)
  .regex(/^(?:[a-z0-9.-]{1,253}\/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, {
    error: 'expected label names such as example.com/owner',
  })
const labelValue = z
  .string()
  .max(1024)
  .refine((text) => text.isWellFormed(), { error: 'expected text in Unicode' })
/** Every check of the resource reads all of its labels, and keeps them near. */
const mostLabels = 64
const labelMap = z
  .record(labelName, labelValue)
  .refine((labels) => Object.keys(labels).length <= mostLabels, { error: `expected at most ${mostLabels} labels` })
// A lone surrogate has no UTF-8 of its own: two such subjects would have one hash.
const subject = z
  .string()
  .min(1)
  .max(1024)
  .refine((text) => text.isWellFormed(), { error: 'expected text in Unicode' })
const legalValue = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/
const hashed = /^sha256-[a-z2-7]{52}$/

/** `{ "owner": "<subject>" }`, `{ "labels": {…} }`, or the labels themselves. */
const putBody = z.union([
  z.strictObject({ owner: subject }).transform(({ owner }) => ({ owner, labels: undefined })),
  z.strictObject({ labels: labelMap }).transform(({ labels }) => ({ owner: undefined, labels })),
  labelMap
    .refine((labels) => !Object.hasOwn(labels, 'owner') && !Object.hasOwn(labels, 'labels'), {
      error: 'expected { "owner": "<subject>" }, { "labels": { … } }, or the labels themselves, where none is named owner or labels',
    })
    .transform((labels) => ({ owner: undefined, labels })),
])

/** Where the subject itself is kept, when its label holds a hash: an annotation of the same name. */
const annotationOf = (label: string): string => `annotation:${label}`

/** How a subject is written as an owner: its label, and the annotation where the label is a hash. */
function ownerLabels(label: string, owner: string): [name: string, value: string][] {
  const value = ownerLabelValue(owner)
  return value === owner
    ? [[label, value]]
    : [
        [label, value],
        [annotationOf(label), owner],
      ]
}

/** The subject that the labels name as owner; a hash where no annotation says more. */
const ownerOf = (label: string, labels: Labels): string | undefined => labels.get(annotationOf(label)) ?? labels.get(label)

function readLabels(label: string, given: Readonly<Record<string, string>>): Labels | string {
  const labels = new Map<string, string>()
  for (const [name, value] of Object.entries(given)) {
    if (name !== label) {
      if (!legalValue.test(value)) return `${name}: expected a label value, at most 63 letters, digits, "-", "_" and "."`
      labels.set(name, value)
    } else if (value === '' || hashed.test(value)) labels.set(name, value)
    // A subject that is no label value stands there as its hash, so that it is found again.
    else for (const [key, written] of ownerLabels(label, value)) labels.set(key, written)
  }
  return labels
}

function show(resource: string, id: string, label: string, all: Labels): object {
  const plain = [...all].filter(([name]) => !name.startsWith('annotation:'))
  const notes = [...all]
    .filter(([name]) => name.startsWith('annotation:'))
    .map(([name, value]) => [name.slice('annotation:'.length), value])
  const owner = ownerOf(label, all)
  return {
    resource,
    id,
    ...(owner === undefined || owner === '' ? {} : { owner }),
    labels: Object.fromEntries(plain),
    ...(notes.length > 0 ? { annotations: Object.fromEntries(notes) as object } : {}),
  }
}

/** The resource and id of the path, or the answer that refuses them. */
function named(c: AdminContext, options: AdminOptions): { resource: string; id: string } | Response {
  const [resource = '', id = ''] = [c.req.param('resource'), c.req.param('id')]
  if (!resourceKind.test(resource))
    return problem(c, 400, 'bad_resource', 'a resource kind is lower-case letters, digits and "-", beginning with a letter')
  const patterns = [defaultIdPattern, ...options.idPatterns(resource)]
  if (!patterns.some((pattern) => pattern.test(id)))
    return problem(c, 400, 'bad_id', 'the id does not match the pattern of this resource kind')
  return { resource, id }
}

/** The owner API: `PUT|GET|DELETE /v1/resources/{resource}/{id}/labels`. */
export function addResources(app: Hono<AdminEnv>, options: AdminOptions): void {
  const path = '/v1/resources/:resource/:id/labels'
  const { labels: store } = options
  app.use(path, demand('admin:owners:*'))

  app.get(path, async (c) => {
    const at = named(c, options)
    if (at instanceof Response) return at
    const found = await store.read(at.resource, at.id)
    if (!found) return problem(c, 404, 'unknown_resource', 'this resource has no labels')
    return c.json(show(at.resource, at.id, options.ownerLabel(), found.labels))
  })

  app.put(path, async (c) => {
    const at = named(c, options)
    if (at instanceof Response) return at
    const body = await readBody(c, putBody)
    if (body instanceof Response) return body
    const label = options.ownerLabel()
    const before = await store.read(at.resource, at.id)
    // An owner alone replaces only the owner; labels replace all.
    const kept = [...(before?.labels ?? [])].filter(([name]) => name !== label && name !== annotationOf(label))
    const after = body.labels ? readLabels(label, body.labels) : new Map([...kept, ...ownerLabels(label, body.owner)])
    if (typeof after === 'string') return problem(c, 400, 'bad_label', after)
    await store.write(at.resource, at.id, after)
    await changed(c, at, before && ownerOf(label, before.labels), ownerOf(label, after))
    return c.json(show(at.resource, at.id, label, after))
  })

  app.delete(path, async (c) => {
    const at = named(c, options)
    if (at instanceof Response) return at
    const before = await store.read(at.resource, at.id)
    if (!(await store.remove(at.resource, at.id))) return problem(c, 404, 'unknown_resource', 'this resource has no labels')
    await changed(c, at, before && ownerOf(options.ownerLabel(), before.labels), undefined)
    return c.body(null, 204)
  })

  const changed = (
    c: AdminContext,
    at: { resource: string; id: string },
    before: string | undefined,
    after: string | undefined,
  ): Promise<void> =>
    record(options, {
      type: 'owner_changed',
      outcome: 'success',
      actor: c.get('caller').name,
      target: `${at.resource}:${at.id}`,
      detail: { before: before ?? null, after: after ?? null },
    })
}
