import { isJsonObject, type Json } from '../core/json.ts'
import type { StoredRecord } from '../core/record-store.ts'
import { intentLife } from './capture.ts'
import { eventOf, type ProcessorNeeds } from './processor-needs.ts'

const pageSize = 200
/** Pages in one sweep: the rest waits for the next. */
const mostPages = 50
/** Seconds after which an intent that was left half ended is taken up again. */
const again = 60

const textOf = (value: Json | undefined): string | undefined => (typeof value === 'string' ? value : undefined)

/**
 * Ends the intents that nobody followed to their end: their replica died, or its stream to Envoy was never closed. What the
 * upstream made, if anything, nobody knows: that is audited, once, by the one of several replicas that gets the record.
 * @returns how many there were
 * @throws {Unavailable}
 */
export async function sweepIntents(
  needs: Pick<ProcessorNeeds, 'records' | 'audit' | 'following' | 'retries' | 'newId' | 'clock' | 'log' | 'policy' | 'count'>,
): Promise<number> {
  const { records } = needs
  // What became of them may be known here, and state did not take it until now.
  await needs.retries.turn()
  const now = Math.floor(needs.clock() / 1000)

  const end = async (one: StoredRecord): Promise<boolean> => {
    const { id, value } = one
    const follows = needs.following.has(id)
    const revision = await records.write('capture', { id, value, until: now + (follows ? intentLife : again) }, one.revision)
    if (revision === undefined || follows) return false
    const [actor, route, tenant] = [textOf(value['subject']), textOf(value['route']), textOf(value['tenant'])]
    const detail = {
      ...(route === undefined ? {} : { route }),
      ...(tenant === undefined ? {} : { tenant }),
      why: 'nobody followed the create to its end',
      id_known: false,
    }
    const told = {
      type: 'orphan',
      outcome: 'failure',
      reason: 'intent_expired',
      decisionId: id,
      target: textOf(value['resource']) ?? 'unknown',
      detail,
    } as const
    await needs.audit.commit(eventOf(needs, needs.policy().realm, actor === undefined ? told : { ...told, actor }))
    await records.remove('capture', id, revision)
    needs.count.captured('lost')
    needs.log.error({ decision_id: id, ...detail }, 'nobody knows what the upstream made')
    return true
  }

  let count = 0
  for (let page = 0; page < mostPages; page++) {
    const found = (await records.expired('capture', now, pageSize)).filter(({ value }) => isJsonObject(value))
    let ended = 0
    for (const one of found) if (await end(one)) ended++
    count += ended
    if (found.length < pageSize) break
  }
  return count
}
