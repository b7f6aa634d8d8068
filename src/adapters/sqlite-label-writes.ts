import type { DatabaseSync } from 'node:sqlite'
import { type Labels, noLabels, sameLabels } from '../core/ownership.ts'

/** What a Map is on its way to the thread that writes. */
type Pairs = readonly (readonly [name: string, value: string])[]

interface Of {
  readonly resource: string
  readonly id: string
}

/** Writes of labels, as the thread that writes is asked for them. */
export type LabelWrite =
  | (Of & { readonly kind: 'write' | 'write-absent'; readonly labels: Pairs })
  /** `seen`: what must be there; undefined: nothing. */
  | (Of & { readonly kind: 'swap'; readonly seen: Pairs | undefined; readonly labels: Pairs })
  | (Of & { readonly kind: 'remove' })

/** A damaged row has labels that nobody can read, which is no label: the owner check then fails. */
export function parseLabels(text: unknown): Labels {
  try {
    const entries: unknown = JSON.parse(String(text))
    if (Array.isArray(entries))
      return new Map(entries.filter((e): e is [string, string] => typeof e?.[0] === 'string' && typeof e[1] === 'string'))
  } catch {}
  return noLabels
}

/** The statements of each; run in the thread that writes, inside its transaction. @returns what the port's function returns */
export function prepareLabelWrites(database: DatabaseSync, realm: string): (write: LabelWrite) => boolean {
  const read = database.prepare('SELECT labels FROM labels WHERE realm = ? AND resource = ? AND id = ?')
  const set = database.prepare(
    'INSERT INTO labels (realm, resource, id, labels) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET labels = excluded.labels',
  )
  const add = database.prepare('INSERT INTO labels (realm, resource, id, labels) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING')
  const remove = database.prepare('DELETE FROM labels WHERE realm = ? AND resource = ? AND id = ?')

  return (write) => {
    const { resource, id } = write
    if (write.kind === 'remove') return remove.run(realm, resource, id).changes > 0
    const { labels } = write
    if (write.kind === 'write-absent') {
      if (labels.length === 0) return read.get(realm, resource, id) === undefined
      return add.run(realm, resource, id, JSON.stringify(labels)).changes > 0
    }
    if (write.kind === 'swap') {
      const row = read.get(realm, resource, id)
      if (row === undefined || write.seen === undefined ? row !== write.seen : !sameLabels(parseLabels(row['labels']), new Map(write.seen)))
        return false
    }
    if (labels.length === 0) remove.run(realm, resource, id)
    else set.run(realm, resource, id, JSON.stringify(labels))
    return true
  }
}
