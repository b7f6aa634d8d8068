import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { servedProtos } from '../../src/wire/protos.ts'

interface Message {
  readonly name: string
  readonly field: readonly { readonly name: string; readonly typeName?: string }[]
  readonly nestedType: readonly Message[]
  readonly enumType: readonly { readonly name: string }[]
  readonly options?: { readonly mapEntry?: boolean }
}
interface File {
  readonly name: string
  readonly package: string
  readonly dependency: readonly string[]
  readonly messageType: readonly Message[]
  readonly enumType: readonly { readonly name: string }[]
}

/** What protobufjs, which the loader brings along, says of a FileDescriptorProto. */
function decoded(bytes: Buffer): File {
  const require = createRequire(import.meta.url)
  const { FileDescriptorProto } = createRequire(require.resolve('@grpc/proto-loader'))('protobufjs/ext/descriptor')
  return FileDescriptorProto.decode(bytes)
}

describe('descriptors of the served protos', () => {
  const files = (): File[] => {
    const [entry] = Object.values(servedProtos().definition).filter((each) => 'fileDescriptorProtos' in each)
    assert(entry && 'fileDescriptorProtos' in entry)
    return (entry.fileDescriptorProtos as Buffer[]).map(decoded)
  }
  const within = (message: Message, scope: string): [string, Message][] => {
    const name = `${scope}.${message.name}`
    return [[name, message], ...message.nestedType.flatMap((nested) => within(nested, name))]
  }
  const messages = (file: File): [string, Message][] => file.messageType.flatMap((message) => within(message, `.${file.package}`))

  it('name every type in full, and import the files that hold them: a client in Go reads nothing else', () => {
    const places = new Map<string, string>()
    for (const file of files()) {
      for (const { name } of file.enumType) places.set(`.${file.package}.${name}`, file.name)
      for (const [name, message] of messages(file)) {
        places.set(name, file.name)
        for (const nested of message.enumType) places.set(`${name}.${nested.name}`, file.name)
      }
    }
    let seen = 0
    for (const file of files()) {
      for (const [scope, message] of messages(file)) {
        for (const { name, typeName } of message.field) {
          if (!typeName) continue
          const place = places.get(typeName)
          assert(place !== undefined && (place === file.name || file.dependency.includes(place)), `${scope}.${name}: ${typeName}`)
          seen++
        }
      }
    }
    assert(seen > 20, 'types were looked up')
    assert(places.has('.envoy.service.auth.v3.CheckResponse') && places.has('.grpc.health.v1.HealthCheckResponse'))
  })

  it('name the entries of maps as protoc does', () => {
    const entries = files().flatMap((file) => messages(file).filter(([, message]) => message.options?.mapEntry))
    const names = entries.map(([name]) => name)
    assert(names.includes('.envoy.service.auth.v3.AttributeContext.ContextExtensionsEntry'), names.join(' '))
    assert(
      names.every((name) => /\.(?:[A-Z][a-z0-9]*)+Entry$/.test(name)),
      names.join(' '),
    )
  })
})
