import { z } from 'zod'
import { oidc } from './schema-oidc.ts'
import { bounded, common, namespace, places } from './schema-validator.ts'
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
    from: places(),
    audience: text().prefault('postern').describe('never a downstream or admin audience'),
    ...namespace,
    ...bounded,
  })

const apiKeys = () =>
  z.strictObject({
    ...common,
    type: z.literal('api-keys').describe('keys made by `postern api-key create` or the admin API'),
    default_role: text().optional().describe('role of a key that was made without one'),
    from: places(['authorization', 'x-api-key']),
    ...namespace,
    ...bounded,
  })

const sharedToken = () =>
  z.strictObject({
    ...common,
    type: z.literal('shared-token').describe('one secret that several callers share; while it is rotated, two'),
    secret: secret().describe('a line each of two tokens while rotating; a file is read again within 30 s'),
    from: places(),
    role: text().optional().describe('what its callers may do; none where absent'),
    trust_end_user_header: z.boolean().prefault(false).describe('true: the caller may name an end user, who becomes the principal'),
    end_user_header: text().prefault('x-end-user').describe('removed before the upstream in any case'),
    ...namespace,
    ...bounded,
  })

const edgeTrust = () =>
  z.strictObject({
    ...common,
    type: z.literal('edge-trust').describe('claim headers of an edge that verified the token'),
    from: some(text()).optional().describe('SPIFFE IDs of the edge; one of from and proof is needed'),
    proof: z
      .strictObject({
        header: text().describe('its name; it is removed before the upstream in any case'),
        secret: secret().describe('at least 32 visible ASCII characters'),
      })
      .optional()
      .describe('a header with a secret that only the edge knows, for one without mTLS'),
    headers: z
      .strictObject({
        subject: text().prefault('x-user-id').describe('x-forwarded-client-cert: the SPIFFE ID of the client of the edge'),
        role: text()
          .prefault('x-user-roles')
          .describe('one role, several joined with commas, or a JSON list in base64, as Envoy writes one'),
        end_user: text().prefault('x-user-id').describe('the end user, where it is not the subject'),
        email: text().prefault('x-user-email').describe('becomes the claim email'),
      })
      .prefault({})
      .describe("as Istio's outputClaimToHeaders is usually laid out"),
    claims_from_headers: z.record(z.string(), text().describe('name of the claim')).prefault({}).describe('header → claim'),
    ...namespace,
    ...bounded,
  })

const basic = () =>
  z.strictObject({
    ...common,
    type: z.literal('basic').describe('Authorization: Basic, whose password is a credential for the validators above it'),
  })

/** One entry of `identity`. */
export const validator = () =>
  z
    .discriminatedUnion('type', [oidc(), mtls(), postern(), apiKeys(), sharedToken(), edgeTrust(), basic()])
    .describe('One way to turn a credential into a principal')

export type EdgeTrustSettings = z.output<ReturnType<typeof edgeTrust>>
export type SharedTokenSettings = z.output<ReturnType<typeof sharedToken>>
export type ValidatorSettings = z.output<ReturnType<typeof validator>>
export type MtlsSettings = z.output<ReturnType<typeof mtls>>
