import { z } from 'zod'
import { signatureAlgorithms } from '../core/jws.ts'
import { duration, name, oneOrMore, secret, some, text } from './values.ts'

/** As they are registered for JWS; EdDSA stands for Ed25519, which has a name of its own since RFC 9864. */
const jwtAlgorithms = () => z.enum(signatureAlgorithms).exclude(['Ed25519'])

const common = { name: name().describe('unique; logs, `identity` lists of routes and `subjects_of` refer to it') }
const namespace = {
  subject_namespace: z
    .string()
    .regex(/^[\u0021-\u007e]*$/, { error: 'expected visible ASCII characters, or "" for none' })
    .optional()
    .describe('put before each subject; required of each where owner routes meet several subject-giving validators ("" for exactly one)'),
}
const bounded = { may_assert: z.array(text()).optional().describe('the only roles that this validator can give; absent: any') }

const oidc = () =>
  z.strictObject({
    ...common,
    type: z.literal('oidc').describe('a JWT of an issuer, verified by Envoy or here'),
    issuer: text().describe('the `iss` of tokens: https, or http on loopback; {realm} is filled in'),
    audience: oneOrMore().describe('one of these must be among the `aud` of a token'),
    verified_by: z
      .enum(['envoy', 'postern'])
      .prefault('postern')
      .describe("envoy: trust what Envoy's jwt_authn verified; postern: verify here"),
    metadata_key: text().optional().describe("payload_in_metadata of Envoy's jwt_authn provider; the validator's name where absent"),
    algorithms: some(jwtAlgorithms()).prefault(['RS256', 'ES256', 'EdDSA']).describe('signature algorithms'),
    claims: z
      .strictObject({
        subject: text().prefault('sub'),
        roles: text().optional().describe('dotted name of a claim that is a list of strings'),
        role: text().optional().describe('dotted name of a claim that is a single role'),
        scopes: text().prefault('scope').describe('a text with spaces, or a list'),
        end_user: text().optional(),
      })
      .transform((claims) => (claims.roles === undefined && claims.role === undefined ? { ...claims, roles: 'roles' } : claims))
      .prefault({})
      .describe('which claims hold what; roles are read from `roles` where neither roles nor role is given'),
    ...namespace,
    forward: z.boolean().prefault(false).describe("whether Envoy's provider forwards the token (verified_by: envoy); via: sts needs true"),
    ...bounded,
    jwks: z
      .strictObject({
        refresh: duration({ min: '1m' }).prefault('6h').describe('keys are fetched again after'),
        stale_for: duration().prefault('24h').describe('while the issuer is unreachable, keys stay in use for'),
        timeout: duration({ min: '10ms', max: '60s' }).prefault('2s'),
      })
      .prefault({})
      .describe("the issuer's keys (verified_by: postern)"),
  })

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
export type OidcSettings = z.output<ReturnType<typeof oidc>>
export type MtlsSettings = z.output<ReturnType<typeof mtls>>
