import { escapeAll, percentDecode } from './percent.ts'

/** With whom a resource is shared, beside its owner. The value is true where they may write too. */
export interface SharedWith {
  readonly subjects: ReadonlyMap<string, boolean>
  readonly roles: ReadonlyMap<string, boolean>
  readonly groups: ReadonlyMap<string, boolean>
}

/** One of those that a resource is shared with. */
export interface Share {
  readonly kind: 'subject' | 'role' | 'group'
  readonly name: string
  readonly write: boolean
}

export const sharedWithNobody: SharedWith = { subjects: new Map(), roles: new Map(), groups: new Map() }

/** Characters of a whole list. What is longer shares nothing, as nobody knows what of it was meant. */
const maxLength = 16_384

// Kind and right are read as they stand, before anything is decoded: an escaped colon is part of a name.
const element = /^(role:|group:)?([!-+\--:<-~]+)(;write)?$/

/**
 * Reads the label that shares a resource: elements joined with `,`, each a subject, `role:NAME` or `group:NAME`, percent-encoded,
 * and `;write` behind it where they may write too. What is none of these shares nothing.
 */
export function parseSharedWith(text: string): SharedWith {
  if (text === '' || text.length > maxLength) return sharedWithNobody
  const shared = { subjects: new Map<string, boolean>(), roles: new Map<string, boolean>(), groups: new Map<string, boolean>() }
  for (const part of text.split(',')) {
    const [, kind, name = '', write] = element.exec(part) ?? []
    const decoded = percentDecode(name)
    // A kind without a name would pass for a subject that is called so.
    if (decoded === undefined || decoded === '' || /^(?:role|group):(?:;write)?$/.test(part)) continue
    const of = kind === undefined ? shared.subjects : kind === 'role:' ? shared.roles : shared.groups
    of.set(decoded, write !== undefined || of.get(decoded) === true)
  }
  return shared
}

/** The label's text, which {@link parseSharedWith} reads back. */
export const sharedWithText = (shares: readonly Share[]): string =>
  shares
    .map(({ kind, name, write }) => {
      const escaped = escapeAll(name, /[^!-$&-+\--:<-~]/gu)
      // A subject that begins like a kind is none.
      const whole = kind === 'subject' ? escaped.replace(/^(role|group):/, '$1%3A') : `${kind}:${escaped}`
      return write ? `${whole};write` : whole
    })
    .join(',')
