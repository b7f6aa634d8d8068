import { z } from 'zod'
import { issuesText } from '../core/http-body.ts'
import { annotationOf, marks, ownerLabelValue, resourceKind } from '../core/ownership.ts'
import type { StoredLabels } from '../core/ports.ts'
import type { AdminOptions, LabelRules } from './ports.ts'
import { isOwner, labelMap, labelName, labelValue, readLabels, subject } from './resources-labels.ts'
import { idExpected, isId, kindExpected } from './resources-place.ts'

const mark = z
  .string()
  .min(1)
  .max(512)
  .regex(/^\P{C}*$/u, { error: 'expected text without control characters' })

/** A line as it is sent; `revision` is what an export says beside, and is not looked at. */
export const lineSchema = z.strictObject({
  resource: z.string().regex(resourceKind, { error: kindExpected }),
  id: z.string(),
  owner: subject.optional(),
  labels: labelMap.optional(),
  annotations: z.record(labelName, labelValue.min(1)).optional(),
  marks: z.strictObject({ orphan: mark, deleting: mark, source: mark }).partial().optional(),
  revision: z.string().nullable().optional(),
})

/** A line that was read, with its number; or what was expected of it. */
export type Line =
  | { readonly line: number; readonly entry: StoredLabels }
  | { readonly line: number; readonly expected: string; readonly resource?: string; readonly id?: string }

/** Makes a record of a line. */
export function readLine(options: Pick<AdminOptions, 'idPatterns'>, rules: LabelRules, line: number, data: unknown): Line {
  const read = lineSchema.safeParse(data)
  if (!read.success) return { line, expected: issuesText(read.error.issues) }
  const { resource, id } = read.data
  if (!isId(options, resource, id)) return { line, resource, expected: `id: ${idExpected}` }
  const labels = recordOf(rules, read.data)
  return typeof labels === 'string' ? { line, resource, id, expected: labels } : { line, entry: { resource, id, labels } }
}

function recordOf(
  rules: LabelRules,
  { owner, labels, annotations = {}, marks: noted = {} }: z.output<typeof lineSchema>,
): Map<string, string> | string {
  if (owner === undefined && labels === undefined && Object.keys(noted).length === 0) return 'expected owner or labels'
  const given = readLabels(rules, labels ?? {})
  if (typeof given === 'string') return given
  if (owner !== undefined) {
    const label = given.get(rules.owner)
    if (label !== undefined && !isOwner(rules.owner, given, owner)) return `expected the same owner in owner and labels.${rules.owner}`
    const written = readLabels(rules, { [rules.owner]: owner })
    if (typeof written === 'string') return written
    for (const [name, value] of written) given.set(name, value)
  }
  for (const [name, value] of Object.entries(annotations)) {
    if (name === rules.shared) {
      // No Kubernetes label can hold such a list: the annotation of its name may, and then counts.
      const shared = readLabels(rules, { [name]: value })
      if (typeof shared === 'string') return shared
      given.set(annotationOf(name), value)
      continue
    }
    // An annotation says who a hash stands for; one that says another would be shown as the owner, and not be it.
    if (given.get(name) !== ownerLabelValue(value)) return `annotations.${name}: expected the subject whose form as a label is in labels`
    if (given.get(name) !== value) given.set(annotationOf(name), value)
  }
  for (const [name, value] of Object.entries(noted)) if (value !== undefined) given.set(marks[name as keyof typeof marks], value)
  return given.size === 0 ? 'expected at least one label' : given
}
