import type { AuditEvent } from '../core/audit-event.ts'

/** RFC 3339 in UTC and UUIDv7 both sort as text. */
const before = (a: AuditEvent, b: AuditEvent): boolean => (a.time === b.time ? a.id < b.id : a.time < b.time)

/**
 * Joins the two logs of a trail, by time and id; each keeps the order in which it was written. Of events with the
 * same id the first counts: a batch whose answer was lost may be written again.
 * @param limit the newest so many are returned, newest last
 */
export function newestOf(decisions: readonly AuditEvent[], others: readonly AuditEvent[], limit: number): readonly AuditEvent[] {
  if (limit <= 0) return []
  const events = new Map<string, AuditEvent>()
  const take = (event: AuditEvent) => {
    if (!events.has(event.id)) events.set(event.id, event)
  }
  let next = 0
  for (const decision of decisions) {
    for (let other = others[next]; other !== undefined && before(other, decision); other = others[++next]) take(other)
    take(decision)
  }
  for (const other of others.slice(next)) take(other)
  return [...events.values()].slice(-limit)
}
