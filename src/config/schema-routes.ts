import { z } from 'zod'
import { owner } from './schema-ownership.ts'
import { duration, name, some, text } from './values.ts'

const anyOrAll = (what: string) =>
  z
    .union([some(text()), z.strictObject({ all: some(text()) })])
    .optional()
    .describe(`${what}: a list means any of them, { all: […] } means all`)

const downstream = () =>
  z
    .strictObject({
      audience: text().describe('the `aud` of the token'),
      scope: z.array(text()).prefault([]).describe('never wider than what the principal has'),
      ttl: duration({ min: '1s', max: '300s' }).prefault('60s').describe('lifetime, at most 300s'),
      via: z.enum(['issuer', 'sts']).prefault('issuer').describe('issuer: minted in process; sts: by a token endpoint (RFC 8693)'),
      sts: text().optional().describe('name under `sts` (via: sts)'),
    })
    .optional()
    .describe('The token that the upstream gets in Authorization')

const hostExpected = 'expected a host name, or "*." and one, without a port'
const token = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/

/** One entry of `routes`. */
export const route = () =>
  z
    .strictObject({
      id: name().describe('unique; in every decision, log line and metric'),
      methods: some(
        z
          .string()
          .regex(/^[A-Z][A-Z-]*$/, { error: 'expected a method in upper case, such as GET', abort: true })
          .refine((method) => method !== 'TRACE' && method !== 'CONNECT', {
            error: 'TRACE and CONNECT are never routed: leave this method out',
          }),
      )
        .prefault(['GET'])
        .describe('absent: GET only; GET does not imply HEAD'),
      host: z
        .string()
        .max(253, { error: hostExpected })
        .regex(/^(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?$|^\[[0-9a-fA-F:.]+\]$/, { error: hostExpected })
        .refine((host) => !host.includes('..'), { error: hostExpected })
        .transform((host) => host.toLowerCase())
        .optional()
        .describe('exact, or *.suffix; absent: any host'),
      path: z.string().describe('template: /v1/sandboxes/{id}/**'),
      public: z.boolean().prefault(false).describe('true: nobody is asked for'),
      identity: some(text()).optional().describe('validators that may identify; absent: every one'),
      workload: some(text()).optional().describe('SPIFFE IDs, one of which the client certificate must hold; absent: any, or none'),
      roles: anyOrAll('roles demanded'),
      scopes: anyOrAll('scopes demanded, with {param} of the path'),
      when: condition().optional().describe('CEL: request, principal, workload, params, resource, now'),
      owner: owner(),
      binding: z.enum(['none', 'mtls', 'dpop']).prefault('none').describe('proof of possession that is demanded'),
      downstream: downstream(),
      claims: some(text()).optional().describe('claims handed on as <prefix>claim-<name>'),
      audit: z.enum(['none', 'denials', 'all']).optional().describe('absent: as audit.decisions says'),
      enforce: z.boolean().prefault(true).describe('false: 401 and 403 are recorded and let through, for adoption'),
      authorization: z.enum(['replace', 'keep']).prefault('replace').describe('keep: the upstream has a login of its own'),
      encoded_slash: z.boolean().prefault(false).describe('whether %2f may stand in a parameter'),
    })
    .describe('Host, methods and path, with what they demand')

/** A condition may have line breaks. */
const condition = () => z.string().min(1, { error: 'expected a CEL expression' })

/** Whether a text is a field name (RFC 9110, section 5.1). */
export const isHeaderName = (value: string): boolean => token.test(value)

export type RouteSettings = z.output<ReturnType<typeof route>>
