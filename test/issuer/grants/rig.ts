import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { openMemoryState } from '../../../src/adapters/memory-state.ts'
import { openRevocationList } from '../../../src/adapters/revocation-list.ts'
import type { AuditEvent } from '../../../src/core/audit-event.ts'
import { createNonces } from '../../../src/core/dpop-nonce.ts'
import type { TokenOrder } from '../../../src/core/issuer.ts'
import type { Client } from '../../../src/core/issuer-client.ts'
import type { JsonObject } from '../../../src/core/json.ts'
import { pageAudience, pageType } from '../../../src/core/management-plane.ts'
import { type Revocation, type State, Unavailable } from '../../../src/core/ports.ts'
import { type RecordKind, recordKinds } from '../../../src/core/record-store.ts'
import { oidcByPostern } from '../../../src/identity/oidc-postern.ts'
import { type Families, families } from '../../../src/issuer/grants/families.ts'
import { createGrants } from '../../../src/issuer/grants/grants.ts'
import { ownSubjects } from '../../../src/issuer/grants/own-subject.ts'
import type { EdgeAudience, GrantPolicy, Revoked } from '../../../src/issuer/grants/policy.ts'
import { validatorSubjects } from '../../../src/issuer/grants/validator-subject.ts'
import type { GrantAnswer, GrantRequest, Grants } from '../../../src/issuer/grants.ts'
import { issuing } from '../../../src/issuer/issuance.ts'
import { type KeyRing, openKeyRing } from '../../../src/issuer/key-ring.ts'
import { createMint, type Mint } from '../../../src/issuer/mint.ts'
import { ownTokens } from '../../../src/issuer/own-token.ts'
import type { SubjectVerifier } from '../../../src/issuer/subject-token.ts'
import { ec, rsa, signToken } from '../../identity/tokens.ts'

export { type RecordKind, recordKinds }

/** Seconds since the epoch: when every case happens. */
export const t = 1_800_000_000
export const issuer = 'https://sts.example'
export const tokenUrl = `${issuer}/token`
export const usersIssuer = 'https://idp.example/realms/main'
export const othersIssuer = 'https://other.example'
export const githubIssuer = 'https://ci.example'

const accessToken = 'urn:ietf:params:oauth:token-type:access_token'
export const typeUri = { access_token: accessToken, jwt: 'urn:ietf:params:oauth:token-type:jwt' }

/** Where a token comes from. */
export type Source =
  | 'users'
  | 'others'
  | 'github'
  | 'rogue'
  | 'edge'
  | 'far-edge'
  | 'upstream'
  | 'admin'
  | 'page'
  | 'app'
  | 'refresh'
  | 'garbage'

/** A token as a case describes it: claims over the usual ones, `null` takes one away. */
export interface TokenSpec {
  readonly from: Source
  readonly claims?: Readonly<Record<string, unknown>>
  readonly header?: Readonly<Record<string, unknown>>
  /** Signed by somebody else, under the issuer's name. */
  readonly forged?: boolean
}

/** A DPoP proof as a case describes it. */
export interface ProofSpec {
  readonly key: 'a' | 'b'
  readonly claims?: Readonly<Record<string, unknown>>
  readonly header?: Readonly<Record<string, unknown>>
  /** `a` nonce of the policy, where it wants one. */
  readonly nonce?: boolean
}

const proofKeys = { a: generateKeyPairSync('ec', { namedCurve: 'P-256' }), b: generateKeyPairSync('ec', { namedCurve: 'P-256' }) }
const forger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const others = generateKeyPairSync('ec', { namedCurve: 'P-256' })

const publicJwk = (key: KeyObject): Record<string, string> => key.export({ format: 'jwk' }) as Record<string, string>
/** RFC 7638. */
export const thumbprint = (name: 'a' | 'b'): string => {
  const { crv, kty, x, y } = publicJwk(proofKeys[name].publicKey)
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
}
export const certificates = { mine: 'C'.repeat(43), other: 'D'.repeat(43) }

const clean = (claims: Readonly<Record<string, unknown>>): JsonObject =>
  Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== null && value !== undefined)) as JsonObject

let counter = 0

/** Everything behind the token endpoint, with memory for state and a clock that stands still. */
export interface Rig {
  readonly grants: Grants
  readonly mint: Mint
  readonly ring: KeyRing
  readonly state: State
  readonly families: Families
  readonly revoke: (level: Revocation['level'], target: string, at?: number) => Promise<void>
  readonly token: (spec: TokenSpec) => string
  readonly proof: (spec: ProofSpec, nonce?: string) => string
  readonly verify: ReturnType<typeof ownTokens>
  readonly ask: (grant: keyof Grants, client: Client, params: Params, extra?: Extra) => Promise<GrantAnswer>
  readonly events: () => Promise<readonly AuditEvent[]>
  readonly nonce: () => string
  readonly close: () => Promise<void>
}

export type Params = Readonly<Record<string, string | readonly string[]>>
export interface Extra {
  readonly dpop?: string | undefined
  readonly certificate?: string | undefined
  /** Seconds from {@link t}. */
  readonly at?: number
}

export interface RigOptions {
  readonly nonces?: boolean
  readonly clients?: readonly string[]
  /** Seconds from {@link t}: what our clock is off. */
  readonly mayAssert?: readonly string[]
  readonly edgeNamespace?: string
  readonly userNamespace?: string
  readonly revocationsUnavailable?: boolean
  readonly keysUnavailable?: boolean
  /** Whether refusals are written. */
  readonly admits?: (client: string) => number | undefined
  readonly state?: State
}

export async function openRig(options: RigOptions = {}): Promise<Rig> {
  const now = t * 1000
  const state = options.state ?? (await openMemoryState({ realm: 'default' }))
  const ring = await openKeyRing({
    store: state.keys,
    feed: state.feed,
    publishBeforeMs: 900_000,
    rotateEveryMs: 1e10,
    keepForMs: 1e10,
    clock: () => now,
  })
  const list = await openRevocationList({ store: state.revocations, feed: state.feed, maxStalenessMs: 5000 })
  const mint = createMint({ issuer, signer: ring, adminAudience: 'postern-admin' })
  const verify = ownTokens({ issuer, keys: ring })
  let ids = 0
  const record = (act: Omit<AuditEvent, 'id' | 'time' | 'realm'>) =>
    state.audit.commit({ id: `id-${++ids}`, time: new Date(now + ids).toISOString(), realm: 'default', ...act })
  const revoked: Revoked = (whom, at) => {
    const answer = options.revocationsUnavailable ? 'unavailable' : list.check(whom, at)
    if (answer === 'unavailable') throw new Unavailable('too late')
    return answer === 'revoked'
  }
  const edges = new Map<string, EdgeAudience>([
    [
      'postern',
      { validator: 'agents', namespace: options.edgeNamespace ?? 'agent:', mayAssert: options.mayAssert && new Set(options.mayAssert) },
    ],
    ['far', { validator: 'far', namespace: 'far:', mayAssert: undefined }],
  ])
  const clients = new Set(options.clients ?? ['router', 'sdk', 'runner'])
  const stands: GrantPolicy['stands'] = (token) => token.task !== 'gone' && (token.client === undefined || clients.has(token.client))
  const jwtRules = { algorithms: ['ES256', 'RS256'] as const, mayAssert: undefined }
  const names = { subject: 'sub', roles: 'realm_access.roles', role: undefined, scopes: 'scope', endUser: undefined }
  const validator = (name: string, iss: string, namespace: string, key: KeyObject) =>
    oidcByPostern({
      ...jwtRules,
      validator: name,
      issuer: iss,
      audiences: ['gateway'],
      names,
      namespace,
      keys: { find: () => (options.keysUnavailable ? { kind: 'unavailable', detail: 'no keys yet' } : { kind: 'key', key }) },
    })
  const policy: GrantPolicy = {
    edges,
    verifiers: [
      validatorSubjects(validator('users', usersIssuer, options.userNamespace ?? '', ec.publicKey), revoked),
      validatorSubjects(validator('others', othersIssuer, 'other:', others.publicKey), revoked),
      ownSubjects({ issuer, verify, revoked, edges, stands }),
      github,
    ],
    swaps: [github],
    proofs: {
      algorithms: ['ES256'],
      maxAgeMs: 60_000,
      nonces: options.nonces ? () => createNonces(Buffer.alloc(32, 7), 'default', 60_000) : undefined,
    },
    reserved: (subject) => clients.has(subject) || subject.startsWith('spiffe://agents.local/agent/'),
    stands,
    trusts: ({ name }) => name !== 'gone',
  }
  const kept = families({ records: state.records, revoke: list.revoke })
  const grants = createGrants({
    issuer,
    policy: () => policy,
    issue: issuing({ mint, records: state.records, record, onIssued: () => {} }),
    revoked,
    revoke: list.revoke,
    replays: state.replays,
    trail: { record, admits: options.admits ?? (() => 0) },
    verify,
    families: kept,
  })

  const ownToken = (kind: TokenOrder['kind'], audience: string, { claims = {} }: TokenSpec): string => {
    const payload = clean({
      iss: issuer,
      sub: 'spiffe://agents.local/agent/o/t/1',
      aud: audience,
      iat: t - 60,
      exp: t + 3600,
      jti: `own-${++counter}`,
      ...claims,
    })
    return ring.sign(payload, { edge: 'at+jwt', upstream: 'JWT', app: 'postern-app+jwt', refresh: 'postern-refresh+jwt' }[kind])
  }
  const foreign = (iss: string, key: KeyObject, { claims = {}, header = {}, forged }: TokenSpec): string =>
    signToken(
      clean({ alg: 'ES256', typ: 'JWT', kid: 'k1', ...header }),
      clean({ iss, sub: 'u1', aud: 'gateway', iat: t - 60, exp: t + 3600, jti: `jti-${++counter}`, ...claims }),
      forged ? forger.privateKey : key,
    )

  return {
    grants,
    mint,
    ring,
    state,
    families: kept,
    verify,
    revoke: (level, target, at = t) => list.revoke({ level, target, at, until: t + 90_000 }),
    token: (spec) => {
      switch (spec.from) {
        case 'users':
          return foreign(usersIssuer, ec.privateKey, spec)
        case 'others':
          return foreign(othersIssuer, others.privateKey, spec)
        case 'github':
          return foreign(githubIssuer, ec.privateKey, { ...spec, claims: { aud: 'sts', ...spec.claims } })
        case 'rogue':
          return foreign('https://rogue.example', forger.privateKey, spec)
        case 'edge':
          return ownToken('edge', 'postern', spec)
        case 'far-edge':
          return ownToken('edge', 'far', spec)
        case 'upstream':
          return ownToken('upstream', 'runner', spec)
        case 'app':
          return ownToken('app', issuer, spec)
        case 'refresh':
          return ownToken('refresh', issuer, spec)
        case 'admin':
          return mint.admin('admin', now).token
        case 'page':
          return ring.sign({ iss: issuer, sub: 'operator', aud: pageAudience, iat: t, exp: t + 60, jti: `page-${++counter}` }, pageType)
        case 'garbage':
          return 'not.a.token'
      }
    },
    proof: ({ key, claims = {}, header = {} }, nonce) =>
      signToken(
        clean({ typ: 'dpop+jwt', alg: 'ES256', jwk: publicJwk(proofKeys[key].publicKey), ...header }),
        clean({ htm: 'POST', htu: tokenUrl, iat: t, jti: `proof-${++counter}`, ...(nonce !== undefined && { nonce }), ...claims }),
        proofKeys[key].privateKey,
      ),
    nonce: () => createNonces(Buffer.alloc(32, 7), 'default', 60_000).current(now),
    ask: async (grant, client, params, { dpop, certificate, at = 0 } = {}) => {
      const request: GrantRequest = {
        client,
        params: new Map(Object.entries(params)),
        proof: { dpop, certificate, url: tokenUrl },
        remoteAddress: '192.0.2.7',
        now: now + at * 1000,
      }
      return await grants[grant](request)
    },
    events: async () => (await state.audit.tail(100)) as readonly AuditEvent[],
    close: async () => {
      ring.close()
      list.close()
      if (!options.state) await state.close()
    },
  }
}

/** Stands for federation: whoever has a token of the CI system is its repository. */
const github: SubjectVerifier = (token, now) => {
  const payload = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString() || '{}') as JsonObject
  if (payload['iss'] !== githubIssuer) return { kind: 'unknown' }
  if (payload['repository'] === undefined) return { kind: 'refused', detail: 'no repository' }
  if ((payload['exp'] as number) <= now / 1000) return { kind: 'refused', detail: 'expired' }
  return {
    kind: 'subject',
    subject: {
      by: { kind: 'federation', name: 'ci' },
      subject: `github:${String(payload['repository'])}`,
      roles: ['deployer'],
      scopes: ['deploy:app:*'],
      claims: payload,
      actor: undefined,
      confirmation: undefined,
      expiresAt: payload['exp'] as number,
      client: undefined,
      task: undefined,
      orchestration: undefined,
      exchanged: false,
      grants: { audiences: ['postern', 'registry'], ttl: 600 },
    },
  }
}

/** A client of tests: whatever is not said is nothing. */
export const clientOf = (said: Readonly<Record<string, unknown>>): Client => {
  const exchange = said['exchange'] as Record<string, unknown> | null | undefined
  return {
    id: 'router',
    authentication: { kind: 'secret', matches: () => true },
    grants: ['token_exchange'],
    roles: [],
    scopes: [],
    audiences: [],
    ttl: 300,
    introspects: true,
    ...said,
    exchange: exchange
      ? {
          audiences: ['picod'],
          maxTtl: 300,
          scopes: undefined,
          exchanged: false,
          ...exchange,
          subjectsOf: exchange['subjectsOf'] ? new Set(exchange['subjectsOf'] as string[]) : undefined,
        }
      : undefined,
  } as Client
}

export { rsa }
