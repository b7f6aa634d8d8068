import type { Loaded } from '../config/read.ts'
import type { OwnToken } from '../core/issuer.ts'
import { Unavailable } from '../core/ports.ts'
import type { IsRevoked } from '../issuer/issuance.ts'
import type { Rulings } from './rulings.ts'

/**
 * Whether a token of ours is revoked at any level, as the edge would find it: there its subject has the namespace of the
 * validator that admits it. The function throws {Unavailable} where that cannot be known.
 */
export const ownRevoked =
  (rulings: Pick<Rulings, 'revocations'>, loaded: () => Loaded): IsRevoked =>
  ({ id, subject, issuedAt, actor, client, task, audience }: OwnToken) => {
    const namespace = loaded().settings.identity.flatMap((entry) =>
      entry.type === 'postern' && audience.includes(entry.audience) ? [entry.subject_namespace ?? ''] : [],
    )[0]
    const issued = { ...(client !== undefined && { client }), ...(task !== undefined && { task }) }
    const principal = { tokenId: id, subject: (namespace ?? '') + subject, rawSubject: subject, issuedAt, issued }
    const answer = rulings.revocations().check({ ...principal, ...(actor && { actor }) }, Date.now())
    if (answer === 'unavailable') throw new Unavailable('state was not heard from within revocation.max_staleness')
    return answer === 'revoked'
  }
