import type { Policy } from '../core/policy.ts'
import { compilePolicy } from './compile.ts'
import { wholeSchema } from './draft.ts'

/** The policy of a request that is for no realm: it has no routes, and all else is as where nothing is said. */
export function policyOfNowhere(): Policy {
  const settings = wholeSchema.parse({ version: 1, listen: { check: { address: 'unix:/nowhere' } }, identity: [], routes: [] })
  return { ...compilePolicy(settings, [], ''), realm: '' }
}
