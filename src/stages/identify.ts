import { LRUCache } from 'lru-cache'
import type { Stage } from '../check/stage.ts'
import { type ClaimedIssuers, readCredential } from '../core/credential.ts'
import { type Identified, identified, noteWorkload, type Routed } from '../core/facts.ts'
import { type JsonObject, sameJson } from '../core/json.ts'
import type { Soon } from '../core/ports.ts'
import type { Workload } from '../core/principal.ts'
import { Deny, deny } from '../core/reasons.ts'
import type { BearerValidator, CertificateValidator, Credential, Presentation, Validator, Verdict } from '../core/validator.ts'

/** A rejection of one validator, whoever wins in the end. */
export interface Rejection {
  readonly validator: string
  readonly reason: Deny['reason']
  readonly detail: string
  readonly route: string
  readonly path: string
}

export interface IdentifyOptions {
  /** In the order of the policy file. */
  readonly validators: readonly Validator[]
  /** The peer by `source.principal`, else by `source.certificate`; undefined where neither is a SPIFFE ID. */
  readonly peer: (state: Routed) => Workload | undefined
  readonly onRejection: (rejection: Rejection) => void
}

const nothingPresented: Credential = {
  authorization: undefined,
  scheme: '',
  token: '',
  digest: '',
  jwt: undefined,
  claimedIssuer: undefined,
}
/** Tokens whose issuer is remembered, so that a chain of many validators does not read each token anew. */
const mostIssuers = 10_000

/**
 * Who is asking. Validators compete for the one presented credential, in order, and the first that identifies
 * wins; a rejection does not stop the chain, and the first one is the reason given. Only where nothing was
 * presented may the client certificate identify.
 */
export function identify(options: IdentifyOptions): Stage<Routed, Identified> {
  const issuers = new LRUCache<string, string>({ max: mostIssuers })
  const bearers = options.validators.filter((v): v is BearerValidator => v.presents === 'bearer')
  const chain = bearers.map((validator) => within(validator, options.validators))
  const certificates = options.validators.filter((v): v is CertificateValidator => v.presents === 'certificate')
  return {
    name: 'identify',
    run: (state) => {
      const workload = options.peer(state)
      noteWorkload(state, workload)
      const presentation = presented(state, issuers)
      if (presentation instanceof Deny) return presentation
      if (presentation === undefined) return byCertificate(state, workload, certificates)
      return compete(state, presentation, chain, 0, undefined, options.onRejection)
    },
  }
}

/**
 * A validator held to subjects that no other gives: one without a namespace could admit a token whose `sub` is
 * spelled as another's prefix and subject, and the same subject from two validators is two people.
 */
function within(validator: BearerValidator, all: readonly Validator[]): BearerValidator {
  const { subjects: own = '' } = validator
  const others = all.filter(({ subjects = '' }) => subjects.length > own.length && subjects.startsWith(own))
  if (others.length === 0) return validator
  const judge = (verdict: Verdict): Verdict => {
    if (verdict === 'abstain' || verdict instanceof Deny) return verdict
    const other = others.find(({ subjects = '' }) => verdict.subject.startsWith(subjects))
    return other ? deny('invalid_credential', `the subject begins as those of validator ${other.name} do`) : verdict
  }
  return {
    ...validator,
    identify: (presentation) => {
      const verdict = validator.identify(presentation)
      return verdict instanceof Promise ? verdict.then(judge) : judge(verdict)
    },
  }
}

/** The one credential, and what Envoy verified; `authorization: keep` leaves both to the upstream. */
function presented(state: Routed, issuers: ClaimedIssuers): Presentation | Deny | undefined {
  if (state.route.authorization === 'keep') return undefined
  const { request, policy, now } = state
  let verified: JsonObject | undefined
  for (const key of policy.metadataKeys) {
    const found = request.verifiedPayload(key)
    if (found === undefined) continue
    if (verified !== undefined && !sameJson(verified, found)) return deny('conflicting_credentials', 'Envoy verified two different tokens')
    verified = found
  }
  const authorization = request.header('authorization')
  if (authorization !== undefined) return { request, credential: readCredential(authorization, issuers), verified, now }
  return verified === undefined ? undefined : { request, credential: nothingPresented, verified, now }
}

/**
 * A token that Envoy verified elsewhere (in the query, say) beside another in `Authorization` makes two credentials,
 * whichever of them a validator would admit.
 */
const conflicts = ({ credential, verified }: Presentation, { trustsEnvoy }: BearerValidator): boolean =>
  verified !== undefined && !trustsEnvoy && credential.authorization !== undefined && !sameJson(credential.jwt?.payload, verified)

function byCertificate(state: Routed, workload: Workload | undefined, validators: readonly CertificateValidator[]): Identified | Deny {
  if (workload) {
    for (const validator of validators) {
      if (state.route.validators && !state.route.validators.has(validator.name)) continue
      const verdict = validator.identify(workload, state.now)
      if (verdict === 'abstain') continue
      return verdict instanceof Deny ? verdict : identified(state, verdict)
    }
  }
  return deny('no_credential', 'no credential was presented')
}

/** Asks one validator after the other; goes on synchronously until one has to wait. */
function compete(
  state: Routed,
  presentation: Presentation,
  validators: readonly BearerValidator[],
  from: number,
  first: Deny | undefined,
  onRejection: IdentifyOptions['onRejection'],
): Soon<Identified | Deny> {
  let rejection = first
  for (let i = from; i < validators.length; i++) {
    const validator = validators[i]!
    if (state.route.validators && !state.route.validators.has(validator.name)) continue
    const judge = (verdict: Verdict): Identified | Deny | undefined => {
      if (verdict === 'abstain') return undefined
      if (!(verdict instanceof Deny)) {
        if (conflicts(presentation, validator))
          return deny('conflicting_credentials', 'Envoy verified another token than the one presented')
        return identified(state, verdict)
      }
      const { reason, detail } = verdict
      onRejection({ validator: validator.name, reason, detail, route: state.route.id, path: state.target.path })
      rejection ??= verdict
      return undefined
    }
    const verdict = validator.identify(presentation)
    if (verdict instanceof Promise) {
      return verdict.then((late) => judge(late) ?? compete(state, presentation, validators, i + 1, rejection, onRejection))
    }
    const who = judge(verdict)
    if (who) return who
  }
  return rejection ?? deny('no_validator_admitted', 'a credential was presented, and every validator abstained')
}
