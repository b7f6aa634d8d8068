import type { Stage } from '../check/stage.ts'
import { factsOf, type Identified, type NotRevoked, notRevoked } from '../core/facts.ts'
import type { RevocationCheck } from '../core/ports.ts'
import { deny } from '../core/reasons.ts'

/** Refuses what has been revoked, from memory. Denies `revoked`, or `revocation_unavailable` when state was not heard from for too long. */
export const revocation = (revocations: RevocationCheck): Stage<Identified, NotRevoked> => ({
  name: 'revocation',
  run: (state) => {
    switch (revocations.check(state.principal, state.now, factsOf(state).monotonic)) {
      case 'clear':
        return notRevoked(state)
      case 'revoked':
        return deny('revoked', 'revoked by token or subject')
      case 'unavailable':
        return deny('revocation_unavailable', 'state was not heard from within revocation.max_staleness')
    }
  },
})
