import { type ASTNode, Environment, type ParseError } from '@marcbachmann/cel-js'
import type { Condition } from '../core/route.ts'
import { ActorVariable, PrincipalVariable, RequestVariable, Variables, WorkloadVariable } from './condition-variables.ts'
import { regexFault } from './regex-safety.ts'

/** Why an expression is no condition; `offset` is where in the expression. */
export interface ConditionFault {
  readonly message: string
  readonly offset: number
}

const texts = 'map<string, string>'

/** What conditions can name, with types; without `resource` it tells which conditions read that. */
function environment(withResource: boolean): Environment {
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
  return withResource ? cel.registerVariable('resource', texts) : cel
}

/** Compiles the conditions of one policy. */
export class Conditions {
  readonly #all = environment(true)
  readonly #withoutResource = environment(false)

  /**
   * Parses and type-checks one CEL expression.
   * @returns the condition, or why it is none
   */
  compile(source: string): Condition | ConditionFault {
    const checked = this.#all.check(source)
    if (!checked.valid) return faultOf(checked.error)
    if (checked.type !== 'bool')
      return { message: `expected a condition that is true or false, found one of type ${checked.type}`, offset: 0 }
    const evaluate = this.#all.parse(source)
    const pattern = patternFault(evaluate.ast)
    if (pattern) return pattern
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

/** Patterns of `matches` are written out, and are none that take exponential time. */
function patternFault(node: ASTNode): ConditionFault | undefined {
  if (node.op === 'rcall' && node.args[0] === 'matches') {
    const pattern = node.args[2][0]
    if (pattern?.op !== 'value' || typeof pattern.args !== 'string')
      return { message: 'expected the pattern of matches() as a text in the condition itself', offset: pattern?.start ?? node.start }
    const fault = regexFault(pattern.args)
    if (fault) return { message: fault, offset: pattern.start }
  }
  return below(node.args).reduce<ConditionFault | undefined>((fault, child) => fault ?? patternFault(child), undefined)
}

const isNode = (value: unknown): value is ASTNode => typeof value === 'object' && value !== null && 'op' in value && 'args' in value

const below = (args: unknown): ASTNode[] => (isNode(args) ? [args] : Array.isArray(args) ? args.flatMap(below) : [])
