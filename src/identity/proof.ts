import type { Soon } from '../core/ports.ts'
import type { ProofDemand, Prove } from '../core/proof.ts'
import { type Deny, deny } from '../core/reasons.ts'
import { createThumbprints } from './proof-certificate.ts'
import { type DpopOptions, proveByDpop } from './proof-dpop.ts'

/**
 * Proof of possession: by the client certificate (RFC 8705) at once, by DPoP (RFC 9449) as fast as the replay store. All that a
 * token is bound to is proved, on every route; a route's `binding` demands that it is bound at all.
 */
export function createProof(dpop: DpopOptions): Prove {
  const thumbprintOf = createThumbprints()
  const proveDpop = proveByDpop(dpop)

  const wrongCertificate = ({ state }: ProofDemand, x5tS256: string): Deny | undefined => {
    const certificate = state.request.peerCertificate
    if (certificate === '')
      return deny(
        'invalid_credential',
        'the token is bound to a client certificate, and Envoy told of none: the client presented none, or include_peer_certificate is not set',
      )
    return thumbprintOf(certificate) === x5tS256
      ? undefined
      : deny('invalid_credential', 'the token is bound to another client certificate than the one presented')
  }

  return (demand) => {
    const { x5tS256, jkt } = demand.principal.confirmation ?? {}
    const unbound = missing(demand, x5tS256, jkt) ?? wrongScheme(demand, jkt)
    if (unbound) return unbound
    const certificate = x5tS256 === undefined ? undefined : wrongCertificate(demand, x5tS256)
    if (certificate) return certificate
    return jkt === undefined ? undefined : (proveDpop(demand, jkt) satisfies Soon<Deny | undefined>)
  }
}

/** Whether the route demands a binding that the credential does not have. */
function missing({ state, byCertificate }: ProofDemand, x5tS256: string | undefined, jkt: string | undefined): Deny | undefined {
  const { binding } = state.route
  if (binding === 'mtls' && x5tS256 === undefined && !byCertificate)
    return deny('invalid_credential', 'the route demands a token that is bound to the client certificate (cnf.x5t#S256)')
  if (binding === 'dpop' && jkt === undefined) return notBound('the route demands a token that is bound to a key (cnf.jkt)')
  return undefined
}

/**
 * RFC 9449, section 7: a token that is bound to a key stands under the scheme `DPoP`, and no other does. Where it stands in no
 * `Authorization` it has no scheme, and the proof is all that there is to ask for.
 */
function wrongScheme({ state, scheme }: ProofDemand, jkt: string | undefined): Deny | undefined {
  if (jkt === undefined)
    return scheme === 'dpop' ? notBound('the scheme is DPoP, and the token is not bound to a key (cnf.jkt)') : undefined
  if (scheme === 'dpop' || scheme === '') return undefined
  const inAuthorization = state.route.authorization !== 'keep' && state.request.header('authorization') !== undefined
  return inAuthorization ? notBound('the token is bound to a key (cnf.jkt), and its scheme is not DPoP') : undefined
}

const notBound = (detail: string): Deny => deny('invalid_credential', detail, { scheme: 'DPoP', error: 'invalid_token' })
