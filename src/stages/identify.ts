import { LRUCache } from 'lru-cache'
import type { Stage } from '../check/stage.ts'
import { type ClaimedIssuers, readCredential, unwrappedCredential } from '../core/credential.ts'
import { type Identified, identified, noteWorkload, type Routed } from '../core/facts.ts'
import { type JsonObject, sameJson } from '../core/json.ts'
import { edgeWithOwnSubjects, withOwnSubjects } from '../core/own-subjects.ts'
import type { Soon } from '../core/ports.ts'
import { presentedCredential } from '../core/presented.ts'
import type { Principal, Workload } from '../core/principal.ts'
import type { Prove } from '../core/proof.ts'
import { Deny, deny } from '../core/reasons.ts'
import type {
  BasicValidator,
  BearerValidator,
  CertificateValidator,
  Credential,
  EdgeValidator,
  Presentation,
  Validator,
} from '../core/validator.ts'

/** A rejection of one validator, whoever wins in the end. */
export interface Rejection {
  /** Its name; empty where every validator abstained, and where the request itself presented two credentials. */
  readonly validator: string
  readonly reason: Deny['reason']
  readonly detail: string
  readonly route: string
  readonly path: string
  /** SHA-256 of the credential, hexadecimal; empty where only Envoy's word, or a certificate, was presented. Not for logs. */
  readonly digest: string
}

export interface IdentifyOptions {
  /** In the order of the policy file. */
  readonly validators: readonly Validator[]
  /** The peer by `source.principal`, else by `source.certificate`; undefined where neither is a SPIFFE ID. */
  readonly peer: (state: Routed) => Workload | undefined
  /** Asked where a token is bound to a key, and where the route demands that it is. */
  readonly prove: Prove
  readonly onRejection: (rejection: Rejection) => void
}

/** Tokens whose issuer is remembered, so that a chain of many validators does not read each token anew. */
const mostIssuers = 10_000

const onlyEnvoy = readCredential(undefined)

/**
 * Who is asking. Validators compete for the one presented credential, in order, and the first that identifies
 * wins; a rejection does not stop the chain, and the first one is the reason given. Only where nothing was
 * presented may the client certificate or an edge's headers identify. Whoever a bound token names has to prove
 * possession of its key.
 */
export function identify(options: IdentifyOptions): Stage<Routed, Identified> {
  const chain = new Chain(options)
  return {
    name: 'identify',
    run: (state) => {
      const workload = options.peer(state)
      noteWorkload(state, workload)
      const presentation = chain.presented(state)
      if (presentation instanceof Deny) return presentation
      return presentation === undefined ? chain.byConnection(state, workload) : chain.judge(state, presentation)
    },
  }
}

class Chain {
  readonly #bearers: readonly BearerValidator[]
  readonly #basics: readonly { readonly basic: BasicValidator; readonly above: readonly BearerValidator[] }[]
  readonly #connections: readonly (CertificateValidator | EdgeValidator)[]
  readonly #issuers: ClaimedIssuers = new LRUCache<string, string>({ max: mostIssuers })
  readonly #prove: Prove
  readonly #onRejection: IdentifyOptions['onRejection']

  constructor({ validators, prove, onRejection }: IdentifyOptions) {
    const bearers: BearerValidator[] = []
    const basics: { basic: BasicValidator; above: BearerValidator[] }[] = []
    const connections: (CertificateValidator | EdgeValidator)[] = []
    for (const validator of validators) {
      if (validator.presents === 'bearer') bearers.push(withOwnSubjects(validator, validators))
      else if (validator.presents === 'basic') basics.push({ basic: validator, above: [...bearers] })
      else connections.push(validator.presents === 'edge' ? edgeWithOwnSubjects(validator, validators) : validator)
    }
    this.#bearers = bearers
    this.#basics = basics
    this.#connections = connections
    this.#prove = prove
    this.#onRejection = onRejection
  }

  /** The one credential, and what Envoy verified; `authorization: keep` leaves the latter to the upstream. */
  presented(state: Routed): Presentation | Deny | undefined {
    const presentation = this.#look(state)
    return presentation instanceof Deny ? this.#rejected(state, '', presentation, '') : presentation
  }

  #look(state: Routed): Presentation | Deny | undefined {
    const { request, target, policy, now } = state
    const keepsAuthorization = state.route.authorization === 'keep'
    let verified: JsonObject | undefined
    if (!keepsAuthorization)
      for (const key of policy.metadataKeys) {
        const found = request.verifiedPayload(key)
        if (found === undefined) continue
        if (verified !== undefined && !sameJson(verified, found))
          return deny('conflicting_credentials', 'Envoy verified two different tokens')
        verified = found
      }
    const credential = presentedCredential(request, target, { places: policy.places, keepsAuthorization, issuers: this.#issuers })
    if (credential instanceof Deny) return credential
    if (credential !== undefined) return { request, credential, verified, now }
    return verified === undefined ? undefined : { request, credential: onlyEnvoy, verified, now }
  }

  /** The certificate, or an edge's headers. */
  byConnection(state: Routed, workload: Workload | undefined): Soon<Identified | Deny> {
    for (const validator of this.#connections) {
      if (!admits(state, validator.name)) continue
      const verdict =
        validator.presents === 'edge'
          ? validator.identify(state.request, workload, state.now)
          : workload
            ? validator.identify(workload, state.now)
            : 'abstain'
      if (verdict === 'abstain') continue
      if (verdict instanceof Deny) return this.#rejected(state, validator.name, verdict, '')
      return this.#proved(state, verdict, validator.name, undefined, validator.presents === 'certificate')
    }
    return deny('no_credential', 'no credential was presented')
  }

  judge(state: Routed, presentation: Presentation): Soon<Identified | Deny> {
    if (presentation.credential.scheme === 'basic') {
      const found = this.#basics.find(({ basic }) => admits(state, basic.name))
      if (found) return this.#unwrap(state, presentation, found.basic, found.above)
    }
    return this.#compete(state, presentation, this.#bearers, 0, undefined)
  }

  #unwrap(state: Routed, presentation: Presentation, basic: BasicValidator, above: readonly BearerValidator[]): Soon<Identified | Deny> {
    const admitted = above.filter(({ name }) => admits(state, name))
    const inner = basic.unwrap(presentation.credential, new Set(admitted.map(({ name }) => name)))
    if (inner instanceof Deny) return this.#rejected(state, basic.name, inner, presentation.credential.digest)
    const chain = inner.only === undefined ? admitted : admitted.filter(({ name }) => name === inner.only)
    const credential = unwrappedCredential(presentation.credential, inner.token, this.#issuers)
    return this.#compete(state, { ...presentation, credential }, chain, 0, undefined)
  }

  /** Asks one validator after the other; goes on synchronously until one has to wait. */
  #compete(
    state: Routed,
    presentation: Presentation,
    validators: readonly BearerValidator[],
    from: number,
    first: Deny | undefined,
  ): Soon<Identified | Deny> {
    const { credential } = presentation
    let rejection = first
    for (let i = from; i < validators.length; i++) {
      const validator = validators[i]!
      if (!admits(state, validator.name) || !sees(validator, presentation)) continue
      const verdict = validator.identify(presentation)
      if (verdict instanceof Promise) {
        return verdict.then((late) => {
          if (late === 'abstain') return this.#compete(state, presentation, validators, i + 1, rejection)
          if (!(late instanceof Deny)) return this.#won(state, late, validator, presentation)
          this.#rejected(state, validator.name, late, credential.digest)
          return this.#compete(state, presentation, validators, i + 1, rejection ?? late)
        })
      }
      if (verdict === 'abstain') continue
      if (!(verdict instanceof Deny)) return this.#won(state, verdict, validator, presentation)
      this.#rejected(state, validator.name, verdict, credential.digest)
      rejection ??= verdict
    }
    if (rejection) return rejection
    const nobody = deny('no_validator_admitted', 'a credential was presented, and every validator abstained')
    return this.#rejected(state, '', nobody, credential.digest)
  }

  #won(state: Routed, principal: Principal, validator: BearerValidator, presentation: Presentation): Soon<Identified | Deny> {
    if (conflicts(presentation, validator)) {
      const conflict = deny('conflicting_credentials', 'Envoy verified another token than the one presented')
      return this.#rejected(state, validator.name, conflict, presentation.credential.digest)
    }
    return this.#proved(state, principal, validator.name, presentation.credential, false)
  }

  /** What is bound to a key is worth nothing without the proof of it, whatever else would admit the credential. */
  #proved(
    state: Routed,
    principal: Principal,
    validator: string,
    credential: Credential | undefined,
    byCertificate: boolean,
  ): Soon<Identified | Deny> {
    if (principal.confirmation === undefined && state.route.binding === 'none' && credential?.scheme !== 'dpop')
      return identified(state, principal)
    const settle = (fault: Deny | undefined): Identified | Deny =>
      fault === undefined ? identified(state, principal) : this.#rejected(state, validator, fault, credential?.digest ?? '')
    const { scheme = '', token = '' } = credential ?? {}
    const proof = this.#prove({ state, principal, scheme: token === '' ? '' : scheme, token, byCertificate })
    return proof instanceof Promise ? proof.then(settle) : settle(proof)
  }

  #rejected(state: Routed, validator: string, rejection: Deny, digest: string): Deny {
    const { reason, detail } = rejection
    this.#onRejection({ validator, reason, detail, route: state.route.id, path: state.target.path, digest })
    return rejection
  }
}

const admits = ({ route }: Routed, name: string): boolean => route.validators === undefined || route.validators.has(name)

/** Whether the credential stands where this validator looks. What Envoy verified is shown to whoever goes by Envoy's word. */
function sees({ from, trustsEnvoy }: BearerValidator, { credential: { places }, verified }: Presentation): boolean {
  if (places.length === 0) return true
  for (const place of places) if (from === undefined ? place === 'authorization' : from.has(place)) return true
  return verified !== undefined && trustsEnvoy === true
}

/**
 * A token that Envoy verified elsewhere (in the query, say) beside another in `Authorization` makes two credentials,
 * whichever of them a validator would admit.
 */
const conflicts = ({ credential, verified }: Presentation, { trustsEnvoy }: BearerValidator): boolean =>
  verified !== undefined && !trustsEnvoy && credential.places.length > 0 && !sameJson(credential.jwt?.payload, verified)
