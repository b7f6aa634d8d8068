import type { Metrics } from '../adapters/metrics.ts'
import { countersOf, type MetricsSnapshot, pageOf, sumOf } from '../adapters/metrics-sum.ts'
import type { Crew } from './workers-crew.ts'
import type { Member } from './workers-member.ts'

/** What a worker is given to answer a scrape, in milliseconds. */
const answerMs = 1000

/**
 * Metrics of the primary whose page shows it and all its workers as one. A worker that does not answer in time is left
 * out and counted; its counters, and those of workers that have ended, go on with what they told last, since a
 * counter that goes back looks to Prometheus like one that began anew.
 * @param shown what of them stands on the page; all, unless given
 */
export function metricsOfAll(
  own: Metrics,
  crew: Pick<Crew, 'members'> | undefined,
  shown: (snapshot: MetricsSnapshot) => MetricsSnapshot = (all) => all,
): Metrics {
  if (!crew) return own
  const told = new Map<Member, MetricsSnapshot>()
  let ended: MetricsSnapshot = []
  let asking = 0

  /** Called between two pages, never during one: what was asked of a worker must not count again as that of one that has ended. */
  const bury = (): void => {
    const running = new Set(crew.members())
    for (const [member, last] of told) {
      if (running.has(member)) continue
      told.delete(member)
      ended = sumOf([ended, countersOf(last)])
    }
  }
  const ask = async (member: Member): Promise<MetricsSnapshot> => {
    const answer = await member.measure(answerMs)
    if (answer) {
      told.set(member, answer)
      return answer
    }
    own.workerSilent()
    return countersOf(told.get(member) ?? [])
  }
  const expose = async (): Promise<string> => {
    if (asking === 0) bury()
    // What had ended when this page began: a worker that ends meanwhile is on it by what it told.
    const before = ended
    asking += 1
    const members = crew.members()
    const gone = [...told.keys()].filter((member) => !members.includes(member)).map((member) => countersOf(told.get(member) ?? []))
    const answers = await Promise.all(members.map(ask)).finally(() => {
      asking -= 1
    })
    return pageOf([await own.snapshot(), ...answers, ...gone, before].map(shown))
  }
  return { ...own, expose }
}
