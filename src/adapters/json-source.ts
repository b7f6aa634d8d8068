import type { Json } from '../core/json.ts'
import { type JsonPointer, parsePointer, resolvePointer } from '../core/json-pointer.ts'
import { noLabels } from '../core/ownership.ts'
import type { ChangeFeed, LabelReader } from '../core/ports.ts'
import { createChanges } from './changes.ts'
import { RedisRefusal } from './redis-fault.ts'
import { createRedisLink } from './redis-link.ts'
import type { RedisPlace } from './redis-options.ts'
import { StateRefused } from './state-refused.ts'

/** Bytes of a value, as UTF-16 units; a larger one is not parsed in a request's way. */
const largestValue = 64 * 1024

export interface JsonSourceOptions {
  /** Name under `sources`. */
  readonly name: string
  readonly place: RedisPlace
  /** Key template with one `{id}`. */
  readonly key: string
  /** JSON pointer to the owner. */
  readonly owner: string
  /** The label under which the owner is handed on. */
  readonly ownerLabel: string
  readonly onFault?: (fault: string | undefined) => void
}

/** Owners that a platform keeps in its own Redis, read only. */
export interface JsonSource {
  readonly reader: LabelReader
  readonly feed: ChangeFeed
  /** undefined while it answers, else why it does not. */
  readonly fault: () => string | undefined
  readonly close: () => Promise<void>
}

/** No owner where it is missing, empty or not a string, and where the value is no JSON or too large. */
function ownerIn(text: string, pointer: JsonPointer): string | undefined {
  if (text.length > largestValue) return undefined
  let document: Json
  try {
    document = JSON.parse(text) as Json
  } catch {
    return undefined
  }
  const owner = resolvePointer(document, pointer)
  return typeof owner === 'string' && owner !== '' ? owner : undefined
}

/**
 * A source of type `json`: strings at `key`, read with GET. Opens whether or not its Redis is there.
 *
 * An ACL user needs `+get` on the template's keys, beside what redis-link.ts names.
 * @throws {StateRefused} for a place, key template or pointer that cannot be understood
 */
export async function openJsonSource(options: JsonSourceOptions): Promise<JsonSource> {
  const { name, place, ownerLabel, onFault } = options
  const [before, after, ...more] = options.key.split('{id}')
  if (before === undefined || after === undefined || more.length > 0)
    throw new StateRefused(`source ${name}: expected one {id} in the key, as in session:{id}`)
  const pointer = parsePointer(options.owner)
  if (pointer === undefined) throw new StateRefused(`source ${name}: expected a JSON pointer (RFC 6901) as owner, as in /ownerId`)

  // Keys do not say the kind of resource: a change concerns the id under every kind that was asked for (a handful, by routes).
  const kinds = new Set<string>()
  const changes = createChanges()
  const tellKey = (key: string) => {
    if (key.length <= before.length + after.length || !key.startsWith(before) || !key.endsWith(after)) return
    const id = key.slice(before.length, key.length - after.length)
    for (const resource of kinds) changes.tell({ kind: 'label', source: name, resource, id })
  }

  const link = createRedisLink({
    place,
    invalidated: (keys) => {
      if (keys === null) changes.tell({ kind: 'labels' })
      else for (const key of keys) tellKey(key)
    },
    restored: () => changes.tell({ kind: 'labels' }),
    onFault,
  })
  await link.start()

  return {
    reader: {
      read: async (resource, id) => {
        kinds.add(resource)
        let text: string | null
        try {
          text = await link.run((redis) => redis.get(`${before}${id}${after}`))
        } catch (error) {
          // A key of another type: something is there, and it names no owner.
          if (error instanceof RedisRefusal && error.code === 'WRONGTYPE') return { labels: noLabels }
          throw error
        }
        if (text === null) return undefined
        const owner = ownerIn(text, pointer)
        return { labels: owner === undefined ? noLabels : new Map([[ownerLabel, owner]]) }
      },
    },
    feed: { subscribe: changes.subscribe, heardAt: link.heardAt },
    fault: link.fault,
    close: link.close,
  }
}
