import type { CertificateValidator } from '../core/validator.ts'
import { boundRoles, digestOf } from './claims.ts'

/** Settings of an `mtls` validator. */
export interface MtlsOptions {
  /** The validator's name. */
  readonly validator: string
  readonly trustDomain: string
  /** SPIFFE ID → roles. */
  readonly roles: ReadonlyMap<string, readonly string[]>
  /** `subject_namespace`: stands before every subject; may be empty. */
  readonly namespace: string
  /** `may_assert`: the only roles that it may give; undefined for any. */
  readonly mayAssert: ReadonlySet<string> | undefined
}

/** The path that this platform gives its workloads: `/ns/<namespace>/sa/<service account>`. */
const workloadPath = /^\/ns\/[^/]+\/sa\/[^/]+$/

/**
 * Admits a client certificate by its SPIFFE ID. An ID of the trust domain without mapped roles identifies
 * with none, so that a route that demands a role refuses it by name.
 */
export function clientCertificates(options: MtlsOptions): CertificateValidator {
  const issuer = `spiffe://${options.trustDomain}`
  return {
    name: options.validator,
    subjects: `${options.namespace}${issuer}/`,
    presents: 'certificate',
    identify: (workload) => {
      if (workload.trustDomain !== options.trustDomain || !workloadPath.test(workload.id.slice(issuer.length))) return 'abstain'
      return {
        validator: options.validator,
        issuer,
        subject: options.namespace + workload.id,
        rawSubject: workload.id,
        roles: boundRoles(new Set(options.roles.get(workload.id)), options.mayAssert),
        scopes: [],
        claims: {},
        // A certificate's own times are Envoy's to check; a revoked subject stays out whenever it was issued.
        issuedAt: 0,
        expiresAt: Number.POSITIVE_INFINITY,
        digest: digestOf(workload.id),
      }
    },
  }
}
