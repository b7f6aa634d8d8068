import { authorino, grpcGo, opa, opaConsole } from '../peers/index.ts'
import { nodeGrpcJs, nodeHttp2 } from '../peers-node/index.ts'
import type { Row } from '../row.ts'
import { peerRow, posternRow } from './direct.ts'

const group = 'servers'
const tcp = { group, address: 'tcp' } as const
const unix = { group, address: 'unix' } as const

/** The same request and the same job, over plain gRPC. */
export const servers: readonly Row[] = [
  peerRow(grpcGo, { ...tcp, id: 'grpc-go', title: 'grpc-go, by hand', reference: true }),
  peerRow(grpcGo, { ...unix, id: 'grpc-go-unix', title: 'grpc-go, by hand, unix socket' }),
  posternRow({ ...tcp, id: 'postern', title: 'Postern' }),
  posternRow({ ...unix, id: 'postern-unix', title: 'Postern, unix socket' }),
  posternRow({ ...tcp, id: 'postern-grpc-js', title: 'Postern, transport: grpc-js', options: { transport: 'grpc-js' } }),
  peerRow(nodeHttp2, { ...tcp, id: 'node-http2', title: 'node:http2, canned answer' }),
  peerRow(nodeGrpcJs, { ...tcp, id: 'grpc-js', title: '@grpc/grpc-js, canned answer' }),
  peerRow(opa, { ...tcp, id: 'opa', title: 'OPA-Envoy, decision log off' }),
  peerRow(opaConsole, { ...tcp, id: 'opa-console', title: 'OPA-Envoy, log on console' }),
  peerRow(authorino, { ...tcp, id: 'authorino', title: 'Authorino' }),
]
