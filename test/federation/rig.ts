import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { discoveryUrl } from '../../src/adapters/discovery.ts'
import type { Jwks } from '../../src/adapters/jwks.ts'
import { composeFederation } from '../../src/compose/federation.ts'
import { Pool } from '../../src/compose/pool.ts'
import { isSignatureAlgorithm } from '../../src/core/jws.ts'
import type { SubjectAnswer, SubjectVerifier } from '../../src/issuer/subject-token.ts'
import { json, type LocalServer, localServer } from '../adapters/local-server.ts'
import { load, policyFiles } from '../config/policy-files.ts'
import { encode, signToken } from '../identity/tokens.ts'

export type Members = Readonly<Record<string, unknown>>

/** A token as a provider makes it, and how the provider shows its key. */
export interface Recorded {
  readonly header: Members
  readonly payload: Members & { readonly iat: number; readonly iss?: string }
  /** Members of the key in its key set, beside the public ones. */
  readonly key: Members & { readonly kty: string }
  /** Further keys of the set. */
  readonly others: readonly (Members & { readonly kty: string })[]
}

export interface Provider {
  /** What stands for the host of the recording. */
  readonly url: string
  /** The key set as the provider shows it. */
  readonly keySet: { readonly keys: readonly Members[] }
  /** The recorded token, as if it had been made now: members of null are left out. */
  readonly token: (change?: {
    readonly claims?: Members | undefined
    readonly header?: Members | undefined
    readonly key?: KeyObject
  }) => string
  /** How the provider answers from now on: as it should, or not at all. */
  answers: boolean
  readonly stop: () => Promise<void>
}

type Pair = Readonly<Record<'publicKey' | 'privateKey', KeyObject>>

/** A new key of a type. */
export const keyPair = (kty: string): Pair =>
  kty === 'RSA'
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : kty === 'EC'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('ed25519')

/** Starts an issuer that has the discovery document and the key set of a recording, on a host of its own. */
export async function startProvider(recorded: Recorded, discovery: string): Promise<Provider> {
  const server: LocalServer = await localServer()
  const here = (text: string): string => text.replace(/https:\/\/[^/"]+/g, server.url)
  const own = keyPair(recorded.key.kty)
  const keySet = {
    keys: [
      ...recorded.others.map((members, i) => ({
        ...keyPair(members.kty).publicKey.export({ format: 'jwk' }),
        ...members,
        kid: `other-${i}`,
      })),
      { ...own.publicKey.export({ format: 'jwk' }), ...recorded.key, kid: 'own' },
    ],
  }
  const document = JSON.parse(here(discovery)) as { issuer: string; jwks_uri: string }
  const provider: Provider = {
    url: server.url,
    keySet,
    answers: true,
    token: ({ claims = {}, header = {}, key = own.privateKey } = {}) => {
      const { payload } = recorded
      const now = Math.floor(Date.now() / 1000)
      const shifted = Object.entries(payload).map(([claim, value]) => [claim, isTime(claim, value) ? value - payload.iat + now : value])
      const { iss } = payload
      const said = JSON.parse(JSON.stringify(claims).replaceAll('@issuer@', server.url)) as Members
      const timely = { ...Object.fromEntries(shifted), ...(iss !== undefined && { iss: here(iss) }) }
      const named = merged({ ...recorded.header, kid: 'own' }, header)
      const claimed = merged(timely, relative(said, now))
      if (isSignatureAlgorithm(named['alg'])) return signToken(named, claimed, key)
      // What no library signs with: the signature is one for another header.
      const [, ...rest] = signToken(recorded.header, claimed, key).split('.')
      return [encode(named), ...rest].join('.')
    },
    stop: server.stop,
  }
  server.handle = ({ path, headers }, response) => {
    const url = `${server.url}${path}`
    if (!provider.answers) json(response, {}, 503)
    // Kubernetes answers so where its own type of key sets is not asked for.
    else if (url === document.jwks_uri && !headers.accept?.includes('application/jwk-set+json')) json(response, {}, 406)
    else if (url === discoveryUrl(document.issuer)) json(response, document)
    else if (url === document.jwks_uri) json(response, keySet)
    else json(response, {}, 404)
  }
  return provider
}

const times = new Set(['iat', 'nbf', 'exp'])
const isTime = (claim: string, value: unknown): value is number => times.has(claim) && typeof value === 'number'
/** Times of a case are seconds from now. */
const relative = (claims: Members, now: number): Members =>
  Object.fromEntries(Object.entries(claims).map(([claim, value]) => [claim, isTime(claim, value) ? value + now : value]))
const merged = (members: Members, more: Members): Members =>
  Object.fromEntries(Object.entries({ ...members, ...more }).filter(([, value]) => value !== null))

export interface Federation {
  readonly verify: SubjectVerifier
  readonly ask: (token: string, now?: number) => Promise<SubjectAnswer>
  readonly jwks: Pool<Jwks>
  readonly close: () => Promise<void>
}

/** A policy with these federation rules. */
export const policyWith = (rules: readonly unknown[], more: Members = {}): string =>
  JSON.stringify({
    version: 1,
    listen: { check: { address: 'unix:/run/postern/check.sock' }, issuer: { address: '127.0.0.1:9193' } },
    state: 'memory:',
    identity: [{ name: 'ours', type: 'postern', audience: 'postern' }],
    roles: { deployer: {}, runner: {} },
    routes: [{ id: 'health', path: '/healthz', public: true }],
    issuer: { federation: rules },
    ...more,
  })

/** Reads a policy with these rules, and what verifies by it. */
export async function openFederation(rules: readonly unknown[], more: Members = {}): Promise<Federation> {
  const { settings } = await load(await policyFiles({ 'postern.yaml': policyWith(rules, more) }))
  const jwks = new Pool<Jwks>((keys) => keys.close())
  const verify = composeFederation(settings, { jwks })
  if (!verify) throw new Error('the policy has no rules')
  return { verify, ask: async (token, now = Date.now()) => await verify(token, now), jwks, close: () => jwks.close() }
}
