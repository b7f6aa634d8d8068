/** One segment of a path template. */
export type TemplateSegment =
  | { readonly kind: 'static'; readonly text: string }
  | { readonly kind: 'param'; readonly name: string }
  | { readonly kind: 'star' }
  | { readonly kind: 'rest' }

const paramName = /^[A-Za-z_][A-Za-z0-9_-]*$/
const staticText = /^[A-Za-z0-9._~!$&'()+,=:@-]+$/

/**
 * Reads a path template: `/v1/sandboxes/{id}/**`. A parameter or wildcard is a whole segment, `**` the last;
 * a trailing slash is a segment of its own (empty), since `/x/` is not `/x`.
 * @returns the segments, or a sentence that says what is wrong and what was expected
 */
export function parseTemplate(path: string): readonly TemplateSegment[] | string {
  if (!path.startsWith('/')) return 'a path begins with "/"'
  if (path === '/') return []
  const parts = path.slice(1).split('/')
  const segments: TemplateSegment[] = []
  const names = new Set<string>()
  for (const [i, part] of parts.entries()) {
    const last = i === parts.length - 1
    if (part === '**') {
      if (!last) return '"**" is the last segment of a path'
      segments.push({ kind: 'rest' })
    } else if (part === '*') {
      segments.push({ kind: 'star' })
    } else if (part.startsWith('{') && part.endsWith('}')) {
      const name = part.slice(1, -1)
      if (!paramName.test(name)) return `"{${name}}" is no parameter name: letters, digits, "_" and "-", not beginning with a digit`
      if (names.has(name)) return `the parameter "{${name}}" occurs twice`
      names.add(name)
      segments.push({ kind: 'param', name })
    } else if (part === '' && last) {
      segments.push({ kind: 'static', text: '' })
    } else if (part === '.' || part === '..' || !staticText.test(part)) {
      return part === ''
        ? 'empty segments are never matched: write one "/"'
        : `"${part}" is no segment: a parameter or wildcard is a whole one, and what needs percent-encoding or is refused in requests cannot stand in a template`
    } else {
      segments.push({ kind: 'static', text: part })
    }
  }
  return segments
}

/** Names of a template's parameters, from left to right. */
export const templateParams = (segments: readonly TemplateSegment[]): string[] =>
  segments.flatMap((segment) => (segment.kind === 'param' ? [segment.name] : []))
