import type { Row } from '../row.ts'
import { captured, posternRow } from './direct.ts'

const group = 'memory'
const entries = 100_000
const full = { routes: 10_000, owners: entries, cache: { size: entries } }

/** Seconds: longer than the service takes to notice that its work is done, and to tidy up. */
const rest = 70

/** Resident memory after what the title says has been filled, and the captured request was asked for: at rest, and at the end of the load. */
export const memory: readonly Row[] = [
  posternRow({ group, rest, address: 'unix', id: 'memory-small', title: 'Postern: 50 routes, 1 label', filled: 0 }),
  posternRow({
    group,
    rest,
    address: 'unix',
    id: 'memory',
    title: 'Postern: 10,000 routes, 100,000 labels near',
    options: { ...full, downstream: false },
    traffic: captured,
    filled: entries,
  }),
  posternRow({
    group,
    rest,
    address: 'unix',
    id: 'memory-tokens',
    title: 'Postern: … and 100,000 downstream tokens',
    options: full,
    traffic: captured,
    filled: entries,
  }),
]
