import { Unavailable } from '../core/ports.ts'
import { type Confirmation, createConfirmation } from './redis-confirm.ts'
import { type DurabilityReport, type DurabilityWatch, notAsked, type RedisFacts, watchDurability } from './redis-durability.ts'
import type { RedisLink, RedisNode } from './redis-link.ts'

type Facts = Pick<RedisFacts, 'run' | 'minReplicas'>

/** What is known of one server, and how its replicas are waited for. */
interface Kept {
  readonly node: RedisNode
  readonly watch: DurabilityWatch
  readonly confirmation: Confirmation
}

/** How all servers of a state keep what they are given. */
export interface Keeping {
  readonly report: () => DurabilityReport
  /** Asks all of them now. Resolves when they have answered, or have not. */
  readonly ask: () => Promise<void>
  /**
   * A write that has happened when it resolves, and is with as many replicas as its server was told to have (`min-replicas-to-write`).
   * @param keysOf the keys that it concerns; absent: those of all that is not labels
   */
  readonly confirmed: <A extends readonly unknown[], T>(
    write: (...asked: A) => Promise<T>,
    keysOf?: (...asked: A) => readonly string[],
  ) => (...asked: A) => Promise<T>
  readonly close: () => void
}

/**
 * @param prefix how keys begin that are written to be confirmed
 * @param changed told of each report that says something else than the one before
 */
export function watchKeeping(link: RedisLink, prefix: string, changed?: (report: DurabilityReport) => void): Keeping {
  const kept = new Map<RedisNode, Kept>()
  let said = ''

  const report = () => joined([...known().values()])
  const tell = () => {
    const now = report()
    const text = JSON.stringify(now)
    if (text !== said) changed?.(now)
    said = text
  }
  const end = ({ watch, confirmation }: Kept) => {
    watch.close()
    confirmation.close()
  }
  const of = (node: RedisNode): Kept => {
    const found = kept.get(node)
    if (found !== undefined) return found
    const made = { node, watch: watchDurability(node, tell), confirmation: createConfirmation(node, prefix) }
    kept.set(node, made)
    return made
  }
  /** Those that are there now, and no other. */
  const known = (): ReadonlyMap<RedisNode, Kept> => {
    const nodes = new Set(link.nodes())
    for (const [node, one] of kept) {
      if (nodes.has(node)) continue
      kept.delete(node)
      end(one)
    }
    for (const node of nodes) of(node)
    return kept
  }

  async function serversOf(keys: readonly (string | undefined)[]): Promise<ReadonlyMap<Kept, Facts>> {
    const nodes = new Set(keys.flatMap((key) => link.nodesOf(key)))
    if (nodes.size === 0) throw new Unavailable(link.fault() ?? 'no server of Redis is known yet')
    return new Map(await Promise.all([...nodes].map(async (node): Promise<[Kept, Facts]> => [of(node), await of(node).watch.facts()])))
  }

  return {
    report,
    ask: async () => {
      await Promise.allSettled(
        [...known().values()].map(({ watch }) => {
          watch.ask()
          return watch.facts()
        }),
      )
    },
    confirmed:
      (write, keysOf = () => []) =>
      async (...asked) => {
        const given = keysOf(...asked)
        const keys = given.length === 0 ? [undefined] : given
        const before = await serversOf(keys)
        const result = await write(...asked)
        const after = await serversOf(keys)
        const there = link.nodes()
        for (const [one, { run }] of before) {
          const now = after.get(one)
          // A server that gave its slots away is still there; one that another took the place of may have lost what it was given.
          if (now === undefined ? !there.includes(one.node) : now.run !== run)
            throw new Unavailable('Redis became another server while it was written to: what was written may be lost')
        }
        await Promise.all([...after].map(([one, { run, minReplicas = 0 }]) => one.confirmation.wait({ run, replicas: minReplicas })))
        return result
      },
    close: () => {
      for (const one of kept.values()) end(one)
      kept.clear()
    },
  }
}

/** What all of them say: each sentence with the address of its server, and no better than the worst. */
function joined(all: readonly Kept[]): DurabilityReport {
  const [first, ...others] = all
  if (first === undefined) return notAsked
  if (others.length === 0) return first.watch.report()
  const reports = all.map(({ node, watch }) => ({ at: node.address(), ...watch.report() }))
  const named = (sentences: 'missing' | 'unknown') => reports.flatMap((one) => one[sentences].map((sentence) => `${one.at}: ${sentence}`))
  const [missing, unknown] = [named('missing'), named('unknown')]
  const refusing = reports.find(({ refused }) => refused !== undefined)
  const worst = (['MayEvict', 'MayLoseWrites', 'NotTold'] as const).find((reason) => reports.some((one) => one.reason === reason))
  return {
    status: missing.length > 0 ? 'False' : unknown.length > 0 ? 'Unknown' : 'True',
    reason: worst ?? 'Durable',
    missing,
    unknown,
    refused: refusing && `${refusing.at}: ${refusing.refused}`,
    confirming: Math.min(...reports.map(({ confirming }) => confirming)),
  }
}
