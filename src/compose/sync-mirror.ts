import { setTimeout as sleep } from 'node:timers/promises'
import type { KubernetesObject } from '../adapters/kubernetes-object.ts'
import { type Labels, noLabels } from '../core/ownership.ts'
import { type LabelStore, mostLabelsAtOnce } from '../core/ports.ts'
import { type ConflictReason, planOf } from './sync-plan.ts'
import { type LeftOut, mirroredUid, type RecordRules, type Skipped, type Wanted, wantedOf } from './sync-record.ts'

/** What became of an object's record. */
export type MirrorChange =
  | {
      readonly kind: 'created' | 'changed' | 'adopted' | 'removed'
      readonly id: string
      readonly uid: string
      readonly before: Labels | undefined
      readonly after: Labels | undefined
    }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'skipped'; readonly reason: Skipped; readonly object: KubernetesObject }
  | {
      readonly kind: 'conflict'
      readonly reason: ConflictReason
      readonly id: string
      readonly object: KubernetesObject
      readonly seen: Labels
      readonly wanted: Labels
    }

export interface MirrorNeeds {
  readonly labels: LabelStore
  /** The kind of resource in Postern. */
  readonly kind: string
  readonly rules: RecordRules
  /** Asked before each write. */
  readonly mayWrite: () => boolean
  readonly onChange: (change: MirrorChange) => void | Promise<void>
  readonly onLeftOut: (object: KubernetesObject, left: readonly LeftOut[]) => void
}

/** Leadership was lost: nothing may be written any more. */
export class NotLeading extends Error {
  override readonly name = 'NotLeading'
}

/** A record changed each time that it was about to be replaced. */
export class Contended extends Error {
  override readonly name = 'Contended'
}

const mostAttempts = 10
/** Records that are asked for at the same time. */
const atOnce = 16

/** The records of one kind that mirror objects of this cluster. All writes are swaps: nobody's change is overwritten unseen. */
export interface Mirror {
  /** Learns from state what is mirrored already. @throws {Unavailable} */
  readonly load: () => Promise<void>
  /** Number of records that mirror an object. */
  readonly size: () => number
  /** What an event of this object touches: events that touch the same are not taken at once. */
  readonly touches: (object: KubernetesObject) => readonly string[]
  /** @throws {Unavailable} {NotLeading} {Contended} */
  readonly set: (object: KubernetesObject) => Promise<void>
  /** The object is gone. */
  readonly gone: (object: KubernetesObject) => Promise<void>
  /** Tries again what was in conflict. */
  readonly settle: () => Promise<void>
  /** Takes a list in: pages, and then what it lacked. */
  readonly listing: () => Listing
}

/** A list that is being taken in. */
export interface Listing {
  readonly page: (objects: readonly KubernetesObject[]) => Promise<void>
  /** The list is whole. @returns how many records mirror objects that it lacked */
  readonly end: () => Promise<number>
  /** Removes those records. */
  readonly sweep: () => Promise<void>
  readonly listed: () => number
}

/** Conflicts that are tried again. */
const mostConflicts = 10_000

export function createMirror({ labels, kind, rules, mayWrite, onChange, onLeftOut }: MirrorNeeds): Mirror {
  let idOf = new Map<string, string>()
  const conflicts = new Map<string, KubernetesObject>()

  const lead = (): void => {
    if (!mayWrite()) throw new NotLeading('leadership was lost')
  }
  const read = async (id: string): Promise<Labels | undefined> => (await labels.read(kind, id))?.labels

  /** Again until nobody is faster. */
  const swapping = async <T>(once: () => Promise<T | undefined>): Promise<T> => {
    for (let attempt = 0; attempt < mostAttempts; attempt++) {
      lead()
      const done = await once()
      if (done !== undefined) return done
      await sleep(Math.random() * 10 * 2 ** attempt)
    }
    throw new Contended(`a record of kind ${kind} changed ${mostAttempts} times while it was about to be replaced`)
  }
  const release = async (id: string, uid: string): Promise<void> => {
    const change = await swapping<MirrorChange>(async () => {
      const before = await read(id)
      if (before === undefined || mirroredUid(rules.cluster, before) !== uid) return { kind: 'unchanged' }
      lead()
      return (await labels.swap(kind, id, before, noLabels)) ? { kind: 'removed', id, uid, before, after: undefined } : undefined
    })
    idOf.delete(uid)
    await onChange(change)
  }
  const reconcile = async (object: KubernetesObject, wanted: Wanted, exists: (uid: string) => boolean): Promise<void> => {
    const { id, uid } = wanted
    const change = await swapping<MirrorChange>(async () => {
      const before = await read(id)
      const plan = planOf(rules, wanted, before, exists)
      if (plan.kind === 'conflict') return { kind: 'conflict', reason: plan.reason, id, object, seen: before!, wanted: wanted.record }
      if (plan.kind === 'write') {
        lead()
        if (!(await labels.swap(kind, id, before, plan.next))) return undefined
        // The object that had this id before does not exist any more.
        const former = before && mirroredUid(rules.cluster, before)
        if (former !== undefined) idOf.delete(former)
        idOf.set(uid, id)
        return { kind: plan.how, id, uid, before, after: plan.next }
      }
      if (plan.kind === 'unchanged') idOf.set(uid, id)
      return { kind: 'unchanged' }
    })
    if (change.kind !== 'conflict') conflicts.delete(uid)
    // The same conflict is told once.
    else if (conflicts.has(uid)) conflicts.set(uid, object)
    else {
      if (conflicts.size < mostConflicts) conflicts.set(uid, object)
      await onChange(change)
      return
    }
    if (change.kind !== 'conflict') await onChange(change)
  }
  /** The record that an object wants, after what it had under another id has been removed. */
  const prepare = async (object: KubernetesObject): Promise<Wanted | undefined> => {
    const wanted = wantedOf(object, rules)
    const known = idOf.get(object.uid)
    const skipped = typeof wanted === 'string'
    if (known !== undefined && (skipped || wanted.id !== known)) await release(known, object.uid)
    if (skipped) {
      conflicts.delete(object.uid)
      await onChange({ kind: 'skipped', reason: wanted, object })
      return undefined
    }
    if (wanted.left.length > 0) onLeftOut(object, wanted.left)
    return wanted
  }
  const set = async (object: KubernetesObject, exists: (uid: string) => boolean): Promise<void> => {
    const wanted = await prepare(object)
    if (wanted) await reconcile(object, wanted, exists)
  }
  const known = (uid: string): boolean => idOf.has(uid)

  return {
    load: async () => {
      const found = new Map<string, string>()
      for (let after: string | undefined; ; ) {
        const { entries, cursor } = await labels.list({ resource: kind }, mostLabelsAtOnce, after)
        for (const { id, labels: record } of entries) {
          const uid = mirroredUid(rules.cluster, record)
          if (uid !== undefined) found.set(uid, id)
        }
        if (cursor === undefined) break
        after = cursor
      }
      idOf = found
      conflicts.clear()
    },
    size: () => idOf.size,
    touches: (object) => {
      const wanted = wantedOf(object, rules)
      const id = idOf.get(object.uid)
      return [`uid ${object.uid}`, ...(typeof wanted === 'string' ? [] : [`id ${wanted.id}`]), ...(id === undefined ? [] : [`id ${id}`])]
    },
    set: (object) => set(object, known),
    gone: async (object) => {
      conflicts.delete(object.uid)
      const wanted = wantedOf(object, rules)
      const id = idOf.get(object.uid) ?? (typeof wanted === 'string' ? undefined : wanted.id)
      if (id !== undefined) await release(id, object.uid)
    },
    settle: () => each([...conflicts.values()], (object) => set(object, known)),
    listing: () => {
      const listed = new Set<string>()
      const ids = new Set(idOf.values())
      const clashing: KubernetesObject[] = []
      let lacking: readonly (readonly [uid: string, id: string])[] = []
      /** Objects that state knows nothing of, so far as is known here, are written together. */
      const create = async (objects: readonly KubernetesObject[]): Promise<readonly KubernetesObject[]> => {
        const fresh: { readonly object: KubernetesObject; readonly wanted: Wanted }[] = []
        const rest: KubernetesObject[] = []
        for (const object of objects) {
          const wanted = idOf.has(object.uid) || object.terminating ? undefined : wantedOf(object, rules)
          if (wanted === undefined || typeof wanted === 'string' || ids.has(wanted.id)) rest.push(object)
          else {
            ids.add(wanted.id)
            fresh.push({ object, wanted })
          }
        }
        for (let from = 0; from < fresh.length; from += mostLabelsAtOnce) {
          const part = fresh.slice(from, from + mostLabelsAtOnce)
          lead()
          const entries = part.map(({ wanted: { id, record } }) => ({ resource: kind, id, labels: record }))
          const written = await labels.writeMany(entries, 'absent')
          for (const [i, { object, wanted }] of part.entries()) {
            if (!written[i]) rest.push(object)
            else {
              idOf.set(wanted.uid, wanted.id)
              if (wanted.left.length > 0) onLeftOut(object, wanted.left)
              await onChange({ kind: 'created', id: wanted.id, uid: wanted.uid, before: undefined, after: wanted.record })
            }
          }
        }
        return rest
      }
      return {
        page: async (objects) => {
          for (const { uid } of objects) listed.add(uid)
          await each(await create(objects), async (object) => {
            const wanted = await prepare(object)
            if (!wanted) return
            // Whether the object of the same id still exists is known when the list is whole.
            const before = await read(wanted.id)
            const other = before && mirroredUid(rules.cluster, before)
            if (other !== undefined && other !== object.uid && !listed.has(other)) clashing.push(object)
            else await reconcile(object, wanted, (uid) => listed.has(uid))
          })
        },
        end: async () => {
          await each(clashing, (object) => set(object, (uid) => listed.has(uid)))
          for (const uid of conflicts.keys()) if (!listed.has(uid)) conflicts.delete(uid)
          lacking = [...idOf].filter(([uid]) => !listed.has(uid))
          return lacking.length
        },
        sweep: () => each(lacking, ([uid, id]) => release(id, uid)),
        listed: () => listed.size,
      }
    },
  }
}

/** Does something for each, some at a time. The first failure ends it, after what had begun has ended. */
export async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  let failed = false
  const failures: unknown[] = []
  const worker = async (): Promise<void> => {
    while (next < items.length && !failed) {
      const item = items[next++]!
      try {
        await work(item)
      } catch (cause) {
        failed = true
        failures.push(cause)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
  if (failures.length > 0) throw failures[0]
}
