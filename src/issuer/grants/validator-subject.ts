import { readCredential } from '../../core/credential.ts'
import type { Principal } from '../../core/principal.ts'
import { Deny } from '../../core/reasons.ts'
import type { Request } from '../../core/request.ts'
import type { BearerValidator } from '../../core/validator.ts'
import type { SubjectVerifier, TokenSubject } from '../subject-token.ts'
import type { Revoked } from './policy.ts'

/** A token at the token endpoint comes with no request that went through Envoy. */
const noRequest: Request = {
  method: 'POST',
  host: '',
  path: '/',
  scheme: '',
  header: () => undefined,
  headerCount: () => 0,
  headerNames: () => [],
  namesLike: () => [],
  peerPrincipal: '',
  peerCertificate: '',
  extension: () => undefined,
  verifiedPayload: () => undefined,
}

/** Verifies subject tokens by a validator of the policy: by all its rules at the edge, revocations among them. */
export const validatorSubjects =
  (validator: BearerValidator, revoked: Revoked): SubjectVerifier =>
  async (token, now) => {
    const credential = readCredential(`Bearer ${token}`)
    const verdict = await validator.identify({ request: noRequest, credential, verified: undefined, now })
    if (verdict === 'abstain') return { kind: 'unknown' }
    if (verdict instanceof Deny) {
      const detail = `${validator.name}: ${verdict.detail}`
      return verdict.reason === 'identity_unavailable' ? { kind: 'unavailable', detail } : { kind: 'refused', detail }
    }
    if (revoked(verdict, now)) return { kind: 'refused', detail: `${validator.name}: the token, or whoever it names, has been revoked` }
    return { kind: 'subject', subject: subjectOf(verdict) }
  }

const subjectOf = (principal: Principal): TokenSubject => ({
  by: { kind: 'validator', name: principal.validator },
  subject: principal.subject,
  roles: principal.roles,
  scopes: principal.scopes,
  claims: principal.claims,
  actor: principal.actor,
  confirmation: principal.confirmation,
  expiresAt: principal.expiresAt,
  client: undefined,
  task: undefined,
  orchestration: undefined,
  exchanged: false,
})
