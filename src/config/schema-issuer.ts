import { z } from 'zod'
import { keyAlgorithms } from '../core/ports.ts'
import { duration, filePath, name, secret, some, text } from './values.ts'

const scopeName = () =>
  z
    .string()
    .regex(/^[\u0021\u0023-\u005b\u005d-\u007e]{1,256}$/, { error: 'expected a scope (RFC 6749, section 3.3), such as read:data:*' })

/** How a client of ours proves that it is the one (RFC 6749, section 2.3). */
const authentication = () =>
  z
    .strictObject({
      secret: secret().optional().describe('client secret, in the Authorization header or in the body'),
      private_key_jwt: z
        .strictObject({ jwks: filePath().describe('JWKS file with the public keys of the client') })
        .optional()
        .describe('RFC 7523, section 2.2'),
      mtls: z
        .strictObject({
          san_uri: text().optional().describe('URI in the certificate, such as a SPIFFE ID'),
          san_dns: text().optional().describe('DNS name in the certificate'),
          subject_dn: text().optional().describe('subject of the certificate (RFC 4514)'),
        })
        .refine((one) => Object.keys(one).length === 1, { error: 'expected exactly one of san_uri, san_dns and subject_dn' })
        .optional()
        .describe('RFC 8705, section 2.1; the issuer listener needs tls.mode mtls'),
    })
    .refine((auth) => Object.keys(auth).length === 1, { error: 'expected exactly one of secret, private_key_jwt and mtls' })

const exchange = () =>
  z.strictObject({
    audiences: some(text()).describe('what exchanged tokens may be for'),
    max_ttl: duration({ min: '1s', max: '24h' })
      .prefault('300s')
      .describe('longest life of an exchanged token; never beyond the subject token'),
    subjects_of: some(text())
      .optional()
      .describe('validators and federation rules whose subjects this client may act for; absent: every validator'),
    scopes: some(scopeName()).optional().describe('ceiling of scopes; absent: those of the subject token'),
    exchanged: z.boolean().prefault(false).describe('whether a token that was exchanged before may be exchanged again'),
  })

const client = () =>
  z.strictObject({
    id: name(),
    auth: authentication(),
    grants: some(z.enum(['client_credentials', 'token_exchange', 'refresh_token'])),
    roles: some(text()).optional().describe('of its own tokens (client_credentials)'),
    scopes: some(scopeName()).optional().describe('ceiling of scopes of its own tokens'),
    audiences: some(text()).optional().describe('what its own tokens may be for; the first where it asks for none'),
    ttl: duration({ min: '1s', max: '24h' }).prefault('300s').describe('life of its own tokens'),
    introspect: z.boolean().prefault(true).describe('whether it may ask about tokens at /introspect'),
    exchange: exchange().optional().describe('required with the grant token_exchange'),
  })

const federation = () =>
  z.strictObject({
    name: name(),
    issuer: text().optional().describe('`iss` of the tokens; absent: trust_domain and jwks must be there (JWT-SVID)'),
    trust_domain: text().optional().describe('SPIFFE: `sub` must be a SPIFFE ID of it'),
    audience: text().describe('`aud` that the tokens must have'),
    algorithms: some(z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'])).optional(),
    when: z.string().optional().describe('CEL on `claims`; absent: every token that verifies'),
    subject: text().describe('template of our subject: {name} is a claim, {a.b} a claim in one'),
    roles: some(text()).optional(),
    scopes: some(scopeName()).optional(),
    audiences: some(text()).optional().describe('what our tokens may be for; absent: the edge'),
    ttl: duration({ min: '1s', max: '24h' }).prefault('10m').describe('longest life of our token; never beyond theirs'),
    jwks: z
      .strictObject({
        uri: text().optional().describe('where the keys are; absent: by discovery'),
        file: filePath().optional().describe('JWKS file, such as a SPIFFE bundle'),
        ca: filePath().optional().describe('PEM file that the issuer is trusted by'),
        token: secret().optional().describe('bearer token for the key set'),
      })
      .optional(),
  })

/** `issuer` */
export const issuer = () =>
  z
    .strictObject({
      algorithm: z
        .enum(keyAlgorithms)
        .prefault('ES256')
        .describe('what tokens are signed with; after a change the first key of the new one is published before it signs'),
      algorithm_for: z
        .record(text(), z.enum(keyAlgorithms))
        .prefault({})
        .describe('audience → algorithm of its tokens, for upstreams that want another one'),
      keys: z
        .strictObject({
          rotate_every: duration({ min: '1m' }).prefault('30d'),
          publish_before: duration().prefault('15m').describe('a new key is published this long before it signs'),
          encryption_key: secret().optional().describe('32 bytes, base64 or hex; required where Redis holds the keys'),
          file: filePath().optional().describe('file of this host that holds the keys (mode 0600); absent: they are in state'),
        })
        .prefault({}),
      clients: z.array(client()).prefault([]).describe('who may ask at /token'),
      federation: z.array(federation()).prefault([]).describe('whose tokens are swapped for ours'),
    })
    .prefault({})
    .describe('How our own tokens are signed, and who gets them')

/** `broker` */
export const broker = () =>
  z
    .strictObject({
      enabled: z.boolean().prefault(false),
      trust_domain: z
        .string()
        .regex(/^[a-z0-9._-]{1,255}$/, { error: 'expected a SPIFFE trust domain: lower-case letters, digits, ".", "_" and "-"' })
        .prefault('agents.local')
        .describe("SPIFFE trust domain of the agents' ids"),
      audience: text().optional().describe("audience of agents' tokens; absent: that of the first postern validator"),
      default_ttl: duration({ min: '1s' }).prefault('300s').describe('life of a token that asks for none'),
      max_ttl: duration().prefault('86400s').describe('longer ones are clamped; 0s: no ceiling'),
      app_token_ttl: duration({ min: '1s' }).prefault('1800s'),
      idle_after: duration({ min: '1s' })
        .prefault('1h')
        .describe('an agent that was not heard of for so long, and whose last token has ended, has expired'),
      roles: some(text()).optional().describe("roles of agents' tokens at the edge"),
      seed_tokens: z
        .boolean()
        .prefault(false)
        .describe('for development alone: a launch token and an admin token are printed at the start; refused off loopback'),
    })
    .prefault({})
    .describe('The agent broker')

export type ClientSettings = z.output<ReturnType<typeof client>>
export type FederationSettings = z.output<ReturnType<typeof federation>>
export type BrokerSettings = z.output<ReturnType<typeof broker>>
