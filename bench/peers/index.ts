/** The servers of others that Postern is measured beside. */
export { authorino } from './authorino.ts'
export { grpcGo } from './grpc-go.ts'
export { opa, opaConsole } from './opa.ts'
