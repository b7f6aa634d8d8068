import type { Redis } from 'ioredis'
import type { State } from '../core/ports.ts'
import { createChanges } from './changes.ts'
import { redisApiKeys } from './redis-api-keys.ts'
import { redisAudit } from './redis-audit.ts'
import { redisKeys } from './redis-keys.ts'
import { redisLabels } from './redis-labels.ts'
import { createRedisLink } from './redis-link.ts'
import type { RedisPlace } from './redis-options.ts'
import { redisReplays } from './redis-replays.ts'
import { redisRevocations } from './redis-revocations.ts'
import { redisSecrets } from './redis-shared-secret.ts'
import { checkRealm } from './state-refused.ts'

export interface RedisStateOptions {
  readonly place: RedisPlace
  readonly realm: string
  /** Told when Redis begins to fail, and with undefined when it answers again. */
  readonly onFault?: (fault: string | undefined) => void
  /** Decisions of the audit trail that are kept, about; absent: 1,000,000. */
  readonly decisionsKept?: number
}

/**
 * State that replicas share. Opens whether or not Redis is there (`fault` says why not), and recovers by itself.
 * Label changes are told of the resources that this handle has read; revocations, keys and API keys always.
 *
 * An ACL user needs, beside what redis-link.ts names: `~postern:<realm>:* +get +set +hgetall +hset +hmget +hdel +hvals +hlen +hexists +del +multi
 * +exec +eval +exists +xadd +xrange +xrevrange +xdel`.
 * @throws {StateRefused} for a place or realm that cannot be understood
 */
export async function openRedisState(options: RedisStateOptions): Promise<State> {
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
    changes.tellAll()
  }
  const track = () => link.run(touch).catch(() => {})

  const touch = (redis: Redis) => redis.exists(keysKey, revocationsKey, apiKeysKey)
  const link = createRedisLink({ place, invalidated, restored, prepare: touch, onFault })
  const labels = redisLabels(link, realm, (resource, id) => changes.tell({ kind: 'label', source: undefined, resource, id }))
  const revocations = redisRevocations(link, revocationsKey)
  const apiKeys = redisApiKeys(link, apiKeysKey, `${apiKeysKey}:used`)
  const audit = redisAudit({ link, realm, decisionsKept: options.decisionsKept })

  await link.start()

  return {
    kind: 'redis',
    labels,
    revocations,
    apiKeys,
    keys: redisKeys(link, keysKey),
    replays: redisReplays(link, realm),
    secrets: redisSecrets(link, realm),
    audit,
    feed: { subscribe: changes.subscribe, heardAt: link.heardAt },
    fault: link.fault,
    close: async () => {
      await audit.close()
      await link.close()
    },
  }
}
