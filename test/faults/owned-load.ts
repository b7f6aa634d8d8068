import { setTimeout as sleep } from 'node:timers/promises'
import { type OwnedReplica, otherThan, type Person, people } from './owned.ts'

/** Milliseconds: after a change was acknowledged, so long a replica may answer as before; and what asking may add. */
const bound = 1000
const slack = 250
/** They change hands all the time. */
export const sandboxes: readonly string[] = Array.from({ length: 100 }, (_, i) => `s${i}`)
/** Asked of each replica at once. */
const atOnce = 12

/** Somebody is to be the owner: `acknowledged` where that was answered. Times are `performance.now()`. */
interface Change {
  readonly owner: Person
  readonly sent: number
  acknowledged: number | undefined
}

/** Checks and changes of owners, watched for an allow that should not have been. */
export interface OwnedLoad {
  /** Checks answered so far. */
  readonly count: () => number
  /** How often each answer came. */
  readonly answers: ReadonlyMap<string, number>
  /** Acknowledged changes, and those of which nobody knows. */
  readonly changes: () => { readonly acknowledged: number; readonly failed: number }
  /** Each a sentence. */
  readonly wrong: readonly string[]
  /** When a check was last refused because state could not be asked. */
  readonly lastUnavailable: () => number
  readonly stop: () => Promise<void>
  /** After `stop`: whether every replica knows each owner, as acknowledged last. */
  readonly settled: () => Promise<string[]>
}

/** Begins when every sandbox has an owner. */
export async function startOwnedLoad(replicas: readonly OwnedReplica[]): Promise<OwnedLoad> {
  const histories = new Map<string, Change[]>()
  const answers = new Map<string, number>()
  const wrong: string[] = []
  let count = 0
  let acknowledged = 0
  let failed = 0
  let lastUnavailable = 0
  let over = false

  const set = async (id: string, owner: Person, by: OwnedReplica): Promise<boolean> => {
    const change: Change = { owner, sent: performance.now(), acknowledged: undefined }
    histories.get(id)!.push(change)
    try {
      await by.admin.setOwner('sandbox', id, owner)
      change.acknowledged = performance.now()
      acknowledged += 1
      return true
    } catch {
      failed += 1
      return false
    }
  }
  const ownerOf = async (id: string, by: OwnedReplica): Promise<string | undefined> => {
    const answer = await by.admin.call('GET', `/v1/resources/sandbox/${id}/labels`)
    return answer.ok ? ((await answer.json()) as { owner?: string }).owner : undefined
  }

  /** Who may be the owner between two moments: whoever was acknowledged last, and whom anybody has asked for since. */
  const possible = (id: string, from: number, to: number): Set<Person> => {
    const found = new Set<Person>()
    for (const { owner, sent, acknowledged: done } of histories.get(id)!) {
      if (sent > to) continue
      if (done !== undefined && done <= from - bound - slack) found.clear()
      found.add(owner)
    }
    return found
  }

  const ids = sandboxes
  for (const id of ids) {
    histories.set(id, [])
    if (!(await set(id, 'alice', replicas[0]!))) throw new Error('the first owners cannot be written')
  }

  const asking = async ({ ask }: OwnedReplica): Promise<void> => {
    while (!over) {
      const id = ids[Math.floor(Math.random() * ids.length)]!
      const person = people[Math.floor(Math.random() * people.length)]!
      const sent = performance.now()
      const answer = await ask(person, id).catch(() => 'no answer')
      const done = performance.now()
      count += 1
      answers.set(answer, (answers.get(answer) ?? 0) + 1)
      if (answer.endsWith('_unavailable')) lastUnavailable = done
      if (answer === 'ok' && !possible(id, sent, done).has(person))
        wrong.push(`${person} was let in to ${id} at ${Math.round(sent)}: ${JSON.stringify(histories.get(id)!.slice(-4))}`)
      // One that is refused at once is not asked without end.
      if (answer === 'no answer') await sleep(5)
    }
  }
  const changing = async (offset: number): Promise<void> => {
    for (let i = offset; !over; i++) {
      const id = ids[(i * 4 + offset) % ids.length]!
      const by = replicas[i % replicas.length]!
      const last = histories.get(id)!.at(-1)!
      // After a change of which nobody knows: what is there is read, and changed.
      const now = last.acknowledged === undefined ? await ownerOf(id, by).catch(() => undefined) : last.owner
      if (now === undefined || !(await set(id, otherThan(now as Person), by))) await sleep(50)
      await sleep(5)
    }
  }
  // Each has its own sandboxes, so that the changes of one come one after the other.
  const running = Promise.all([
    ...replicas.flatMap((replica) => Array.from({ length: atOnce }, () => asking(replica))),
    ...[0, 1, 2, 3].map(changing),
  ])

  return {
    count: () => count,
    answers,
    changes: () => ({ acknowledged, failed }),
    wrong,
    lastUnavailable: () => lastUnavailable,
    stop: async () => {
      over = true
      await running
    },
    settled: async () => {
      const off: string[] = []
      for (const [id, history] of histories) {
        const last = history.at(-1)!
        if (last.acknowledged === undefined) continue
        for (const [n, { ask }] of replicas.entries()) {
          const [owner, other] = [await ask(last.owner, id), await ask(otherThan(last.owner), id)]
          if (owner !== 'ok' || other !== 'not_owner') off.push(`${id} of ${last.owner} on replica ${n}: ${owner}, ${other}`)
        }
      }
      return off
    },
  }
}
