import { Environment } from '@marcbachmann/cel-js'
import type { JsonObject } from '../core/json.ts'
import { withLinearMatches } from './condition-matches.ts'
import type { ConditionFault } from './conditions.ts'
import type { LinearPattern } from './linear-pattern.ts'

/** What `when` of a federation rule was compiled to. */
export interface ClaimCondition {
  /** @throws {EvaluationError} where the claims do not have what it reads: that is never a yes */
  readonly holds: (claims: JsonObject) => boolean
}

/** Compiles conditions on the claims of foreign tokens: CEL that can name `claims`, and nothing else. */
export class ClaimConditions {
  readonly #patterns = new Map<string, LinearPattern>()
  readonly #cel = withLinearMatches(
    new Environment({
      unlistedVariablesAreDyn: false,
      homogeneousAggregateLiterals: false,
      limits: { maxAstNodes: 500, maxDepth: 50 },
    }).registerVariable('claims', 'map<string, dyn>'),
    this.#patterns,
  )

  /** @returns the condition, or why it is none */
  compile(source: string): ClaimCondition | ConditionFault {
    const checked = this.#cel.check(source)
    if (!checked.valid) {
      const { error } = checked
      return { message: `not a condition: ${error?.summary ?? 'it cannot be parsed'}`, offset: error?.range?.start ?? 0 }
    }
    if (checked.type !== 'bool')
      return { message: `expected a condition that is true or false, found one of type ${checked.type}`, offset: 0 }
    const evaluate = this.#cel.parse(source)
    return { holds: (claims) => evaluate({ claims }) === true }
  }
}
