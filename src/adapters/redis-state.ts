import type { Redis } from 'ioredis'
import type { State } from '../core/ports.ts'
import { createAuditState } from './audit-state.ts'
import { createChanges } from './changes.ts'
import { redisApiKeys } from './redis-api-keys.ts'
import { redisAudit } from './redis-audit.ts'
import { type Confirmation, confirmed, createConfirmation } from './redis-confirm.ts'
import { type DurabilityReport, watchDurability } from './redis-durability.ts'
import { redisKeys } from './redis-keys.ts'
import { redisLabels } from './redis-labels.ts'
import { createRedisLink } from './redis-link.ts'
import { addressOf, type RedisPlace } from './redis-options.ts'
import { redisRecords } from './redis-records.ts'
import { redisReplays } from './redis-replays.ts'
import { redisRevocations } from './redis-revocations.ts'
import { demandPrimary } from './redis-role.ts'
import { redisSecrets } from './redis-shared-secret.ts'
import { checkRealm, StateRefused } from './state-refused.ts'

export interface RedisStateOptions {
  readonly place: RedisPlace
  readonly realm: string
  /** Told when Redis begins to fail, and with undefined when it answers again. */
  readonly onFault?: (fault: string | undefined) => void
  /** Of this program, for the audit trail. */
  readonly version?: string | undefined
  /** Told when what is known of how Redis keeps what is written changes. */
  readonly onDurability?: (report: DurabilityReport) => void
}

/** State in Redis. */
export interface RedisState extends State {
  /** How it keeps what is written, as known now. */
  readonly durability: () => DurabilityReport
}

/**
 * State that replicas share. Opens whether or not Redis is there (`fault` says why not), and recovers by itself.
 * Label changes are told of the resources that this handle has read; revocations, keys and API keys always.
 *
 * An ACL user needs, beside what redis-link.ts names: `~postern:<realm>:* +get +set +hgetall +hset +hmget +hdel +hvals +hlen +hexists +del +multi
 * +exec +eval +exists +xadd +xrange +xrevrange +xdel +xlen +xtrim +hget +hscan +zadd +zrem +zrange`.
 *
 * What is acknowledged is confirmed by as many replicas as `min-replicas-to-write` names; `+info +config|get +wait` let it know them.
 * @throws {StateRefused} for a place or realm that cannot be understood, and a Redis that would throw revocations away
 */
export async function openRedisState(options: RedisStateOptions): Promise<RedisState> {
  const { place, realm, onFault } = options
  checkRealm(realm)
  const keysKey = `postern:${realm}:keys`
  const revocationsKey = `postern:${realm}:revocations`
  const apiKeysKey = `postern:${realm}:api-keys`
  const changes = createChanges()

  const invalidated = (names: readonly string[] | null) => {
    if (names === null) {
      restored()
      void track()
      return
    }
    for (const name of names) {
      const resource = labels.resourceAt(name)
      if (resource !== undefined) changes.tell({ kind: 'label', source: undefined, ...resource })
      else if (name === keysKey || name === revocationsKey || name === apiKeysKey) {
        // An invalidation ends the tracking of its key. Asked again before anyone is told, so that nothing is missed.
        void track()
        changes.tell({ kind: name === keysKey ? 'keys' : name === apiKeysKey ? 'api-keys' : 'revocations' })
      }
    }
  }
  const restored = () => {
    revocations.forget()
    apiKeys.forget()
    durability.ask()
    changes.tellAll()
  }
  const track = () => link.run(touch).catch(() => {})

  const touch = (redis: Redis) => redis.exists(keysKey, revocationsKey, apiKeysKey)
  const link = createRedisLink({ place, invalidated, restored, prepare: touch, prove: demandPrimary, onFault })
  const labels = redisLabels(link, realm, (resource, id) => changes.tell({ kind: 'label', source: undefined, resource, id }))
  const revocations = redisRevocations(link, revocationsKey, undefined, (fault) => onFault?.(link.fault() ?? fault))
  const apiKeys = redisApiKeys(link, apiKeysKey, `${apiKeysKey}:used`)
  const audit = createAuditState({ store: redisAudit(link, realm), realm, version: options.version })

  const durability = watchDurability(link, options.onDurability)
  const confirmation: Confirmation = createConfirmation(place, `postern:${realm}:confirmed`)
  const confirm = <A extends readonly unknown[], T>(write: (...asked: A) => Promise<T>) => confirmed(confirmation, durability.facts, write)
  const keys = redisKeys(link, keysKey)
  const records = redisRecords(link, realm)
  const close = async () => {
    await audit.close()
    durability.close()
    confirmation.close()
    await link.close()
  }

  await link.start()
  // One that is not there, or says nothing, is asked again as soon as it is.
  await durability.facts().catch(() => {})
  const { refused } = durability.report()
  if (refused !== undefined) {
    await close()
    throw new StateRefused(`Redis at ${addressOf(place)}: ${refused}`)
  }

  return {
    kind: 'redis',
    labels: { ...labels, write: confirm(labels.write), remove: confirm(labels.remove) },
    revocations: { ...revocations, append: confirm(revocations.append) },
    apiKeys: { ...apiKeys, append: confirm(apiKeys.append) },
    keys: { ...keys, replace: confirm(keys.replace) },
    replays: redisReplays(link, realm),
    secrets: { shared: confirm(redisSecrets(link, realm).shared) },
    records: { ...records, write: confirm(records.write), remove: confirm(records.remove) },
    audit: { ...audit, commit: confirm(audit.commit), commitTo: confirm(audit.commitTo) },
    durability: durability.report,
    feed: { subscribe: changes.subscribe, heardAt: link.heardAt },
    fault: () => link.fault() ?? revocations.fault(),
    close,
  }
}
