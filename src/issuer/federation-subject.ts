import type { Json, JsonObject } from '../core/json.ts'

/** What a subject is made of: a text, then claims, each with the text behind it. */
export interface SubjectParts {
  readonly first: string
  readonly holes: readonly { readonly claim: string; readonly then: string }[]
}

export interface SubjectRules {
  /** The value of the claim that a hole names. */
  readonly claimAt: (claims: JsonObject, path: string) => Json | undefined
  /** Subjects that begin so are somebody else's: operators, agents. */
  readonly reserved: readonly string[]
}

/** As long as subjects of other validators may be. */
const maxLength = 1024
/** Control and format characters (white space beyond the plain one among them), lone surrogates, and what is not assigned. */
const invisible = /[\p{C}\p{Zl}\p{Zp}]/u

/**
 * Fills a template with claims. Two workloads whose claims differ never come to the same subject: where a text follows a
 * claim and then another one, that text ends the claim, so that the claim must not hold it.
 * @returns the subject, or in `fault` why there is none, which names claims and never shows their values
 */
export function fillSubject(
  { first, holes }: SubjectParts,
  claims: JsonObject,
  { claimAt, reserved }: SubjectRules,
): { readonly subject: string } | { readonly fault: string } {
  let subject = first
  for (const [i, { claim, then }] of holes.entries()) {
    const value = textOf(claimAt(claims, claim))
    if (value === undefined) return { fault: `the claim ${claim} is missing, or is no text or whole number` }
    if (invisible.test(value)) return { fault: `the claim ${claim} holds control or invisible characters` }
    // Also where its end and the text together hold it earlier ("a:" before "::").
    if (i < holes.length - 1 && (value + then).indexOf(then) !== value.length)
      return { fault: `the claim ${claim} holds "${then}", which ends it in the subject` }
    subject += value + then
    if (subject.length > maxLength) return { fault: `the subject is longer than ${maxLength} characters` }
  }
  if (reserved.some((prefix) => subject.startsWith(prefix))) return { fault: 'the subject is one of operators or agents' }
  return { subject }
}

/** A text that is not empty, or a whole number that has one spelling. */
const textOf = (value: Json | undefined): string | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : typeof value === 'string' && value !== '' ? value : undefined
