import { type ASTNode, type Environment, EvaluationError, ParseError } from '@marcbachmann/cel-js'
import { type LinearPattern, linearPattern } from './linear-pattern.ts'

/** Characters; a longer text fails the condition. Few servers take header lines that are longer. */
const maxText = 16_384

/** What the library hands to a macro: the call as it was parsed. */
interface Call {
  readonly ast: ASTNode
  readonly args: readonly ASTNode[]
  readonly receiver: ASTNode | null
}

interface Checker {
  check(node: ASTNode, context: unknown): { readonly kind: string; readonly name: string }
  getType(name: string): unknown
  createError(code: string, message: string, node: ASTNode): Error
}

interface Evaluator {
  run(node: ASTNode, context: unknown): unknown
}

/**
 * Puts a `matches` in place of the library's own, which hands the pattern to a backtracking engine: a pattern of
 * RE2, compiled while the condition is parsed, found anywhere in the text (CEL, "Regular Expressions"). Both of CEL's
 * forms: `text.matches(pattern)` and `matches(text, pattern)`. The pattern must be a literal; a text that is none, or
 * too long, fails the evaluation.
 * @param patterns those already compiled, by source
 */
export function withLinearMatches(cel: Environment, patterns: Map<string, LinearPattern>): Environment {
  const patternOf = (node: ASTNode): LinearPattern => {
    if (node.op !== 'value' || typeof node.args !== 'string')
      throw fault('expected the pattern of matches() as a text in the condition itself', node)
    const known = patterns.get(node.args)
    if (known) return known
    const pattern = linearPattern(node.args)
    if (typeof pattern === 'string') throw fault(pattern, node)
    patterns.set(node.args, pattern)
    return pattern
  }
  const expand = ({ ast, args, receiver }: Call): object => {
    const [text, pattern] = receiver ? [receiver, args[0]!] : [args[0]!, args[1]!]
    const { find } = patternOf(pattern)
    return {
      async: false,
      typeCheck(checker: Checker, _: unknown, context: unknown): unknown {
        const type = checker.check(text, context)
        if (type.kind !== 'dyn' && type.name !== 'string')
          throw checker.createError('no_matching_overload', `expected a text for matches(), found ${type.name}`, text)
        return checker.getType('bool')
      },
      evaluate(evaluator: Evaluator, _: unknown, context: unknown): boolean {
        const value = evaluator.run(text, context)
        if (typeof value !== 'string') throw new EvaluationError('matches() was given what is no text', ast)
        if (value.length > maxText) throw new EvaluationError(`matches() was given more than ${maxText} characters`, ast)
        return find(value)
      },
    }
  }
  // Macros go by name and number of arguments, whatever their type: `list` is any but `string`, where a second
  // declaration beside the library's own would be refused.
  return cel.registerFunction('list.matches(ast): bool', expand).registerFunction('matches(ast, ast): bool', expand)
}

// Without a range, the library points into the middle of `a.b`.
const fault = (message: string, node: ASTNode): ParseError => new ParseError({ message, node, range: { start: node.start, end: node.end } })
