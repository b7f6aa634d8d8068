/** Validators of the chain, in its order, and what each is in a policy. `@…@` are filled in. */
export const validators = {
  'management-plane': undefined,
  users:
    '{ name: users, type: oidc, issuer: "https://users.example", audience: [edge], verified_by: envoy, forward: true, subject_namespace: "" }',
  here: '{ name: here, type: oidc, issuer: "@here@", audience: [edge], verified_by: postern, subject_namespace: "here:" }',
  agents: '{ name: agents, type: postern, subject_namespace: "agent:" }',
  keys: '{ name: keys, type: api-keys, subject_namespace: "key:" }',
  partner: `{ name: partner, type: shared-token, secret: "\${file:@folder@/shared}", trust_end_user_header: true, subject_namespace: "partner:" }`,
  gateway: '{ name: gateway, type: edge-trust, from: ["spiffe://cluster.local/ns/edge/sa/gateway"], subject_namespace: "edge:" }',
  workloads: '{ name: workloads, type: mtls, trust_domain: cluster.local, subject_namespace: "workload:" }',
  passwords: '{ name: passwords, type: basic }',
} as const
export type ValidatorName = keyof typeof validators

export const states = ['valid', 'missing', 'malformed', 'expired', 'revoked', 'foreign'] as const
export type CredentialState = (typeof states)[number]

/**
 * What becomes of a request: `200` and the subject, a status and a reason, or `refused` where no connection comes about.
 * `alone`: the policy has this validator only (basic needs one above it). `all`: all validators, on a route that takes any.
 * `only`: on a route that names this one. `without`: on a route that names all others. What is not given is as `alone`.
 */
interface Cell {
  readonly validator: ValidatorName
  readonly state: CredentialState
  /** What is presented. */
  readonly what: string
  readonly alone: string
  readonly all?: string
  readonly only?: string
  readonly without: string
}

const no = '401 no_credential'
const nobody = '401 no_validator_admitted'
const invalid = '401 invalid_credential'
const expired = '401 expired_credential'
const revoked = '401 revoked'
const gateway = '200 workload:spiffe://cluster.local/ns/edge/sa/gateway'
const router = '200 workload:spiffe://cluster.local/ns/agents/sa/router'

/** With all others a bad token of one validator is nobody's: they abstain from it. */
export const cells: readonly Cell[] = [
  { validator: 'users', state: 'valid', what: 'a token that Envoy verified', alone: '200 alice', without: nobody },
  { validator: 'users', state: 'missing', what: 'nothing', alone: no, without: no },
  { validator: 'users', state: 'malformed', what: 'a token with another signature', alone: invalid, without: nobody },
  { validator: 'users', state: 'expired', what: 'a token of two minutes ago', alone: expired, without: nobody },
  { validator: 'users', state: 'revoked', what: 'a token whose id was revoked', alone: revoked, without: nobody },
  { validator: 'users', state: 'foreign', what: 'a token of a stranger', alone: nobody, without: nobody },

  { validator: 'here', state: 'valid', what: 'a token that Postern verifies', alone: '200 here:bob', without: nobody },
  { validator: 'here', state: 'missing', what: 'nothing', alone: no, without: no },
  { validator: 'here', state: 'malformed', what: 'a token with another signature', alone: invalid, without: nobody },
  { validator: 'here', state: 'expired', what: 'a token of two minutes ago', alone: expired, without: nobody },
  { validator: 'here', state: 'revoked', what: 'a token whose id was revoked', alone: revoked, without: nobody },
  { validator: 'here', state: 'foreign', what: "another validator's token", alone: nobody, all: '200 alice', without: '200 alice' },

  { validator: 'agents', state: 'valid', what: 'an edge token of ours', alone: '200 agent:agent-1', without: nobody },
  { validator: 'agents', state: 'missing', what: 'nothing', alone: no, without: no },
  { validator: 'agents', state: 'malformed', what: 'a token with another signature', alone: invalid, without: nobody },
  { validator: 'agents', state: 'expired', what: 'a token of two minutes ago', alone: expired, without: nobody },
  { validator: 'agents', state: 'revoked', what: 'a token whose id was revoked', alone: revoked, without: nobody },
  { validator: 'agents', state: 'foreign', what: 'an admin token of ours', alone: invalid, without: nobody },

  { validator: 'keys', state: 'valid', what: 'an API key', alone: '200 key:ci', without: nobody },
  { validator: 'keys', state: 'missing', what: 'nothing', alone: no, without: no },
  { validator: 'keys', state: 'malformed', what: 'a key with another last character', alone: invalid, without: nobody },
  { validator: 'keys', state: 'expired', what: 'a key that has ended', alone: expired, without: nobody },
  { validator: 'keys', state: 'revoked', what: 'a key that was revoked', alone: revoked, without: nobody },
  { validator: 'keys', state: 'foreign', what: 'a key that was made elsewhere', alone: invalid, without: nobody },

  { validator: 'partner', state: 'valid', what: 'the shared token', alone: '200 partner:partner', without: nobody },
  { validator: 'partner', state: 'missing', what: 'nothing', alone: no, without: no },
  { validator: 'partner', state: 'malformed', what: 'a part of it', alone: invalid, without: nobody },
  { validator: 'partner', state: 'expired', what: 'the token before it', alone: invalid, without: nobody },
  { validator: 'partner', state: 'revoked', what: 'it, for an end user who was revoked', alone: revoked, without: nobody },
  { validator: 'partner', state: 'foreign', what: "another validator's token", alone: nobody, all: '200 alice', without: '200 alice' },

  // Where only this one is left out, the postern validator takes a page token for a bad one of its issuer.
  { validator: 'management-plane', state: 'valid', what: 'a page token', alone: '200 operator:admin', without: invalid },
  { validator: 'management-plane', state: 'missing', what: 'nothing', alone: no, without: no },
  { validator: 'management-plane', state: 'malformed', what: 'a token with another signature', alone: invalid, without: invalid },
  { validator: 'management-plane', state: 'expired', what: 'a token of a minute ago', alone: expired, without: invalid },
  { validator: 'management-plane', state: 'revoked', what: 'a token whose id was revoked', alone: revoked, without: invalid },
  {
    ...{ validator: 'management-plane', state: 'foreign', what: 'an edge token of ours' },
    ...{ alone: nobody, all: '200 agent:agent-1', without: '200 agent:agent-1' },
  },

  // The edge's own certificate identifies it where mtls may: by its headers only where edge-trust is asked first.
  { validator: 'gateway', state: 'valid', what: "the edge's headers", alone: '200 edge:carol', without: gateway },
  { validator: 'gateway', state: 'missing', what: 'the edge without them', alone: no, all: gateway, only: no, without: gateway },
  { validator: 'gateway', state: 'malformed', what: 'two subjects', alone: invalid, without: gateway },
  { validator: 'gateway', state: 'expired', what: 'an edge whose certificate has ended', alone: 'refused', without: 'refused' },
  { validator: 'gateway', state: 'revoked', what: 'a person who was revoked', alone: revoked, without: gateway },
  { validator: 'gateway', state: 'foreign', what: "another workload's headers", alone: no, all: router, only: no, without: router },

  { validator: 'workloads', state: 'valid', what: 'a client certificate', alone: router, without: no },
  { validator: 'workloads', state: 'missing', what: 'none', alone: no, without: no },
  { validator: 'workloads', state: 'malformed', what: 'one without a SPIFFE ID', alone: no, without: no },
  { validator: 'workloads', state: 'expired', what: 'one that has ended', alone: 'refused', without: 'refused' },
  { validator: 'workloads', state: 'revoked', what: 'one of a workload that was revoked', alone: revoked, without: no },
  { validator: 'workloads', state: 'foreign', what: 'one of another trust domain', alone: no, without: no },

  { validator: 'passwords', state: 'valid', what: 'a good token as password', alone: '200 here:bob', without: nobody },
  { validator: 'passwords', state: 'missing', what: 'nothing', alone: no, without: no },
  { validator: 'passwords', state: 'malformed', what: 'no base64', alone: invalid, without: nobody },
  { validator: 'passwords', state: 'expired', what: 'a token of two minutes ago', alone: expired, without: nobody },
  { validator: 'passwords', state: 'revoked', what: 'a token whose id was revoked', alone: revoked, without: nobody },
  { validator: 'passwords', state: 'foreign', what: "a stranger's token", alone: nobody, without: nobody },
]

/** Whether passwords are taken: by no validator, by one among others, or by one that the route names. */
export type Passwords = 'no' | 'too' | 'alone'

/** `www-authenticate`, to the letter. */
export const challenges: Readonly<Record<Passwords, Readonly<Record<'nothing presented' | 'refused', string>>>> = {
  no: { 'nothing presented': 'Bearer realm="postern"', refused: 'Bearer realm="postern", error="invalid_token"' },
  too: {
    'nothing presented': 'Bearer realm="postern", Basic realm="postern", charset="UTF-8"',
    refused: 'Bearer realm="postern", error="invalid_token", Basic realm="postern", charset="UTF-8"',
  },
  alone: { 'nothing presented': 'Basic realm="postern", charset="UTF-8"', refused: 'Basic realm="postern", charset="UTF-8"' },
}
