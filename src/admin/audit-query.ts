import { setImmediate as turn } from 'node:timers/promises'
import type { SealedEvent } from '../core/audit-chain.ts'
import { labelOf } from '../core/audit-chain.ts'
import { type AuditLine, type AuditLogName, type AuditReader, auditLogs } from '../core/audit-log.ts'
import { type JsonObject, readJsonObject } from '../core/json.ts'

/** Which events are asked for; what is absent is not looked at. */
export interface AuditQuery {
  readonly type?: string | undefined
  readonly outcome?: string | undefined
  /** Who did it, whom it was done to, or of whom the detail speaks. */
  readonly agent?: string | undefined
  /** Milliseconds since the epoch. */
  readonly since?: number | undefined
  readonly limit: number
}

/** Where the next page begins: in each log after this line; null: nothing more of this log. */
type Place = { readonly [log in AuditLogName]: string | null | undefined }

export interface AuditPage {
  /** Newest first, as stored. */
  readonly events: readonly JsonObject[]
  /** Absent: that was all. A page may be short of its limit, and even empty, and still go on: each looks at so many lines and no more. */
  readonly next: string | undefined
}

/** Lines that one call looks at. */
const mostLooked = 20_000
const pageSize = 500
/** So many lines in a row before `since`, and none after it is expected: events are stored late where state was down. */
const mostOlder = 1000

const cursorOf = (place: Place): string =>
  Buffer.from(
    JSON.stringify([place.events ?? null, place.decisions ?? null, auditLogs.filter((log) => place[log] === undefined)]),
  ).toString('base64url')

/** @returns undefined where it is no cursor of ours */
export function readCursor(text: string): Place | undefined {
  try {
    const [events, decisions, unread] = JSON.parse(Buffer.from(text, 'base64url').toString()) as unknown[]
    const isPlace = (value: unknown): value is string | null =>
      value === null || (typeof value === 'string' && /^\d{1,20}(-\d{1,20})?$/.test(value))
    if (!isPlace(events) || !isPlace(decisions) || !Array.isArray(unread)) return undefined
    return {
      events: unread.includes('events') ? undefined : events,
      decisions: unread.includes('decisions') ? undefined : decisions,
    }
  } catch {
    return undefined
  }
}

/** One log, read from its newest line on. */
interface Backward {
  readonly log: AuditLogName
  at: string | null | undefined
  lines: readonly AuditLine[]
  next: number
  older: number
}

/** A page of events of both logs, newest first. @throws {Unavailable} */
export async function findEvents(audit: Pick<AuditReader, 'read'>, query: AuditQuery, from: Place | undefined): Promise<AuditPage> {
  const wanted =
    query.type === undefined || query.type.startsWith('audit_') ? auditLogs : [query.type === 'decision' ? 'decisions' : 'events']
  const logs = auditLogs.map((log): Backward => {
    const at = from ? from[log] : undefined
    return { log, at: wanted.includes(log) ? at : null, lines: [], next: 0, older: 0 }
  })
  const asked = createFilter(query)
  const found = new Map<string, JsonObject>()

  const head = async (each: Backward): Promise<AuditLine | undefined> => {
    if (each.at !== null && each.next === each.lines.length) {
      each.lines = await audit.read(each.log, { limit: pageSize, newestFirst: true, after: each.at })
      each.next = 0
      if (each.lines.length === 0) each.at = null
      await turn()
    }
    return each.at === null ? undefined : each.lines[each.next]
  }
  for (let looked = 0; looked < mostLooked && found.size < query.limit; looked++) {
    const heads = await Promise.all(logs.map(head))
    const times = heads.map((line) => (line ? labelOf(line.text).time : ''))
    const which = heads[0] && (!heads[1] || times[0]! >= times[1]!) ? 0 : 1
    const [line, each] = [heads[which], logs[which]!]
    if (!line) break
    each.at = line.cursor
    each.next++
    if (query.since !== undefined && Date.parse(times[which]!) < query.since) {
      if (++each.older >= mostOlder) each.at = null
      continue
    }
    each.older = 0
    const event = asked(line.text)
    const id = String(event?.['id'])
    if (event && !found.has(id)) found.set(id, event)
  }
  // A log that ends just here is known to, so that the last page has no cursor.
  const rest = await Promise.all(logs.map(head))
  const place: Place = { events: logs[0]!.at, decisions: logs[1]!.at }
  return { events: [...found.values()], next: rest.some((line) => line !== undefined) ? cursorOf(place) : undefined }
}

/** Whether a line holds an event that is asked for: most are passed over without being parsed. */
function createFilter({ type, outcome, agent }: AuditQuery): (text: string) => JsonObject | undefined {
  const marks = [
    ...(type === undefined ? [] : [`"type":"${type}"`]),
    ...(outcome === undefined ? [] : [`"outcome":"${outcome}"`]),
    ...(agent === undefined ? [] : [JSON.stringify(agent)]),
  ]
  return (text) => {
    if (!marks.every((mark) => text.includes(mark))) return undefined
    const event = readJsonObject(text)
    if (!event || (type !== undefined && event['type'] !== type) || (outcome !== undefined && event['outcome'] !== outcome))
      return undefined
    return agent === undefined || speaksOf(event as unknown as SealedEvent, agent) ? event : undefined
  }
}

const speaksOf = ({ actor, target, detail }: SealedEvent, agent: string): boolean =>
  actor === agent || target === agent || ['agent_id', 'subject', 'actor'].some((name) => detail?.[name] === agent)
