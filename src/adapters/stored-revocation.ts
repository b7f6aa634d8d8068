import { type Revocation, type RevocationLevel, revocationLevels, Unavailable } from '../core/ports.ts'

const lift = 'lift:'

/** The level as it is stored: a lift is a level of its own there, so that it never takes the place of a revocation. */
export const storedLevel = ({ level, lifted }: Pick<Revocation, 'level' | 'lifted'>): string => (lifted ? `${lift}${level}` : level)

const isLevel = (name: string): name is RevocationLevel => (revocationLevels as readonly string[]).includes(name)

/**
 * A revocation as stored. Times that cannot be read mean for ever: what somebody wanted refused is refused.
 * @returns undefined for one that concerns nothing any more
 * @throws {Unavailable} for a level that this version does not know. A newer one wrote it, and what it stands for would be let
 *   through here: whoever cannot read the list does not know what is in force.
 */
export function readRevocation(
  stored: { readonly level: string; readonly target: string; readonly at: number; readonly until: number },
  now = Date.now() / 1000,
): Revocation | undefined {
  const until = Number.isNaN(stored.until) ? Number.POSITIVE_INFINITY : stored.until
  if (until < now) return undefined
  const lifted = stored.level.startsWith(lift)
  const level = lifted ? stored.level.slice(lift.length) : stored.level
  if (!isLevel(level)) throw new UnknownLevel(level)
  if (lifted) return Number.isNaN(stored.at) ? undefined : { level, target: stored.target, at: stored.at, until, lifted }
  return { level, target: stored.target, at: Number.isNaN(stored.at) ? Number.POSITIVE_INFINITY : stored.at, until }
}

/** The list of revocations holds what this version cannot put in force. */
export class UnknownLevel extends Unavailable {
  constructor(level: string) {
    super(
      `a revocation of the level ${JSON.stringify(level.slice(0, 64))} is in state, which this version does not know: expected ${revocationLevels.join(', ')}`,
    )
  }
}
