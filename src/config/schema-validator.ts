import { z } from 'zod'
import { name, text } from './values.ts'

/** What every entry of `identity` has. */
export const common = { name: name().describe('unique; logs, `identity` lists of routes and `subjects_of` refer to it') }
export const namespace = {
  subject_namespace: z
    .string()
    .regex(/^[\u0021-\u007e]*$/, { error: 'expected visible ASCII characters, or "" for none' })
    .optional()
    .describe('put before each subject; required of each where owner routes meet several subject-giving validators ("" for exactly one)'),
}
export const bounded = { may_assert: z.array(text()).optional().describe('the only roles that this validator can give; absent: any') }
