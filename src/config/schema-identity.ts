import { z } from 'zod'
import { oidc } from './schema-oidc.ts'
import { bounded, common, namespace } from './schema-validator.ts'
import { secret, some, text } from './values.ts'

const mtls = () =>
  z.strictObject({
    ...common,
    type: z.literal('mtls').describe('a client certificate, by its SPIFFE ID'),
    trust_domain: text().describe('such as cluster.local'),
    roles: z.record(z.string(), z.array(text())).prefault({}).describe('SPIFFE ID → roles'),
    ...namespace,
    ...bounded,
  })

const postern = () =>
  z.strictObject({
    ...common,
    type: z.literal('postern').describe('tokens of our own issuer for its edge audience'),
    audience: text().prefault('postern').describe('never a downstream or admin audience'),
    ...namespace,
    ...bounded,
  })

const apiKeys = () =>
  z.strictObject({
    ...common,
    type: z.literal('api-keys'),
    default_role: text().optional(),
    from: some(z.enum(['authorization', 'x-api-key'])).optional(),
    ...namespace,
    ...bounded,
  })

const sharedToken = () =>
  z.strictObject({
    ...common,
    type: z.literal('shared-token'),
    secret: secret(),
    role: text().optional(),
    trust_end_user_header: z.boolean().optional(),
    end_user_header: text().optional(),
    ...namespace,
    ...bounded,
  })

const edgeTrust = () =>
  z.strictObject({
    ...common,
    type: z.literal('edge-trust'),
    from: some(text()).optional(),
    proof: z.strictObject({ header: text(), secret: secret() }).optional(),
    headers: z.strictObject({
      subject: text(),
      role: text().optional(),
      roles: text().optional(),
      end_user: text().optional(),
      email: text().optional(),
    }),
    claims_from_headers: z.record(z.string(), text()).optional(),
    ...namespace,
    ...bounded,
  })

const basic = () => z.strictObject({ ...common, type: z.literal('basic') })

/** One entry of `identity`. */
export const validator = () =>
  z
    .discriminatedUnion('type', [oidc(), mtls(), postern(), apiKeys(), sharedToken(), edgeTrust(), basic()])
    .describe('One way to turn a credential into a principal')

export type ValidatorSettings = z.output<ReturnType<typeof validator>>
export type MtlsSettings = z.output<ReturnType<typeof mtls>>
