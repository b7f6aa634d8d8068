import type { Redis } from 'ioredis'
import type { RedisLink } from './redis-link.ts'

/** What a Redis says of how it keeps what it was given. undefined: it does not tell us. */
export interface RedisFacts {
  /** Of this start of the server (`run_id`). */
  readonly run: string | undefined
  readonly role: string | undefined
  readonly appendonly: boolean | undefined
  readonly appendfsync: string | undefined
  /** `no-appendfsync-on-rewrite`. */
  readonly rewriteUnsynced: boolean | undefined
  /** `aof_last_write_status` is not `ok`. */
  readonly writeFailing: boolean
  /** Replicas that are connected. */
  readonly replicas: number | undefined
  /** `min-replicas-to-write`; 1 where it is only known that there is one. */
  readonly minReplicas: number | undefined
  /** Bytes; 0: no bound. */
  readonly maxmemory: number | undefined
  readonly maxmemoryPolicy: string | undefined
}

/** What is to be thought of it, for people. */
export interface DurabilityReport {
  /** `True`: what is acknowledged survives a crash of Redis and of its host, and a failover where there is a replica. */
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: 'Durable' | 'MayLoseWrites' | 'MayEvict' | 'NotTold'
  /** What is missing, a sentence each: what is, what follows, what was expected. */
  readonly missing: readonly string[]
  /** What cannot be known here, a sentence each. */
  readonly unknown: readonly string[]
  /** Why this Redis cannot be used at all: it would throw revocations away. */
  readonly refused: string | undefined
  /** Replicas that confirm each write before it is acknowledged. */
  readonly confirming: number
}

const sections = ['server', 'memory', 'persistence', 'replication'] as const
const settings = [
  'appendonly',
  'appendfsync',
  'no-appendfsync-on-rewrite',
  'min-replicas-to-write',
  'min-replicas-max-lag',
  'maxmemory',
  'maxmemory-policy',
] as const

const number = (text: string | undefined): number | undefined => (text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined)
const yes = (text: string | undefined): boolean | undefined => (text === undefined ? undefined : text === 'yes' || text === '1')

/**
 * Asks a Redis. An ACL user needs `+info +config|get`; where CONFIG is denied, as managed ones do, INFO tells most of it.
 * @throws what ioredis throws where no answer comes at all
 */
export async function askFacts(redis: Redis): Promise<RedisFacts> {
  const pipeline = redis.pipeline()
  for (const section of sections) pipeline.info(section)
  for (const setting of settings) pipeline.call('CONFIG', 'GET', setting)
  const replies = (await pipeline.exec()) ?? []
  const info = new Map<string, string>()
  for (const [, text] of replies.slice(0, sections.length))
    for (const line of String(text ?? '').split('\r\n')) {
      const colon = line.indexOf(':')
      if (colon > 0) info.set(line.slice(0, colon), line.slice(colon + 1))
    }
  const config = new Map<string, string>()
  for (const [, reply] of replies.slice(sections.length)) if (Array.isArray(reply) && reply.length === 2) config.set(reply[0], reply[1])
  // Told only where both the number and the lag are set (and both are needed for it to refuse a write).
  const bounded = number(config.get('min-replicas-max-lag')) !== 0
  const told = info.has('role') ? (info.has('min_slaves_good_slaves') ? 1 : 0) : undefined
  const wanted = number(config.get('min-replicas-to-write'))
  return {
    run: info.get('run_id'),
    role: info.get('role'),
    appendonly: yes(config.get('appendonly')) ?? yes(info.get('aof_enabled')),
    appendfsync: config.get('appendfsync'),
    rewriteUnsynced: yes(config.get('no-appendfsync-on-rewrite')),
    writeFailing: (info.get('aof_last_write_status') ?? 'ok') !== 'ok',
    replicas: number(info.get('connected_slaves')),
    minReplicas: wanted === undefined ? told : bounded ? wanted : 0,
    maxmemory: number(config.get('maxmemory') ?? info.get('maxmemory')),
    maxmemoryPolicy: config.get('maxmemory-policy') ?? info.get('maxmemory_policy'),
  }
}

/** What the facts mean for what is acknowledged: a revocation, a record, an event of the audit trail. */
export function judge(facts: RedisFacts): DurabilityReport {
  const missing: string[] = []
  const unknown: string[] = []
  const policy = facts.maxmemoryPolicy ?? ''
  const bounded = facts.maxmemory !== 0
  const evictsAll = facts.maxmemory !== undefined && bounded && policy.startsWith('allkeys-')
  const refused = evictsAll
    ? `maxmemory-policy is ${policy} with maxmemory ${facts.maxmemory}: Redis would throw revocations, signing keys and the audit trail away to make room; expected noeviction`
    : undefined
  if (refused !== undefined) missing.push(refused)
  // Only proofs of possession end by themselves (and labels, where a platform has them end).
  if (facts.maxmemory !== undefined && bounded && policy.startsWith('volatile-'))
    missing.push(
      `maxmemory-policy is ${policy}: Redis may forget proofs of possession that were seen, which could then be shown again; expected noeviction`,
    )
  if (facts.maxmemory === undefined || facts.maxmemoryPolicy === undefined) unknown.push('maxmemory-policy: expected noeviction')
  if (facts.role === 'slave') missing.push('this Redis is a replica, which takes no writes: expected the primary')
  if (facts.appendonly === false) missing.push('appendonly is no: writes are in memory only, and are lost when Redis ends; expected yes')
  else if (facts.appendonly === undefined) unknown.push('appendonly: expected yes')
  else if (facts.appendfsync === undefined) unknown.push('appendfsync: expected always')
  else if (facts.appendfsync !== 'always')
    missing.push(
      `appendfsync is ${facts.appendfsync}: a crash of the host loses ${facts.appendfsync === 'everysec' ? 'up to two seconds of' : 'any number of'} acknowledged writes; expected always`,
    )
  else if (facts.rewriteUnsynced === true)
    missing.push(
      'no-appendfsync-on-rewrite is yes: while the file is rewritten, a crash of the host loses acknowledged writes; expected no',
    )
  if (facts.writeFailing)
    missing.push('the append-only file cannot be written (aof_last_write_status): the disk of Redis is full or failing')
  if (facts.replicas === undefined || facts.minReplicas === undefined)
    unknown.push('min-replicas-to-write: expected 1 or more where a replica may take over')
  else if (facts.replicas > 0 && facts.minReplicas === 0)
    missing.push(
      `min-replicas-to-write (or min-replicas-max-lag) is 0 with ${facts.replicas} replica${facts.replicas === 1 ? '' : 's'}: a failover loses acknowledged writes that had not reached the one that takes over; expected 1 or more`,
    )
  const evicts = missing.some((sentence) => sentence.startsWith('maxmemory-policy'))
  const status = missing.length > 0 ? 'False' : unknown.length > 0 ? 'Unknown' : 'True'
  const reason = evicts ? 'MayEvict' : status === 'False' ? 'MayLoseWrites' : status === 'Unknown' ? 'NotTold' : 'Durable'
  return { status, reason, missing, unknown, refused, confirming: facts.minReplicas ?? 0 }
}

/** Before anybody was asked. */
export const notAsked: DurabilityReport = {
  status: 'Unknown',
  reason: 'NotTold',
  missing: [],
  unknown: ['Redis has not been asked yet'],
  refused: undefined,
  confirming: 0,
}

/** Keeps asking. */
export interface DurabilityWatch {
  readonly report: () => DurabilityReport
  /** Asks now: another server may be there than before. */
  readonly ask: () => void
  /** What the server of this session said. @throws {Unavailable} where it was not to be had */
  readonly facts: () => Promise<RedisFacts>
  readonly close: () => void
}

/**
 * @param changed told of each report that says something else than the one before
 * @param everyMs milliseconds between two questions
 */
export function watchDurability(
  link: Pick<RedisLink, 'run'>,
  changed?: (report: DurabilityReport) => void,
  everyMs = 60_000,
): DurabilityWatch {
  let report = notAsked
  let said = ''
  let facts!: Promise<RedisFacts>
  let failed = true
  let asked = 0

  const look = async (number: number): Promise<RedisFacts> => {
    const found = await link.run(askFacts)
    if (number !== asked) return found
    report = judge(found)
    const text = JSON.stringify(report)
    if (text !== said) changed?.(report)
    said = text
    return found
  }
  const ask = () => {
    facts = look(++asked)
    failed = false
    const number = asked
    // What is known stays: that state is away is told elsewhere.
    facts.catch(() => {
      if (number === asked) failed = true
    })
  }
  const timer = setInterval(ask, everyMs)
  timer.unref()
  return {
    report: () => report,
    ask,
    facts: () => {
      if (failed) ask()
      return facts
    },
    close: () => clearInterval(timer),
  }
}
