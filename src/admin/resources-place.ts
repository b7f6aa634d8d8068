import { defaultIdPattern, resourceKind } from '../core/ownership.ts'
import { percentDecode } from '../core/percent.ts'
import { type AdminContext, problem } from './answers.ts'
import type { AdminOptions, LabelRules } from './ports.ts'
import { reason } from './resources-labels.ts'

/** A resource that a call is about. */
export interface Place {
  readonly resource: string
  readonly id: string
}

export const kindExpected = 'a resource kind is lower-case letters, digits and "-", beginning with a letter'
export const idExpected = 'the id does not match the pattern of this resource kind'

/** Whether an id is one of a kind: as usual, or as a route in force has it. */
export const isId = (options: Pick<AdminOptions, 'idPatterns'>, resource: string, id: string): boolean =>
  defaultIdPattern.test(id) || options.idPatterns(resource).some((pattern) => pattern.test(id))

/** The resource and id of the path, or the answer that refuses them. */
export function placeOf(c: AdminContext, options: AdminOptions): Place | Response {
  const [resource = '', id = ''] = [c.req.param('resource'), c.req.param('id')]
  if (!resourceKind.test(resource)) return problem(c, 400, 'bad_resource', kindExpected)
  return isId(options, resource, id) ? { resource, id } : problem(c, 400, 'bad_id', idExpected)
}

/** Names of the labels that decide, in the policy in force. */
export const rulesOf = (options: Pick<AdminOptions, 'ownerLabel' | 'labelRules'>): LabelRules => ({
  owner: options.ownerLabel(),
  ...options.labelRules?.(),
})

/** Why it is done, of a call whose body has no room for it: `x-postern-reason`, percent-encoded; or the answer that refuses it. */
export function reasonOf(c: AdminContext): string | undefined | Response {
  const sent = c.req.header('x-postern-reason')
  if (sent === undefined) return undefined
  const text = percentDecode(sent)
  if (text !== undefined && reason.safeParse(text).success) return text
  return problem(c, 400, 'bad_reason', 'x-postern-reason: expected at most 256 characters, percent-encoded where they are not ASCII')
}
