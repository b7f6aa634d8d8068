import type { Row } from '../row.ts'
import { captured, posternRow } from './direct.ts'

const group = 'memory'
const entries = 100_000
const full = { routes: 10_000, owners: entries, cache: { size: entries } }

/** Resident memory while the captured request is asked for, after what the title says has been filled. */
export const memory: readonly Row[] = [
  posternRow({ group, address: 'unix', id: 'memory-small', title: 'Postern: 50 routes, 1 label', filled: 0 }),
  posternRow({
    group,
    address: 'unix',
    id: 'memory',
    title: 'Postern: 10,000 routes, 100,000 labels near',
    options: { ...full, downstream: false },
    traffic: captured,
    filled: entries,
  }),
  posternRow({
    group,
    address: 'unix',
    id: 'memory-tokens',
    title: 'Postern: … and 100,000 downstream tokens',
    options: full,
    traffic: captured,
    filled: entries,
  }),
]
