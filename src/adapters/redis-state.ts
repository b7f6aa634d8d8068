import type { Redis } from 'ioredis'
import type { State } from '../core/ports.ts'
import { createAuditState } from './audit-state.ts'
import { createChanges } from './changes.ts'
import { redisApiKeys } from './redis-api-keys.ts'
import { redisAudit } from './redis-audit.ts'
import { createClusterLink } from './redis-cluster.ts'
import type { DurabilityReport } from './redis-durability.ts'
import { urlFinder } from './redis-finder.ts'
import { watchKeeping } from './redis-keeping.ts'
import { redisKeys } from './redis-keys.ts'
import { redisLabels } from './redis-labels.ts'
import { linkTo } from './redis-link.ts'
import type { AnyRedisPlace } from './redis-options.ts'
import { redisRecords } from './redis-records.ts'
import { redisReplays } from './redis-replays.ts'
import { redisRevocations } from './redis-revocations.ts'
import { demandPrimary } from './redis-role.ts'
import { sentinelFinder } from './redis-sentinel.ts'
import { redisSecrets } from './redis-shared-secret.ts'
import { checkRealm, StateRefused } from './state-refused.ts'

export interface RedisStateOptions {
  readonly place: AnyRedisPlace
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
 * In a cluster, labels are spread over its slots, and all else of the realm lies in one. Which rights an ACL user needs in each
 * form is in docs/guides/redis.md.
 *
 * What is acknowledged is confirmed by as many replicas as `min-replicas-to-write` names; `+info +config|get +wait` let it know them.
 * @throws {StateRefused} for a place or realm that cannot be understood, and a Redis that would throw revocations away
 */
export async function openRedisState(options: RedisStateOptions): Promise<RedisState> {
  const { place, realm, onFault } = options
  checkRealm(realm)
  // In a cluster, all that is not labels lies in one slot: scripts and transactions touch several of these keys at once.
  const home = 'cluster' in place ? `{${realm}}` : realm
  const keysKey = `postern:${home}:keys`
  const revocationsKey = `postern:${home}:revocations`
  const apiKeysKey = `postern:${home}:api-keys`
  const labelKey = (resource: string, id: string) => `postern:${realm}:labels:${resource}:${id}`
  const changes = createChanges()

  const invalidated = (names: readonly string[] | null) => {
    if (names === null) {
      restored(true)
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
  /** @param whole not labels alone may have changed unseen */
  const restored = (whole: boolean) => {
    void keeping.ask()
    if (!whole) return changes.tell({ kind: 'labels' })
    revocations.forget()
    apiKeys.forget()
    changes.tellAll()
  }
  const track = () => link.run(touch).catch(() => {})

  // One by one: while their slot is moved in a cluster, some are here and some there.
  const touch = (redis: Redis) => Promise.all([keysKey, revocationsKey, apiKeysKey].map((key) => redis.exists(key)))
  const link =
    'cluster' in place
      ? createClusterLink(place, {
          home: keysKey,
          invalidated,
          restored,
          moved: () => changes.tell({ kind: 'labels' }),
          homeMoving: () => {
            for (const kind of ['revocations', 'keys', 'api-keys'] as const) changes.tell({ kind })
          },
          unkept: (key) => invalidated([key]),
          prepare: touch,
          onFault,
        })
      : linkTo('sentinel' in place ? sentinelFinder(place) : urlFinder(place), {
          invalidated,
          restored: () => restored(true),
          prepare: touch,
          prove: demandPrimary,
          onFault,
        })
  const keeping = watchKeeping(link, `postern:${realm}:confirmed`, options.onDurability)
  const labels = redisLabels(link, realm, (resource, id) => changes.tell({ kind: 'label', source: undefined, resource, id }))
  const revocations = redisRevocations(link, revocationsKey, undefined, (fault) => onFault?.(link.fault() ?? fault))
  const apiKeys = redisApiKeys(link, apiKeysKey, `${apiKeysKey}:used`)
  const audit = createAuditState({ store: redisAudit(link, home), realm, version: options.version })
  const keys = redisKeys(link, keysKey)
  const records = redisRecords(link, home)
  const confirm = keeping.confirmed
  const close = async () => {
    await audit.close()
    keeping.close()
    labels.close()
    await link.close()
  }

  await link.start()
  // One that is not there, or says nothing, is asked again as soon as it is.
  await keeping.ask()
  const { refused } = keeping.report()
  if (refused !== undefined) {
    await close()
    throw new StateRefused(`Redis at ${link.nodes().length === 1 ? `${link.nodes()[0]?.address()}: ` : ''}${refused}`)
  }

  const at = (resource: string, id: string) => [labelKey(resource, id)]
  return {
    kind: 'redis',
    labels: {
      ...labels,
      write: confirm(labels.write, at),
      remove: confirm(labels.remove, at),
      swap: confirm(labels.swap, at),
      writeMany: confirm(labels.writeMany, (entries) => entries.map(({ resource, id }) => labelKey(resource, id))),
    },
    revocations: { ...revocations, append: confirm(revocations.append) },
    apiKeys: { ...apiKeys, append: confirm(apiKeys.append) },
    keys: { ...keys, replace: confirm(keys.replace) },
    replays: redisReplays(link, home),
    secrets: { shared: confirm(redisSecrets(link, home).shared) },
    records: { ...records, write: confirm(records.write), remove: confirm(records.remove) },
    audit: { ...audit, commit: confirm(audit.commit), commitTo: confirm(audit.commitTo) },
    durability: keeping.report,
    feed: {
      subscribe: changes.subscribe,
      heardAt:
        'cluster' in place
          ? (resource, id) => link.heardAt(resource === undefined || id === undefined ? undefined : labelKey(resource, id))
          : () => link.heardAt(),
    },
    fault: () => link.fault() ?? revocations.fault(),
    close,
  }
}
