/**
 * Compiles proto/served.proto, with the official files that it imports, into proto/served.json (what the check listener
 * serves) and proto/processor.json (the ext_proc listener): the JSON form of protobufjs, for `fromJSON` of
 * @grpc/proto-loader. Two files, so that a process without ext_proc reads nothing of it. Field names stay as in the .proto
 * files (keepCase), as Envoy's documentation and gRPC reflection write them. Only what the services reach is kept,
 * without comments. In served.json the file descriptors that reflection hands out stand beside it.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { checkout } from './cache.mjs'

const health = 'grpc.health.v1.Health'
const outputs = [
  { file: 'served.json', services: ['envoy.service.auth.v3.Authorization', health], described: true },
  { file: 'processor.json', services: ['envoy.service.ext_proc.v3.ExternalProcessor'], described: false },
]
const xds = join(checkout, 'node_modules/@grpc/grpc-js-xds/deps')
const includes = [
  join(checkout, 'proto'),
  ...['envoy-api', 'googleapis', 'protoc-gen-validate', 'xds'].map((name) => join(xds, name)),
  join(checkout, 'node_modules/grpc-health-check/proto'),
]

// protobufjs comes with @grpc/proto-loader, so it is looked for from there. Loading the loader also teaches protobufjs
// google/protobuf/descriptor.proto, which the annotations in Envoy's files extend.
const loader = createRequire(import.meta.url).resolve('@grpc/proto-loader')
const fromLoader = createRequire(loader)
fromLoader(loader)
const protobuf = fromLoader('protobufjs')
const { FileDescriptorProto } = fromLoader('protobufjs/ext/descriptor')

const root = new protobuf.Root()
root.resolvePath = (/** @type {string} */ _origin, /** @type {string} */ target) => {
  for (const folder of includes) {
    const path = join(folder, target)
    if (existsSync(path)) return path
  }
  // protobufjs carries google/protobuf/*.proto itself.
  if (protobuf.common.get(target)) return target
  throw new Error(`${target} is imported, but is in none of ${includes.join(', ')}`)
}
root.loadSync('served.proto', { keepCase: true })
root.resolveAll()

for (const { file, services, described } of outputs) {
  const kept = new Set()
  for (const name of services) keep(root.lookupService(name), kept)
  const json = prune(root.toJSON({ keepComments: false }), '', kept)
  write(file, `${JSON.stringify(described ? { root: json, descriptors: descriptors(json) } : { root: json })}\n`)
}

/** @param {string} file in proto/ @param {string} text */
function write(file, text) {
  const target = join(checkout, 'proto', file)
  if (existsSync(target) && readFileSync(target, 'utf8') === text) return
  writeFileSync(`${target}.${process.pid}`, text)
  renameSync(`${target}.${process.pid}`, target)
}

/** Marks a service, message or enum, and all that it needs. @param {any} thing @param {Set<string>} kept */
function keep(thing, kept) {
  const name = thing.fullName.slice(1)
  if (kept.has(name)) return
  kept.add(name)
  for (const method of thing.methodsArray ?? []) {
    keep(method.resolvedRequestType, kept)
    keep(method.resolvedResponseType, kept)
  }
  for (const field of thing.fieldsArray ?? []) {
    if (field.resolvedType) keep(field.resolvedType, kept)
  }
}

/**
 * Drops what is not marked, and the options of extensions (`(validate.rules)` and the like), which Postern does not serve.
 * @param {any} node @param {string} name its full name @param {Set<string>} kept
 * @returns {any} undefined when nothing in it is kept
 */
function prune(node, name, kept) {
  const nested = {}
  for (const [child, value] of Object.entries(node.nested ?? {})) {
    const left = prune(value, name === '' ? child : `${name}.${child}`, kept)
    if (left !== undefined) Object.assign(nested, { [child]: left })
  }
  const marked = kept.has(name)
  const holds = Object.keys(nested).length > 0
  if (!marked && !holds && name !== '') return undefined
  const own = marked ? plain(name.startsWith('google.protobuf.') ? inSnakeCase(node) : node) : {}
  delete own.nested
  if (!marked && node.edition !== undefined) own.edition = node.edition
  return holds ? { ...own, nested } : own
}

/** protobufjs carries google/protobuf/*.proto in camel case only; here the fields get their official names. @param {any} type */
function inSnakeCase(type) {
  const snake = (/** @type {string} */ text) => text.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  const fields = Object.entries(type.fields ?? {}).map(([field, value]) => [snake(field), value])
  const oneofs = Object.entries(type.oneofs ?? {}).map(([oneof, value]) => [oneof, { oneof: value.oneof.map(snake) }])
  return { ...type, ...(type.fields && { fields: Object.fromEntries(fields) }), ...(type.oneofs && { oneofs: Object.fromEntries(oneofs) }) }
}

/** @param {any} node @returns {any} a copy without extension options, at every depth */
function plain(node) {
  if (Array.isArray(node)) return node.map(plain)
  if (typeof node !== 'object' || node === null) return node
  const copy = {}
  for (const [key, value] of Object.entries(node)) {
    if (key.startsWith('(') || key === 'parsedOptions' || key === 'nested' || key === 'extensions') continue
    const left = plain(value)
    if (key === 'options' && Object.keys(left).length === 0) continue
    Object.assign(copy, { [key]: left })
  }
  return copy
}

/**
 * Descriptors as a reflection client (grpcurl, say) needs them. Those of protobufjs name no imports, write types relative to
 * their package, and do not name the entries of maps as protoc does: a client in Go refuses each of these.
 * @param {any} pruned
 * @returns {string[]} FileDescriptorProto messages in base64, one a package
 */
function descriptors(pruned) {
  const { file: files } = protobuf.Root.fromJSON(pruned).resolveAll().toDescriptor('proto3')
  /** @type {Map<string, string>} full name of a message or enum → its file */
  const places = new Map()
  for (const file of files) {
    eachMessage(file, file.package, (message) => nameMapEntries(message))
    const declare = (/** @type {any} */ holder, /** @type {string} */ scope) => {
      for (const { name } of [...(holder.messageType ?? holder.nestedType ?? []), ...(holder.enumType ?? [])])
        places.set(`${scope}.${name}`, file.name)
    }
    declare(file, file.package)
    eachMessage(file, file.package, declare)
  }
  for (const file of files) {
    const imports = new Set()
    const absolute = (/** @type {string} */ type, /** @type {string} */ scope) => {
      const name = resolved(type, scope, places)
      imports.add(places.get(name))
      return `.${name}`
    }
    eachMessage(file, file.package, (message, scope) => {
      for (const field of message.field) if (field.typeName) field.typeName = absolute(field.typeName, scope)
    })
    for (const method of (file.service ?? []).flatMap((/** @type {any} */ service) => service.method)) {
      method.inputType = absolute(method.inputType, file.package)
      method.outputType = absolute(method.outputType, file.package)
    }
    imports.delete(file.name)
    file.dependency = [...imports].sort()
  }
  return files.map((/** @type {any} */ file) => Buffer.from(FileDescriptorProto.encode(file).finish()).toString('base64'))
}

/** @param {any} holder a file or message @param {string} scope its full name @param {(message: any, scope: string) => void} visit */
function eachMessage(holder, scope, visit) {
  for (const message of holder.messageType ?? holder.nestedType ?? []) {
    const name = `${scope}.${message.name}`
    visit(message, name)
    eachMessage(message, name, visit)
  }
}

/** The entries of a map `some_field` are messages named `SomeFieldEntry`. @param {any} message */
function nameMapEntries(message) {
  for (const entry of message.nestedType ?? []) {
    if (!entry.options?.mapEntry) continue
    const field = message.field.find((/** @type {any} */ candidate) => candidate.typeName?.split('.').at(-1) === entry.name)
    const camel = field.name.replaceAll(/(?:^|_)([a-z0-9])/g, (/** @type {string} */ _, /** @type {string} */ first) => first.toUpperCase())
    entry.name = `${camel}Entry`
    field.typeName = entry.name
  }
}

/** Looks a type up from the innermost scope outwards. @param {string} type @param {string} scope @param {Map<string, string>} places */
function resolved(type, scope, places) {
  if (type.startsWith('.')) return type.slice(1)
  for (let outer = scope; ; outer = outer.slice(0, Math.max(0, outer.lastIndexOf('.')))) {
    const name = outer === '' ? type : `${outer}.${type}`
    if (places.has(name)) return name
    if (outer === '') throw new Error(`${type} is not found from ${scope}`)
  }
}
