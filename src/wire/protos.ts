import { readFileSync } from 'node:fs'
import { fromJSON, type MethodDefinition, type PackageDefinition, type ServiceDefinition } from '@grpc/proto-loader'
import type { CheckRequestMessage, CheckResponseMessage } from './messages.ts'
import { authorizationService } from './transport.ts'

/** The services of proto/served.proto, and the codec of the one method that matters. */
export interface ServedProtos {
  /** Everything that is served: what reflection tells. */
  readonly definition: PackageDefinition
  /** `/envoy.service.auth.v3.Authorization/Check` */
  readonly check: MethodDefinition<CheckRequestMessage, CheckResponseMessage>
}

// Compiled by `npm run build`; the same place from src/ and from dist/.
const compiled = new URL('../../proto/served.json', import.meta.url)

interface Compiled {
  /** JSON form of protobufjs. */
  readonly root: Parameters<typeof fromJSON>[0]
  /** FileDescriptorProto messages, in base64. */
  readonly descriptors: readonly string[]
}

type Type = Extract<PackageDefinition[string], { readonly fileDescriptorProtos: Buffer[] }>
const isType = (entry: PackageDefinition[string]): entry is Type =>
  'fileDescriptorProtos' in entry && Array.isArray(entry.fileDescriptorProtos)

let loaded: ServedProtos | undefined

/**
 * The served definitions, read on the first call only. Fields that a message does not hold are left out of what
 * is decoded, 64-bit integers are numbers, enums are numbers, bytes are Buffers.
 * @throws where proto/served.json cannot be read
 */
export function servedProtos(): ServedProtos {
  if (loaded) return loaded
  const { root, descriptors } = JSON.parse(readFileSync(compiled, 'utf8')) as Compiled
  const definition = fromJSON(root, { keepCase: true, longs: Number })
  // The loader's own descriptors name no imports, and reflection clients other than its own refuse them.
  const files = descriptors.map((text) => Buffer.from(text, 'base64'))
  for (const entry of Object.values(definition)) if (isType(entry)) entry.fileDescriptorProtos = files
  const service = definition[authorizationService] as ServiceDefinition | undefined
  const check = service?.['Check']
  if (!check) throw new Error(`${compiled.pathname} does not define ${authorizationService}/Check; run npm run build`)
  loaded = { definition, check: check as ServedProtos['check'] }
  return loaded
}
