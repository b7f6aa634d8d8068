import type { Stage } from '../check/stage.ts'
import type { Allow } from '../core/decision.ts'
import { type Exchanged, factsOf, type Open } from '../core/facts.ts'
import { anonymous, identity } from '../core/header-edits.ts'

/** What an allowed request carries on; pure. */
export const respond: Stage<Exchanged | Open, Allow> = {
  name: 'respond',
  run: (state) => {
    const facts = factsOf(state)
    if ('principal' in state && state.principal) return { access: 'principal', mutations: identity(facts, state.principal) }
    return { access: 'public', mutations: anonymous(facts) }
  },
}
