import type { Context } from './context.ts'
import { headersAlways } from './policy-facts.ts'
import type { Setting } from './setting.ts'

/**
 * Checks which headers Postern is shown.
 * @param allowed a `ListStringMatcher`; absent: all
 * @param disallowed a `ListStringMatcher` that wins over the other
 */
export function lintHeaderLists(allowed: Setting, disallowed: Setting, context: Context): void {
  const needed = context.policy?.headers ?? headersAlways
  const { tell } = context.findings
  if (allowed.present) {
    const missing = needed.filter((name) => !matches(allowed, name))
    if (missing.length > 0)
      tell(
        'ext-authz-allowed-headers',
        allowed,
        `Postern is not shown ${missing.join(', ')}`,
        `leave ${allowed.name} out: Postern is then shown all of them`,
      )
  }
  if (disallowed.present) {
    const hidden = needed.filter((name) => matches(disallowed, name))
    if (hidden.length > 0)
      tell(
        'ext-authz-disallowed-headers',
        disallowed,
        `Postern is not shown ${hidden.join(', ')}`,
        `leave ${disallowed.name} out, or these in it`,
      )
  }
}

/** As {@link lintHeaderLists}, where the list is one of names. */
export function lintHeaderNames(names: Setting, context: Context): void {
  if (!names.present) return
  const shown = names.texts.map((name) => name.toLowerCase())
  const missing = (context.policy?.headers ?? headersAlways).filter((name) => !shown.includes(name))
  if (missing.length > 0)
    context.findings.tell(
      'ext-authz-allowed-headers',
      names,
      `Postern is not shown ${missing.join(', ')}`,
      `leave ${names.name} out: Postern is then shown all of them`,
    )
}

function matches(list: Setting, name: string): boolean {
  return list.at('patterns').items.some((pattern) => {
    const fold = (text: string): string => (pattern.at('ignore_case').on ? text.toLowerCase() : text)
    const is = (kind: string, test: (text: string) => boolean): boolean => {
      const { text } = pattern.at(kind)
      return text !== undefined && test(fold(text))
    }
    return (
      is('exact', (text) => name === text) ||
      is('prefix', (text) => name.startsWith(text)) ||
      is('suffix', (text) => name.endsWith(text)) ||
      is('contains', (text) => name.includes(text)) ||
      matchesWhole(pattern.at('safe_regex', 'regex').text, name)
    )
  })
}

/** RE2 of a trusted file, on a header's name. One that this engine cannot read matches nothing. */
function matchesWhole(regex: string | undefined, name: string): boolean {
  if (regex === undefined || name.length > 256) return false
  try {
    return new RegExp(`^(?:${regex})$`).test(name)
  } catch {
    return false
  }
}
