import { RE2JS, RE2JSException, RE2JSSyntaxException } from 're2js'

/** A regular expression that takes time in proportion to the text, whatever the text. */
export interface LinearPattern {
  /** Whether it matches anywhere in the text. */
  readonly find: (text: string) => boolean
  /** Whether it matches the text from its beginning to its end. */
  readonly matchesWhole: (text: string) => boolean
}

/**
 * Instructions that a pattern may compile to. A character of the text can cost a step for each, and `[a-z]{1,512}`,
 * which has 1,026, is about what an id may need.
 */
const maxInstructions = 1100

/**
 * Compiles a regular expression in the syntax of RE2, with the engine's own guarantee against backtracking.
 * @returns the pattern, or a sentence on why it is none
 */
export function linearPattern(source: string): LinearPattern | string {
  let compiled: RE2JS
  try {
    compiled = RE2JS.compile(source)
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error
    return `expected a regular expression in the syntax of RE2, which has no look-around and no back references: ${reason(error)}`
  }
  if (compiled.programSize() > maxInstructions)
    return `expected a smaller regular expression: its repetitions, written out, are ${compiled.programSize()} steps, over ${maxInstructions}`
  return {
    find: (text) => compiled.test(text),
    matchesWhole: (text) => compiled.testExact(text),
  }
}

function reason(error: RE2JSException): string {
  if (!(error instanceof RE2JSSyntaxException)) return error.message
  const where = error.getPattern()
  return where ? `${error.getDescription()} at ${where}` : error.getDescription()
}
