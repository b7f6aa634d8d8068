import type { Allow } from '../core/decision.ts'
import type { Authorized, Exchanged, Identified, Normalized, NotRevoked, Open, Owned, Received, Routed } from '../core/facts.ts'
import { chain, type Run, type Stage, type StageClock, timed, unless, watched } from './stage.ts'

/** All stages of a check; their types leave one order only. */
export interface Stages {
  readonly normalize: Stage<Received, Normalized>
  readonly route: Stage<Normalized, Routed>
  readonly identify: Stage<Routed, Identified>
  readonly revocation: Stage<Identified, NotRevoked>
  readonly authorize: Stage<NotRevoked, Authorized>
  readonly own: Stage<Authorized, Owned>
  readonly exchange: Stage<Owned, Exchanged>
  readonly respond: Stage<Exchanged | Open, Allow>
}

const isOpen = (state: Routed): state is Open => state.open

/** The order of a check. A public route skips identify to exchange. */
export function pipeline(stages: Stages, clock: StageClock): Run<Received, Allow> {
  const plain = ordered(stages, (stage) => watched(stage, clock.waited))
  const withTimes = ordered(stages, (stage) => timed(stage.name, watched(stage, clock.waited), clock.ran))
  return (state) => (clock.due() ? withTimes(state) : plain(state))
}

type Wrap = <In extends Received, Out>(stage: Stage<In, Out>) => Run<In, Out>

function ordered(stages: Stages, s: Wrap): Run<Received, Allow> {
  const known = chain(chain(chain(chain(s(stages.identify), s(stages.revocation)), s(stages.authorize)), s(stages.own)), s(stages.exchange))
  const routed = chain(s(stages.normalize), s(stages.route))
  return chain(chain(routed, unless(isOpen, known)), s(stages.respond))
}
