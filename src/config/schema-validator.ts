import { z } from 'zod'
import { name, some, text } from './values.ts'

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

const placeExpected =
  'expected authorization, x-api-key, header:NAME, cookie:NAME, query (the parameter access_token), or websocket (the subprotocol bearer.<token>)'

/** A place where a credential may stand; names of headers and cookies as RFC 9110, section 5.1, and RFC 6265, section 4.1.1, allow them. */
const place = () =>
  z.string().regex(/^(?:authorization|x-api-key|query|websocket|header:[A-Za-z0-9-]+|cookie:[A-Za-z0-9!#$%&'*+.^_`|~-]+)$/, {
    error: placeExpected,
  })

export type PlaceSetting = string

/** Where a validator looks for credentials. Each place but `Authorization` is off unless named, and is stripped before the upstream. */
export const places = (otherwise: string[] = ['authorization']) =>
  some(place())
    .prefault(otherwise)
    .describe('where credentials are looked for: authorization, x-api-key, header:NAME, cookie:NAME, query, websocket')
