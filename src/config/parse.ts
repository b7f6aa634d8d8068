import type { z } from 'zod'
import type { Path, Report, Step } from './faults.ts'
import { keysAt } from './zod-walk.ts'

type Issue = z.core.$ZodIssue
type Tree = Record<string | number, unknown>

/** Keys of one mapping that are told to be none: each is compared with those that are. */
const mostUnknown = 100

/**
 * Parses data by a schema, and tells every fault. Where there are some, the parts that are wrong are left out
 * and the rest is parsed again, so that what is said of the whole can still be checked in the same run.
 * @param data is changed: what is wrong is taken out
 * @param whole the schema that unknown keys are compared with
 * @returns undefined where nothing is left that fits
 */
export function parseTolerantly<S extends z.ZodType>(
  schema: S,
  data: unknown,
  base: Path,
  report: Report,
  whole: z.ZodType = schema,
): z.output<S> | undefined {
  const root: { value?: unknown } = { value: data }
  for (let round = 0; round < 8; round++) {
    const result = schema.safeParse(root.value, withoutMessage)
    if (result.success) return result.data
    const parts: Step[][] = []
    for (const issue of result.error.issues.flatMap((issue) => flatten(issue, root.value))) {
      // Later rounds find only what follows from leaving things out.
      if (round === 0) tell(whole, issue, root.value, base, report)
      for (const part of partsOf(root, issue)) parts.push(part)
    }
    for (const part of parts) remove(root, part)
    if (root.value === undefined) return undefined
  }
  return undefined
}

/** Of a union, the issues of the alternative that came closest. */
function flatten(issue: Issue, data: unknown): Issue[] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue]
  const value = valueAt(data, issue.path as Step[])
  const fits = issue.errors.filter(
    (errors) => !errors.some((error) => error.path.length === 0 && (error.code === 'invalid_type' || error.code === 'invalid_value')),
  )
  const [best] = fits.length > 0 ? fits : []
  if (!best) return [issue]
  return best
    .flatMap((error) => flatten({ ...error, path: [...issue.path, ...error.path] } as Issue, data))
    .map((error) => ({ ...error, input: value }) as Issue)
}

function valueAt(data: unknown, path: Path): unknown {
  let value = data
  for (const step of path) value = typeof value === 'object' && value !== null ? (value as Tree)[step] : undefined
  return value
}

function tell(schema: z.ZodType, issue: Issue, data: unknown, base: Path, report: Report): void {
  const path = issue.path as Step[]
  const value = valueAt(data, path)
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, path)
    for (const key of issue.keys.slice(0, mostUnknown)) report([...base, ...path, key], unknownKey(key, known), { at: 'key' })
    return
  }
  if (value === undefined && path.length > 0) {
    report([...base, ...path], `"${String(path.at(-1))}" is missing: expected ${wanted(issue)}`)
    return
  }
  if (issue.code === 'invalid_key') {
    report([...base, ...path], issue.issues[0]?.message || 'this key is not a name', { at: 'key' })
    return
  }
  report(
    [...base, ...path],
    issue.code === 'custom' || hasOwnMessage(issue) ? issue.message : `expected ${wanted(issue)}, found ${found(value)}`,
  )
}

const types: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping of settings',
  record: 'a mapping',
  null: 'null',
}

// Messages of the schema itself come first; where it has none, zod is told to leave the message empty.
const withoutMessage = { error: () => '' }
const hasOwnMessage = (issue: Issue): boolean => issue.message !== ''

function wanted(issue: Issue): string {
  if (hasOwnMessage(issue)) return issue.message.replace(/^expected /, '')
  if (issue.code === 'invalid_type') return types[issue.expected] ?? issue.expected
  if (issue.code === 'invalid_value')
    return `${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map((value) => JSON.stringify(value)).join(', ')}`
  if (issue.code === 'too_small') return `at least ${issue.minimum}${issue.origin === 'array' ? ' elements' : ''}`
  if (issue.code === 'too_big') return `at most ${issue.maximum}${issue.origin === 'string' ? ' characters' : ''}`
  if (issue.code === 'invalid_union') return unionWanted(issue)
  return 'another value'
}

function unionWanted(issue: Extract<Issue, { code: 'invalid_union' }>): string {
  const options = 'options' in issue && Array.isArray(issue.options) ? issue.options : []
  if (options.length > 0) return `one of ${options.map((option) => JSON.stringify(option)).join(', ')}`
  const each = issue.errors.map((errors) => errors[0]).filter((error): error is Issue => error !== undefined)
  return [...new Set(each.map(wanted))].join(' or ')
}

function found(value: unknown): string {
  if (value === null) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a mapping'
  if (typeof value === 'string') return value.length > 40 || value.includes('${') ? 'a text' : JSON.stringify(value)
  return String(value)
}

/** A sentence for a key that is none, with the nearest one that is. */
function unknownKey(key: string, known: readonly string[]): string {
  const near = known
    .map((name) => ({ name, distance: distance(name, key) }))
    .filter(({ name, distance }) => distance <= Math.max(1, Math.floor(name.length / 3)))
    .sort((a, b) => a.distance - b.distance)[0]
  const list = known.length > 0 && known.length <= 12 ? `: expected one of ${known.join(', ')}` : ''
  return `"${key}" is no setting here${near ? `: did you mean "${near.name}"?` : list}`
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]!
}

/** The parts that an issue is about: what stands in a list takes the list with it. */
function partsOf(root: { value?: unknown }, issue: Issue): Step[][] {
  const path: Step[] = ['value', ...(issue.path as Step[])]
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => [...path, key])
  // What is missing cannot be taken out: the mapping it is missing from is.
  while (path.length > 1 && valueAt(root, path) === undefined) path.pop()
  return [path]
}

function remove(root: { value?: unknown }, path: readonly Step[]): void {
  let at = path.length - 1
  while (at > 0 && typeof path[at] === 'number') at--
  const holder = valueAt(root, path.slice(0, at))
  if (typeof holder === 'object' && holder !== null) delete (holder as Tree)[path[at]!]
}
