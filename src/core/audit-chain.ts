import { hash } from 'node:crypto'
import type { AuditEvent } from './audit-event.ts'
import type { AuditLogName } from './audit-log.ts'
import type { Json } from './json.ts'

// docs/reference/audit.md describes this format for those who verify a trail without this program.

/** What the first link follows where nothing came before it. */
export const noHash = '0'.repeat(64)

/** The place of an event in its chain. */
export interface ChainPlace {
  /** Names the chain: each process begins one of its own for each log, and another where it cannot know what was written. */
  readonly boot: string
  readonly log: AuditLogName
  /** Hash of the link before; of the first one in a chain, that of the link it resumes from. */
  readonly prev: string
  /** From 1 up. */
  readonly seq: number
}

/** The member `chain` of a stored event. */
export interface ChainLink extends ChainPlace {
  /** SHA-256 of the canonical event with its place, hexadecimal. */
  readonly hash: string
}

/** An event as stored. */
export interface SealedEvent extends AuditEvent {
  readonly chain: ChainLink
}

const quoted = (text: string): string => JSON.stringify(text.isWellFormed() ? text : text.toWellFormed())

/**
 * The canonical JSON of a value (RFC 8785): members in the order of their UTF-16 code units, no white space, numbers and strings
 * as ECMAScript writes them. A lone surrogate, which has no UTF-8, becomes U+FFFD.
 */
export function canonical(value: Json | undefined): string {
  if (typeof value === 'string') return quoted(value)
  if (typeof value === 'bigint') return quoted(String(value))
  // What is no JSON is null, as in a list: one odd member must not keep the events after it from being written.
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(canonical).join(',')}]`
  return `{${membersOf(value as Readonly<Record<string, Json | undefined>>).join(',')}}`
}

function membersOf(object: Readonly<Record<string, Json | undefined>>): string[] {
  const names = Object.keys(object)
  if (!names.every((name) => name.isWellFormed())) return wellFormed(object).map(([name, value]) => `${quoted(name)}:${canonical(value)}`)
  const members: string[] = []
  for (const name of names.sort()) {
    const value = object[name]
    if (value !== undefined) members.push(`${quoted(name)}:${canonical(value)}`)
  }
  return members
}

/** Names as they will be read: they sort as that, and of those that become the same the last one counts. */
function wellFormed(object: Readonly<Record<string, Json | undefined>>): [string, Json][] {
  const members = new Map<string, Json>()
  for (const [name, value] of Object.entries(object)) if (value !== undefined) members.set(name.toWellFormed(), value)
  return [...members].sort(([a], [b]) => (a < b ? -1 : 1))
}

/**
 * Gives an event its place in a chain.
 * @returns the line to be stored, and the hash that the next link follows
 */
export function seal(event: AuditEvent, { boot, log, prev, seq }: ChainPlace): { readonly text: string; readonly hash: string } {
  const members = membersOf(event as unknown as Readonly<Record<string, Json | undefined>>)
  // `chain` stands where its name sorts to: `actor` alone comes before it.
  const after = members.findIndex((member) => member > '"chain"')
  const at = after < 0 ? members.length : after
  const begin = `{${members
    .slice(0, at)
    .map((member) => `${member},`)
    .join('')}"chain":{"boot":"${boot}",`
  const end = `"log":"${log}","prev":"${prev}","seq":${seq}}${members
    .slice(at)
    .map((member) => `,${member}`)
    .join('')}}`
  const sum = hash('sha256', begin + end)
  return { text: `${begin}"hash":"${sum}",${end}`, hash: sum }
}

/** What a stored line says of itself, without a look at whether it is true. */
export interface LineLabel {
  readonly link: { readonly boot: string; readonly seq: number; readonly hash: string } | undefined
  readonly time: string
  readonly type: string
}

const linkPattern = /"chain":\{"boot":"([^"]*)","hash":"([0-9a-f]{64})","log":"[a-z]*","prev":"[0-9a-f]{64}","seq":(\d{1,16})\}/
const endPattern = /"time":"([^"]*)","type":"([a-z_]*)"\}$/

/** Reads the label of a line, mostly without parsing it: retention passes over many. */
export function labelOf(text: string): LineLabel {
  const end = endPattern.exec(text)
  const link = end && linkPattern.exec(text)
  if (end && link) return { link: { boot: link[1]!, hash: link[2]!, seq: Number(link[3]) }, time: end[1]!, type: end[2]! }
  try {
    const { time, type } = JSON.parse(text) as Partial<AuditEvent>
    return { link: undefined, time: String(time ?? ''), type: String(type ?? '') }
  } catch {
    return { link: undefined, time: '', type: '' }
  }
}

/** An event as it was before it was stored. @returns undefined where the line holds none */
export function eventOf(text: string): AuditEvent | undefined {
  try {
    const { chain, ...event } = JSON.parse(text) as SealedEvent
    return typeof event.id === 'string' ? event : undefined
  } catch {
    return undefined
  }
}
