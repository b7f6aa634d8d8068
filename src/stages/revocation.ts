import type { Stage } from '../check/stage.ts'
import { factsOf, type Identified, type NotRevoked, notRevoked } from '../core/facts.ts'
import type { RevocationCheck, RevocationLevel } from '../core/ports.ts'
import { deny } from '../core/reasons.ts'

/** For the log: which level refused. */
const details: Readonly<Record<RevocationLevel, string>> = {
  token: 'the token was revoked (level token)',
  subject: 'its subject was revoked, and with it what was issued up to then (level subject)',
  agent: 'the agent that acts or is acted for was revoked (level agent)',
  task: 'its task was revoked (level task)',
  chain: 'an agent from which it descends was revoked (level chain)',
  client: 'the client that it was issued to was revoked (level client)',
}
const detailOf = (level: RevocationLevel | undefined): string => (level === undefined ? 'revoked' : details[level])

/** Refuses what has been revoked, from memory. Denies `revoked`, or `revocation_unavailable` when state was not heard from for too long. */
export const revocation = (revocations: RevocationCheck): Stage<Identified, NotRevoked> => ({
  name: 'revocation',
  run: (state) => {
    switch (revocations.check(state.principal, state.now, factsOf(state).monotonic)) {
      case 'clear':
        return notRevoked(state)
      case 'revoked':
        return deny('revoked', detailOf(revocations.level?.(state.principal, state.now)))
      case 'unavailable':
        return deny('revocation_unavailable', 'state was not heard from within revocation.max_staleness')
    }
  },
})
