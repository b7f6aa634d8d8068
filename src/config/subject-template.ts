/** What a federation rule makes of claims: a text, then claims, each with the text behind it. */
export interface SubjectTemplate {
  readonly first: string
  readonly holes: readonly SubjectHole[]
}

export interface SubjectHole {
  /** A claim, claims joined by dots, or a JSON pointer (RFC 6901). */
  readonly claim: string
  /** The text behind it, up to the next hole or the end. */
  readonly then: string
}

/** Why a text is no template; `offset` is where in it, in UTF-16 units. */
export interface TemplateFault {
  readonly message: string
  readonly offset: number
}

const hole = /\{([^{}]*)\}/g

/**
 * Reads a template such as `github:{repository}`. Between two holes there must be a text, by which they are told apart in
 * what comes of it.
 */
export function parseSubjectTemplate(text: string): SubjectTemplate | TemplateFault {
  const found = [...text.matchAll(hole)]
  const holes: SubjectHole[] = []
  const stray = /[{}]/.exec(text.replaceAll(hole, (whole) => ' '.repeat(whole.length)))
  if (stray) return { message: `this "${stray[0]}" belongs to no claim: expected {name}`, offset: stray.index }
  for (const [i, match] of found.entries()) {
    const [whole, claim = ''] = match
    if (!isClaimPath(claim)) {
      const expected = 'expected the name of a claim, names joined by dots, or a JSON pointer, such as {repository}'
      return { message: `"${whole}" names no claim: ${expected}`, offset: match.index }
    }
    const end = match.index + whole.length
    const next = found[i + 1]
    const then = text.slice(end, next?.index)
    if (next && then === '') {
      const message = `"${whole}${next[0]}" could hold the same for two workloads: expected a text between them, such as "${whole}:${next[0]}"`
      return { message, offset: match.index }
    }
    holes.push({ claim, then })
  }
  return { first: text.slice(0, found[0]?.index), holes }
}

const isClaimPath = (claim: string): boolean =>
  claim.startsWith('/') ? !/~(?![01])/.test(claim) && claim.length > 1 : claim !== '' && claim === claim.trim()
