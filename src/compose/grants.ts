import type { Introspection } from '../adapters/introspection.ts'
import type { Jwks, JwksCondition } from '../adapters/jwks.ts'
import { createLogSample } from '../adapters/log-sample.ts'
import { openSharedSecret, type SharedSecret } from '../adapters/shared-secret.ts'
import type { Loaded } from '../config/read.ts'
import type { Settings } from '../config/schema.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import { createNonces, type Nonces } from '../core/dpop-nonce.ts'
import type { OwnToken } from '../core/issuer.ts'
import type { Client, Grant } from '../core/issuer-client.ts'
import { withOwnSubjects } from '../core/own-subjects.ts'
import { type Revocation, type RevocationCheck, type Soon, type State, Unavailable } from '../core/ports.ts'
import type { KeyAnswer } from '../core/verification-keys.ts'
import { families } from '../issuer/grants/families.ts'
import { createGrants } from '../issuer/grants/grants.ts'
import { ownSubjects } from '../issuer/grants/own-subject.ts'
import type { EdgeAudience, GrantPolicy, Revoked } from '../issuer/grants/policy.ts'
import { familyOf, turnOf } from '../issuer/grants/refresh-claims.ts'
import { upstreamTokens } from '../issuer/grants/subject.ts'
import { validatorSubjects } from '../issuer/grants/validator-subject.ts'
import type { Grants } from '../issuer/grants.ts'
import type { Issuance, RecordAct } from '../issuer/issuance.ts'
import { ownTokens } from '../issuer/own-token.ts'
import type { TokenSubject } from '../issuer/subject-token.ts'
import { agentSubjects, composeFederation, subjectGivers, swappedSubjects } from './federation.ts'
import { composeClients } from './grant-clients.ts'
import type { IssuerParts } from './issuer.ts'
import { composeOidc } from './oidc.ts'
import { ownName, ownNames } from './own-revoked.ts'
import { Pool } from './pool.ts'

export interface ComposeGrantsNeeds {
  /** The policy in force now. */
  readonly loaded: () => Loaded
  readonly issuer: Pick<IssuerParts, 'url' | 'keys'>
  readonly issue: Issuance
  readonly state: Pick<State, 'records' | 'replays' | 'secrets'>
  /** The list in force. */
  readonly revocations: () => Pick<RevocationCheck, 'check'>
  readonly revoke: (revocation: Revocation) => Promise<void>
  readonly record: RecordAct
  readonly onFault: (cause: unknown) => void
  /** Of this process; absent: opened where they are needed. */
  readonly certificates?: CertificateLoader | undefined
  /** Told after each fetch of an issuer's keys. */
  readonly onKeys?: ((condition: JwksCondition) => void) | undefined
  /** Whether an agent of this id is still there; asked of tokens of ours with a task alone. Absent: it is. */
  readonly agents?: ((id: string) => Soon<boolean>) | undefined
}

/** The policy behind the token endpoint. */
export interface ComposedGrants {
  readonly grants: Grants
  /** @throws {Unavailable} */
  readonly clients: (id: string) => Promise<Client | undefined>
  /** What the policy in force offers; undefined where it has neither a client nor a federation rule. */
  readonly offered: () => { readonly grants: ReadonlySet<Grant>; readonly federation: boolean } | undefined
  /**
   * Ends all that came of one exchange: for a refresh token that its client revokes (RFC 7009, section 2.1).
   * @param now milliseconds since the epoch
   * @returns ids of the access tokens that were revoked with it; none where it is no refresh token
   */
  readonly endFamily: (token: OwnToken, now: number) => Promise<readonly string[]>
  /** Whether it is a refresh token that is good no more: it was used, or its family has ended. @throws {Unavailable} */
  readonly isSpent: (token: OwnToken) => Soon<boolean>
  /** Keys of issuers, for status. */
  readonly jwks: () => readonly Jwks[]
  readonly close: () => Promise<void>
}

/** Refusals of one client that are written at once, and in a second when those are used up. */
const burst = 20
const perSecond = 2
/** Clients that are told apart. */
const mostKinds = 200

interface Composed {
  readonly of: Loaded
  readonly clients: ReadonlyMap<string, Client>
  readonly policy: GrantPolicy
}

/** Clients and grants, each by the policy that is in force when they are asked. */
export function composeGrants(needs: ComposeGrantsNeeds): ComposedGrants {
  const { issuer, state, record } = needs
  const jwks = new Pool<Jwks>((keys) => keys.close())
  const introspections = new Pool<Introspection>((asked) => asked.close())
  const verify = ownTokens({ issuer: issuer.url, keys: { find: (kid, alg) => known(issuer.keys.find(kid, alg)) } })
  const nonces = sharedNonces(state, needs.onFault)
  const kept = families({ records: state.records, revoke: needs.revoke })
  const revoked: Revoked = (whom, now) => {
    const answer = needs.revocations().check(ownNames(needs.loaded().settings)(whom), now)
    if (answer === 'unavailable') throw new Unavailable('state was not heard from within revocation.max_staleness')
    return answer === 'revoked'
  }
  const refusals = createLogSample({
    burst,
    perSecond,
    kinds: mostKinds,
    tell: (client, suppressed) => {
      const event = { type: 'token_refused', outcome: 'failure', reason: 'counted', detail: { suppressed } } as const
      record({ ...event, ...(client !== undefined && { actor: client }) }).catch(needs.onFault)
    },
  })

  let composed: Composed | undefined
  const current = (): Composed => {
    const loaded = needs.loaded()
    if (composed?.of === loaded) return composed
    composed = compose(loaded)
    for (const pool of [jwks, introspections]) pool.sweep()
    return composed
  }

  const clients = async (id: string): Promise<Client | undefined> => current().clients.get(id)
  /** An agent's token names the app that let it in, or nobody: whether the agent is there is the broker's to say. */
  const stands = async (token: OwnToken): Promise<boolean> => {
    if (token.task !== undefined) return (await needs.agents?.(ownName(current().of.settings, token.subject))) ?? true
    return token.client === undefined || (await clients(token.client)) !== undefined
  }

  const compose = (loaded: Loaded): Composed => {
    const { settings } = loaded
    const found = composeClients(settings)
    const edges = edgesOf(settings)
    const names = subjectSources(settings)
    const exchanges = [...found.values()].some(({ exchange }) => exchange)
    const { algorithms, max_age: maxAgeMs, nonce } = settings.dpop
    const { realm } = settings
    const givers = [...subjectGivers(settings), ...swappedSubjects(settings)]
    // Asked for now, so that it is there when the first proof comes.
    if (nonce === 'required' && exchanges) nonces.of(realm, maxAgeMs)
    const federation = composeFederation(settings, { jwks, certificates: needs.certificates, onKeys: needs.onKeys })
    const policy: GrantPolicy = {
      edges,
      // Nobody's keys are fetched where nobody may exchange.
      verifiers: exchanges
        ? [
            ...validatorsOf(settings).map((validator) => validatorSubjects(withOwnSubjects(validator, givers), revoked)),
            ownSubjects({ issuer: issuer.url, verify, revoked, edges, stands }),
            ...(federation ? [federation] : []),
          ]
        : [],
      swaps: federation ? [federation] : [],
      proofs: { algorithms, maxAgeMs, nonces: nonce === 'required' ? () => nonces.of(realm, maxAgeMs) : undefined },
      reserved: async (subject) => subject.startsWith(agentSubjects(settings)) || (await clients(subject)) !== undefined,
      stands,
      trusts: ({ kind, name }) => names[kind].has(name),
    }
    return { of: loaded, clients: found, policy }
  }

  /** The validators of JWTs that have another issuer, with keys that are fetched here, also where Envoy verifies at the edge. */
  const validatorsOf = ({ identity }: Settings) =>
    identity.flatMap((entry) => {
      if (entry.type !== 'oidc') return []
      const { name: validator, subject_namespace: namespace = '', may_assert } = entry
      const common = { validator, namespace, mayAssert: may_assert && new Set(may_assert) }
      return [
        composeOidc({ ...entry, verified_by: 'postern' }, common, {
          jwks,
          introspections,
          certificates: needs.certificates,
          onKeys: needs.onKeys,
        }),
      ]
    })

  const grants = createGrants({
    issuer: issuer.url,
    policy: () => current().policy,
    issue: needs.issue,
    revoked,
    revoke: needs.revoke,
    replays: state.replays,
    trail: { record, admits: refusals.admits },
    verify,
    families: kept,
  })
  // Keys are on their way before the first client asks.
  current()

  return {
    grants,
    clients,
    offered: () => {
      const { of, clients: known } = current()
      const federation = of.settings.issuer.federation.length > 0
      if (known.size === 0) return undefined
      return { grants: new Set([...known.values()].flatMap((client) => client.grants)), federation }
    },
    endFamily: async (token, now) => {
      const family = familyOf(token)
      return family === undefined ? [] : kept.end(family, now)
    },
    isSpent: async (token) => {
      const turn = turnOf(token)
      return turn !== undefined && !(await kept.isGood(turn.family, turn.turn))
    },
    jwks: () => jwks.values(),
    close: async () => {
      refusals.close()
      nonces.close()
      for (const pool of [jwks, introspections]) await pool.close()
    },
  }
}

/** Without keys none of our tokens is known from others: to refuse one would be to guess. @throws {Unavailable} */
function known(answer: KeyAnswer): KeyAnswer {
  if (answer.kind === 'unavailable') throw new Unavailable(answer.detail)
  return answer
}

/** Names of what may give subjects, by kind. */
function subjectSources({ identity, issuer }: Settings): Readonly<Record<TokenSubject['by']['kind'], ReadonlySet<string>>> {
  const named = (type: 'oidc' | 'postern') => identity.flatMap((entry) => (entry.type === type ? [entry.name] : []))
  return {
    validator: new Set(named('oidc')),
    federation: new Set(issuer.federation.map(({ name }) => name)),
    own: new Set([...named('postern'), upstreamTokens]),
  }
}

/** What `postern` validators admit; of two with one audience the first, which is asked first at the edge too. */
function edgesOf({ identity }: Settings): ReadonlyMap<string, EdgeAudience> {
  const edges = new Map<string, EdgeAudience>()
  for (const entry of identity) {
    if (entry.type !== 'postern' || edges.has(entry.audience)) continue
    const { name: validator, subject_namespace: namespace = '', may_assert } = entry
    edges.set(entry.audience, { validator, namespace, mayAssert: may_assert && new Set(may_assert) })
  }
  return edges
}

/** Nonces of the secret that all replicas share; it is asked for when a policy first wants nonces. */
function sharedNonces({ secrets }: Pick<State, 'secrets'>, onFault: (cause: unknown) => void) {
  let opening: Promise<SharedSecret> | undefined
  let secret: SharedSecret | undefined
  let made: { readonly from: Uint8Array; readonly realm: string; readonly stepMs: number; readonly nonces: Nonces } | undefined
  return {
    /** @returns undefined until state has given the secret */
    of: (realm: string, stepMs: number): Nonces | undefined => {
      if (!opening) {
        opening = openSharedSecret(secrets, 'dpop-nonce')
        opening.then((opened) => {
          secret = opened
        }, onFault)
      }
      const bytes = secret?.current()
      if (bytes === undefined) return undefined
      if (made?.from !== bytes || made.realm !== realm || made.stepMs !== stepMs)
        made = { from: bytes, realm, stepMs, nonces: createNonces(bytes, realm, stepMs) }
      return made.nonces
    },
    close: (): void => {
      opening?.then((opened) => opened.close(), onFault)
    },
  }
}
