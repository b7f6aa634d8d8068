import { Environment, type ParseError } from '@marcbachmann/cel-js'
import type { Condition } from '../core/route.ts'
import { withLinearMatches } from './condition-matches.ts'
import { ActorVariable, PrincipalVariable, RequestVariable, Variables, WorkloadVariable } from './condition-variables.ts'
import type { LinearPattern } from './linear-pattern.ts'

/** Why an expression is no condition; `offset` is where in the expression. */
export interface ConditionFault {
  readonly message: string
  readonly offset: number
}

const texts = 'map<string, string>'

/** What conditions can name, with types; without `resource` it tells which conditions read that. */
function environment(withResource: boolean, patterns: Map<string, LinearPattern>): Environment {
  const cel = new Environment({
    unlistedVariablesAreDyn: false,
    homogeneousAggregateLiterals: false,
    limits: { maxAstNodes: 500, maxDepth: 50 },
  })
    .registerType('Request', {
      ctor: RequestVariable,
      fields: { method: 'string', host: 'string', path: 'string', headers: texts, query: texts },
    })
    .registerType('Actor', { ctor: ActorVariable, fields: { subject: 'string', issuer: 'string', actor: 'dyn' } })
    .registerType('Principal', {
      ctor: PrincipalVariable,
      fields: {
        subject: 'string',
        issuer: 'string',
        validator: 'string',
        roles: 'list<string>',
        scopes: 'list<string>',
        claims: 'map<string, dyn>',
        token_id: 'string',
        end_user: 'string',
        actor: 'Actor',
      },
    })
    .registerType('Workload', { ctor: WorkloadVariable, fields: { id: 'string', trust_domain: 'string' } })
    .registerVariable('request', 'Request')
    .registerVariable('principal', 'Principal')
    .registerVariable('workload', 'Workload')
    .registerVariable('params', texts)
    .registerVariable('now', 'google.protobuf.Timestamp')
  withLinearMatches(cel, patterns)
  return withResource ? cel.registerVariable('resource', texts) : cel
}

/** Compiles the conditions of one policy. */
export class Conditions {
  readonly #patterns = new Map<string, LinearPattern>()
  readonly #all = environment(true, this.#patterns)
  readonly #withoutResource = environment(false, this.#patterns)
  readonly #known = new Map<string, Condition | ConditionFault>()

  /**
   * Parses and type-checks one CEL expression.
   * @returns the condition, or why it is none
   */
  compile(source: string): Condition | ConditionFault {
    const known = this.#known.get(source) ?? this.#compile(source)
    this.#known.set(source, known)
    return known
  }

  #compile(source: string): Condition | ConditionFault {
    const checked = this.#all.check(source)
    if (!checked.valid) return faultOf(checked.error)
    if (checked.type !== 'bool')
      return { message: `expected a condition that is true or false, found one of type ${checked.type}`, offset: 0 }
    const evaluate = this.#all.parse(source)
    return {
      source,
      readsResource: !this.#withoutResource.check(source).valid,
      holds: (facts) => evaluate(new Variables(facts)) === true,
    }
  }
}

function faultOf(error: Pick<ParseError, 'summary' | 'range'> | undefined): ConditionFault {
  return { message: `not a condition: ${error?.summary ?? 'it cannot be parsed'}`, offset: error?.range?.start ?? 0 }
}
