import { checkRoles } from './check-identity.ts'
import type { Draft } from './draft.ts'
import type { Report } from './faults.ts'
import { durationText } from './values.ts'

/** Checks the agent broker against the rest of the policy: what it needs to let anybody in, and that its tokens are for the edge. */
export function checkBroker(draft: Draft, report: Report): void {
  const { broker, admin } = draft.sections
  checkRoles(broker.roles ?? [], ['broker', 'roles'], draft, report)
  if (broker.audience !== undefined && broker.audience === admin.audience)
    report(['broker', 'audience'], `"${admin.audience}" is the audience of admin tokens: expected another`)
  if (!broker.enabled) return
  const path = ['broker', 'enabled']
  if (!draft.named.issuer) report(path, 'the broker is on the issuer listener: expected listen.issuer')
  if (admin.secret === undefined && !draft.broken.has('admin.secret'))
    report(path, 'nobody could make a launch token: expected admin.secret, of at least 32 characters')
  if (broker.audience === undefined && draft.identity.every((entry) => entry !== undefined && entry.type !== 'postern'))
    report(path, "there is no validator of type postern, whose audience agents' tokens would have: expected one, or broker.audience")
}

/** Tells what of the broker's settings does not do what it says. */
export function warnOfBroker({ sections: { broker } }: Draft, report: Report): void {
  const { default_ttl: usual, max_ttl: most } = broker
  if (broker.enabled && most > 0 && usual > most)
    report(
      ['broker', 'default_ttl'],
      `tokens live for ${durationText(most)}, the max_ttl, and not for ${durationText(usual)}: write at most that`,
    )
}
