import { isJsonObject, type Json, type JsonObject } from '../core/json.ts'
import type { KubernetesClient } from './kubernetes-client.ts'
import { explained, KubernetesFailure } from './kubernetes-failure.ts'
import { type KubernetesObject, type KubernetesResource, pathOf, readObject, resourceName, versionOf } from './kubernetes-object.ts'

/** Which objects are read. */
export interface ReaderOptions {
  readonly client: Pick<KubernetesClient, 'call' | 'watch'>
  readonly resource: KubernetesResource
  /** undefined: all namespaces. */
  readonly namespace: string | undefined
  /** A label selector; undefined: all objects. */
  readonly selector: string | undefined
  /** Whether more than metadata is needed: what is not asked for is not sent. */
  readonly whole: boolean
  /** Objects of a page. */
  readonly pageSize: number
  /** Seconds after which the server ends a watch, which is then renewed. */
  readonly watchSeconds: number
}

/** A change of an object, or word of how far the watch is. */
export type WatchEvent =
  | { readonly kind: 'set' | 'gone'; readonly object: KubernetesObject }
  | { readonly kind: 'bookmark'; readonly version: string }
  /** An object that cannot be read; the watch goes on. */
  | { readonly kind: 'unreadable' }

/** A list, and a watch from where it ended (Kubernetes API concepts: efficient detection of changes). */
export interface KubernetesReader {
  /**
   * All objects, page by page, as they were at one moment.
   * @param onPage its objects, and how many could not be read
   * @param paged false: all at once, for a server that does not keep the rest of a list long enough
   * @returns the resourceVersion of that moment
   * @throws {KubernetesFailure} `isGone` where the pages took so long that the rest is not kept any more
   */
  readonly list: (
    onPage: (objects: readonly KubernetesObject[], unreadable: number) => Promise<void>,
    signal: AbortSignal,
    paged?: boolean,
  ) => Promise<string>
  /**
   * What happened since a resourceVersion, in order, as it comes. Ends after `watchSeconds`.
   * @throws {KubernetesFailure} `isGone` where that is not kept any more
   */
  readonly watch: (since: string, signal: AbortSignal) => AsyncGenerator<readonly WatchEvent[], void>
}

const json = 'application/json'
/** Only metadata, where the server can (Kubernetes API concepts: receiving resources as PartialObjectMetadata). */
const partial = (kind: string): string => `${json};as=${kind};g=meta.k8s.io;v=v1,${json}`
/** A watch that says nothing for so long after its end is given up. */
const silentAfterMs = 10_000
const listTimeoutMs = 60_000

export function kubernetesReader(options: ReaderOptions): KubernetesReader {
  const { client, resource, namespace, selector, whole, pageSize, watchSeconds } = options
  const path = (query: Readonly<Record<string, string>>): string =>
    `${pathOf(resource, namespace)}?${new URLSearchParams({ ...(selector !== undefined && { labelSelector: selector }), ...query })}`

  const page = (limit: number, after: string | undefined, signal: AbortSignal): Promise<JsonObject> =>
    client.call({
      // Without a resourceVersion the list is read from etcd: nothing older than what anybody has seen.
      path: path({ ...(limit > 0 && { limit: String(limit) }), ...(after !== undefined && { continue: after }) }),
      accept: whole ? json : partial('PartialObjectMetadataList'),
      timeoutMs: listTimeoutMs,
      signal,
    })

  return {
    list: async (onPage, signal, paged = true) => {
      let limit = paged ? pageSize : 0
      let version: string | undefined
      for (let after: string | undefined; ; ) {
        let answer: JsonObject
        try {
          answer = await page(limit, after, signal)
        } catch (cause) {
          // Objects may be large: fewer at a time.
          if (!(cause instanceof KubernetesFailure && cause.fault === 'too_large') || limit <= 1)
            throw explained(cause, { verb: 'list', resource: resourceName(resource), namespace })
          limit = Math.max(1, Math.floor(limit / 8))
          continue
        }
        const { kind, metadata } = answer
        // Go writes a list that it never added anything to as null.
        const items = answer['items'] ?? []
        version ??= versionOf(answer)
        if (typeof kind !== 'string' || !kind.endsWith('List') || !Array.isArray(items) || version === undefined)
          throw new KubernetesFailure('malformed', 'the API server answered with something that is no list')
        const objects = items.map((item) => readObject(item)).filter((object) => object !== undefined)
        await onPage(objects, items.length - objects.length)
        const next = isJsonObject(metadata) ? metadata['continue'] : undefined
        if (typeof next !== 'string' || next === '') return version
        after = next
      }
    },
    async *watch(since, signal) {
      const call = {
        path: path({ watch: '1', resourceVersion: since, allowWatchBookmarks: 'true', timeoutSeconds: String(watchSeconds) }),
        accept: whole ? json : partial('PartialObjectMetadata'),
        silentMs: watchSeconds * 1000 + silentAfterMs,
        signal,
      }
      try {
        for await (const lines of client.watch(call)) yield lines.map(eventOf)
      } catch (cause) {
        throw explained(cause, { verb: 'watch', resource: resourceName(resource), namespace })
      }
    },
  }
}

/** @throws {KubernetesFailure} for an event of type ERROR */
function eventOf({ type, object }: JsonObject): WatchEvent {
  switch (type) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED': {
      const read = readObject(object)
      return read ? { kind: type === 'DELETED' ? 'gone' : 'set', object: read } : { kind: 'unreadable' }
    }
    case 'BOOKMARK': {
      const version = isJsonObject(object) ? versionOf(object) : undefined
      if (version !== undefined) return { kind: 'bookmark', version }
      break
    }
    case 'ERROR':
      throw statusFailure(object)
  }
  throw new KubernetesFailure('malformed', 'the API server sent an event that is none of the watch')
}

function statusFailure(object: Json | undefined): KubernetesFailure {
  const status = isJsonObject(object) ? object : {}
  const { code, reason, message } = status
  return new KubernetesFailure('status', `the watch ended with ${String(code ?? 'an error')}: ${String(message ?? 'no message')}`, {
    ...(typeof code === 'number' && { status: code }),
    ...(typeof reason === 'string' && { reason }),
  })
}
