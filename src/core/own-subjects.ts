import { Deny, deny } from './reasons.ts'
import type { BearerValidator, EdgeValidator, Validator, Verdict } from './validator.ts'

/** What of a validator tells whose a subject is. */
export type SubjectGiver = Pick<Validator, 'name' | 'subjects'>

/**
 * A validator held to subjects that no other gives: one without a namespace could admit a token whose `sub` is
 * spelled as another's prefix and subject, and the same subject from two validators is two people.
 */
export function withOwnSubjects(validator: BearerValidator, all: readonly SubjectGiver[]): BearerValidator {
  const others = nested(validator, all)
  if (others.length === 0) return validator
  const judge = (verdict: Verdict): Verdict => notAnothers(verdict, others)
  return {
    ...validator,
    identify: (presentation) => {
      const verdict = validator.identify(presentation)
      return verdict instanceof Promise ? verdict.then(judge) : judge(verdict)
    },
  }
}

/** Those whose subjects begin with more than this one's own prefix, so that its subjects could be spelled as theirs. */
const nested = ({ subjects: own = '' }: SubjectGiver, all: readonly SubjectGiver[]): readonly SubjectGiver[] =>
  all.filter(({ subjects = '' }) => subjects.length > own.length && subjects.startsWith(own))

function notAnothers(verdict: Verdict, others: readonly SubjectGiver[]): Verdict {
  if (verdict === 'abstain' || verdict instanceof Deny) return verdict
  const other = others.find(({ subjects = '' }) => verdict.subject.startsWith(subjects))
  return other ? deny('invalid_credential', `the subject begins as those of validator ${other.name} do`) : verdict
}

/** The same for the headers of an edge. */
export function edgeWithOwnSubjects(validator: EdgeValidator, all: readonly Validator[]): EdgeValidator {
  const others = nested(validator, all)
  return others.length === 0
    ? validator
    : { ...validator, identify: (request, workload, now) => notAnothers(validator.identify(request, workload, now), others) }
}
