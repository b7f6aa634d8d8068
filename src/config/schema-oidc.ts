import { z } from 'zod'
import { signatureAlgorithms } from '../core/jws.ts'
import { type ClaimDefaults, generic, providerNames, providers } from './providers.ts'
import { clientAuth } from './schema-client-auth.ts'
import { bounded, common, namespace, places } from './schema-validator.ts'
import { duration, filePath, oneOrMore, secret, some, text } from './values.ts'

/** As they are registered for JWS; EdDSA stands for Ed25519, which has a name of its own since RFC 9864. */
const jwtAlgorithms = () => z.enum(signatureAlgorithms).exclude(['Ed25519'])

/** Where a claim stands: a name, names joined by dots, or a JSON pointer (RFC 6901) for names that hold dots themselves. */
const claimPath = () =>
  text().refine((path) => !path.startsWith('/') || !/~(?![01])/.test(path), {
    error: 'expected a claim name, names joined by dots, or a JSON pointer, in which "~" is written ~0 and "/" ~1',
  })

const introspection = () =>
  z
    .strictObject({
      client_id: text().describe("Postern's client id at the endpoint"),
      auth: clientAuth(),
      endpoint: text().optional().describe('https, or http on loopback; from discovery where absent; {realm} is filled in'),
      tokens: z
        .enum(['opaque', 'all'])
        .prefault('opaque')
        .describe(
          'opaque: only tokens that are no JWT are asked about; all: JWTs of this issuer too, once their signature is verified here',
        ),
      cache: z
        .strictObject({
          ttl: duration({ max: '1h' }).prefault('30s').describe('an answer is used for, and never past exp: so late a revocation shows'),
          negative_ttl: duration({ max: '1h' }).prefault('5s').describe('how long it is remembered that a token is not active'),
          size: z.int().min(1).max(1_000_000).prefault(10_000).describe('tokens whose answers are kept'),
        })
        .prefault({}),
      timeout: duration({ min: '10ms', max: '60s' }).prefault('1s').describe('of one call'),
      max_in_flight: z.int().min(1).max(1024).prefault(64).describe('questions at a time; what is beyond is identity_unavailable'),
    })
    .describe('asks the issuer about opaque tokens (RFC 7662)')

const settings = () =>
  z.strictObject({
    ...common,
    type: z.literal('oidc').describe('a JWT of an issuer, verified by Envoy or here; an opaque token, by introspection'),
    issuer: text().describe('the `iss` of tokens: https, or http on loopback; {realm} is filled in'),
    provider: z
      .enum(providerNames)
      .optional()
      .describe('what makes the tokens: gives the defaults of claims, algorithms and types, and what lint expects of the issuer'),
    from: places(),
    audience: oneOrMore().describe('one of these must be among the `aud` of a token'),
    authorized_parties: some(text())
      .optional()
      .describe('the only clients whose tokens are admitted: azp or client_id names one of them (Okta: cid, Azure: azp or appid)'),
    verified_by: z
      .enum(['envoy', 'postern'])
      .prefault('postern')
      .describe("envoy: trust what Envoy's jwt_authn verified; postern: verify here"),
    metadata_key: text().optional().describe("payload_in_metadata of Envoy's jwt_authn provider; the validator's name where absent"),
    algorithms: some(jwtAlgorithms())
      .optional()
      .describe('signature algorithms; RS256, ES256 and EdDSA where neither they nor a provider is given'),
    types: some(text().toLowerCase())
      .optional()
      .describe('accepted typ headers, "none" for a token without; none, jwt and at+jwt where neither they nor a provider is given'),
    claims: z
      .strictObject({
        subject: claimPath().optional().describe('claim that names the subject; sub unless the provider has another'),
        roles: claimPath().optional().describe('claim that is a list of strings; roles where neither it, role nor a provider is given'),
        role: claimPath().optional().describe('claim that is a single role'),
        scopes: claimPath().optional().describe('a text with spaces, or a list; scope unless the provider has another'),
        end_user: claimPath().optional().describe('claim that names the end user'),
      })
      .prefault({})
      .describe('which claims hold what: a name, names joined by dots, or a JSON pointer such as /kubernetes.io/namespace'),
    ...namespace,
    forward: z.boolean().prefault(false).describe("whether Envoy's provider forwards the token (verified_by: envoy); via: sts needs true"),
    ...bounded,
    jwks: z
      .strictObject({
        refresh: duration({ min: '1m' }).prefault('6h').describe('keys are fetched again after'),
        stale_for: duration().prefault('24h').describe('while the issuer is unreachable, keys stay in use for'),
        timeout: duration({ min: '10ms', max: '60s' }).prefault('2s'),
        uri: text().optional().describe('of the key set, for an issuer without discovery; {realm} is filled in'),
        ca: filePath().optional().describe("PEM file with the authorities that the issuer is trusted by instead of the system's"),
        token: secret().optional().describe('bearer token that the issuer asks for at its discovery document, and at uri (Kubernetes)'),
      })
      .prefault({})
      .describe("the issuer's keys (verified_by: postern)"),
    introspection: introspection().optional(),
  })

/** An `oidc` entry of `identity`; what its provider gives is filled in. */
export const oidc = () =>
  settings().transform(({ algorithms, types, claims, ...entry }) => {
    const known = entry.provider === undefined ? generic : providers[entry.provider]
    const { roles, role, ...others } = known.claims
    const inherited: ClaimDefaults = claims.roles === undefined && claims.role === undefined ? known.claims : others
    return {
      ...entry,
      algorithms: algorithms ?? [...known.algorithms],
      types: types ?? [...known.types],
      claims: { ...inherited, ...claims } as ClaimDefaults,
    }
  })

export type OidcSettings = z.output<ReturnType<typeof oidc>>
export type IntrospectionSettings = NonNullable<OidcSettings['introspection']>
