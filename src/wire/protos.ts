import { readFileSync } from 'node:fs'
import { fromJSON, type MethodDefinition, type PackageDefinition, type ServiceDefinition } from '@grpc/proto-loader'
import type { CheckRequestMessage, CheckResponseMessage } from './messages.ts'

export const authorizationService = 'envoy.service.auth.v3.Authorization'

/** The services of proto/served.proto, and the codec of the one method that matters. */
export interface ServedProtos {
  /** Everything that is served: what reflection tells. */
  readonly definition: PackageDefinition
  /** `/envoy.service.auth.v3.Authorization/Check` */
  readonly check: MethodDefinition<CheckRequestMessage, CheckResponseMessage>
}

// Compiled by `npm run build`; the same place from src/ and from dist/.
const compiled = new URL('../../proto/served.json', import.meta.url)

let loaded: ServedProtos | undefined

/**
 * The served definitions, read on the first call only. Fields that a message does not hold are left out of what
 * is decoded, 64-bit integers are numbers, enums are numbers, bytes are Buffers.
 * @throws where proto/served.json cannot be read
 */
export function servedProtos(): ServedProtos {
  if (loaded) return loaded
  const definition = fromJSON(JSON.parse(readFileSync(compiled, 'utf8')), { keepCase: true, longs: Number })
  const service = definition[authorizationService] as ServiceDefinition | undefined
  const check = service?.['Check']
  if (!check) throw new Error(`${compiled.pathname} does not define ${authorizationService}/Check; run npm run build`)
  loaded = { definition, check: check as ServedProtos['check'] }
  return loaded
}
