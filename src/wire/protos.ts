import { readFileSync } from 'node:fs'
import { fromJSON, type MethodDefinition, type PackageDefinition, type ServiceDefinition } from '@grpc/proto-loader'
import type { ProcessingRequestMessage, ProcessingResponseMessage } from './ext-proc-messages.ts'
import type { CheckRequestMessage, CheckResponseMessage } from './messages.ts'
import { authorizationService } from './transport.ts'

/** The services of proto/served.proto, and the codec of the one method that matters. */
export interface ServedProtos {
  /** Everything that is served: what reflection tells. */
  readonly definition: PackageDefinition
  /** `/envoy.service.auth.v3.Authorization/Check` */
  readonly check: MethodDefinition<CheckRequestMessage, CheckResponseMessage>
}

/** `/envoy.service.ext_proc.v3.ExternalProcessor/Process`, with its codec. */
export type ProcessMethod = MethodDefinition<ProcessingRequestMessage, ProcessingResponseMessage>

interface Compiled {
  /** JSON form of protobufjs. */
  readonly root: Parameters<typeof fromJSON>[0]
  /** FileDescriptorProto messages, in base64; in served.json alone. */
  readonly descriptors?: readonly string[]
}

type Type = Extract<PackageDefinition[string], { readonly fileDescriptorProtos: Buffer[] }>
const isType = (entry: PackageDefinition[string]): entry is Type =>
  'fileDescriptorProtos' in entry && Array.isArray(entry.fileDescriptorProtos)

/**
 * Reads one of the files that `npm run build` compiles; they are at the same place from src/ and from dist/. Fields that a
 * message does not hold are left out of what is decoded, 64-bit integers are numbers, enums are numbers, bytes are Buffers.
 * @throws where it cannot be read
 */
function read(file: string): { readonly definition: PackageDefinition; readonly descriptors: readonly string[] } {
  const { root, descriptors = [] } = JSON.parse(readFileSync(new URL(`../../proto/${file}`, import.meta.url), 'utf8')) as Compiled
  return { definition: fromJSON(root, { keepCase: true, longs: Number }), descriptors }
}

/** @throws where the file that was compiled is of another version */
function methodOf(definition: PackageDefinition, service: string, method: string): ServiceDefinition[string] {
  const found = (definition[service] as ServiceDefinition | undefined)?.[method]
  if (!found) throw new Error(`proto/ does not define ${service}/${method}; run npm run build`)
  return found
}

let served: ServedProtos | undefined

/** The definitions of the check listener, read on the first call only. @throws where proto/served.json cannot be read */
export function servedProtos(): ServedProtos {
  if (served) return served
  const { definition, descriptors } = read('served.json')
  // The loader's own descriptors name no imports, and reflection clients other than its own refuse them.
  const files = descriptors.map((text) => Buffer.from(text, 'base64'))
  for (const entry of Object.values(definition)) if (isType(entry)) entry.fileDescriptorProtos = files
  served = { definition, check: methodOf(definition, authorizationService, 'Check') as ServedProtos['check'] }
  return served
}

/** The service that Envoy's external processing filter asks. */
export const processorService = 'envoy.service.ext_proc.v3.ExternalProcessor'

let process: ProcessMethod | undefined

/** Its one method, read on the first call only: nobody else pays for it. @throws where proto/processor.json cannot be read */
export function processMethod(): ProcessMethod {
  process ??= methodOf(read('processor.json').definition, processorService, 'Process') as ProcessMethod
  return process
}
