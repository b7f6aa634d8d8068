import type { Row } from '../row.ts'
import { envoy } from './envoy.ts'
import { labels } from './labels.ts'
import { memory } from './memory.ts'
import { servers } from './servers.ts'
import { size } from './size.ts'
import { work } from './work.ts'

/** Every row, in the order of the tables. */
export const allRows: readonly Row[] = [...servers, ...work, ...size, ...labels, ...memory, ...envoy]

/** What `--quick` measures: the promises about the reference server, directly and through Envoy. */
export const quickRows: readonly string[] = ['grpc-go', 'postern', 'envoy-grpc-go', 'envoy-postern']

/**
 * Chooses rows by id or by group, and adds what they are compared with.
 * @returns undefined for the first word that names neither
 */
export function chooseRows(words: readonly string[], rows: readonly Row[] = allRows): readonly Row[] | { readonly unknown: string } {
  const unknown = words.find((word) => !rows.some(({ id, group }) => word === id || word === group))
  if (unknown !== undefined) return { unknown }
  const chosen = rows.filter(({ id, group }) => words.includes(id) || words.includes(group))
  const wanted = new Set(chosen.map(({ group }) => group))
  return rows.filter((row) => chosen.includes(row) || (row.reference && wanted.has(row.group)))
}
