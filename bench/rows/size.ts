import { grpcGo } from '../peers/index.ts'
import type { Row } from '../row.ts'
import { peerRow, posternRow } from './direct.ts'

const group = 'size'
const tcp = { group, address: 'tcp' } as const

const routes = (count: number, title: string): Row =>
  posternRow({ ...tcp, id: `routes-${count}`, title: `Postern: ${title}`, options: { routes: count } })

const validators = (count: number, title: string): Row =>
  posternRow({ ...tcp, id: `validators-${count}`, title: `Postern: ${title}`, options: { validators: count } })

/** Policies of several sizes. What is asked for is always the last route, and known to the last validator. */
export const size: readonly Row[] = [
  peerRow(grpcGo, { ...tcp, id: 'size-grpc-go', title: 'grpc-go, by hand', reference: true }),
  routes(10, '10 routes'),
  routes(1_000, '1,000 routes'),
  routes(10_000, '10,000 routes'),
  validators(1, '1 validator'),
  validators(5, '5 validators'),
  validators(10, '10 validators'),
]
