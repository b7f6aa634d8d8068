import { z } from 'zod'
import { signatureAlgorithms } from '../core/jws.ts'
import { bounded, common, namespace } from './schema-validator.ts'
import { duration, oneOrMore, some, text } from './values.ts'

/** As they are registered for JWS; EdDSA stands for Ed25519, which has a name of its own since RFC 9864. */
const jwtAlgorithms = () => z.enum(signatureAlgorithms).exclude(['Ed25519'])

/** An `oidc` entry of `identity`. */
export const oidc = () =>
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

export type OidcSettings = z.output<ReturnType<typeof oidc>>
