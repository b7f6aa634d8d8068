import { isJsonObject, type Json, type JsonObject } from '../core/json.ts'
import type { StructMessage, ValueMessage } from './messages.ts'

/** Claims nest a few levels; what nests deeper is no payload of ours. */
const maxDepth = 32

/**
 * google.protobuf.Struct → JSON.
 * @returns undefined where it holds anything that is no JSON (NaN, Infinity, a value of no kind or of two), or
 * nests too deep: part of a payload is not the payload
 */
export function structToJson(struct: StructMessage, depth = 0): JsonObject | undefined {
  const out: Record<string, Json> = {}
  const { fields } = struct
  if (!fields) return out
  for (const name of Object.keys(fields)) {
    const value = valueToJson(fields[name], depth + 1)
    if (value === undefined) return undefined
    // An assignment would set the prototype; JSON.parse makes it a member, and so does this.
    if (name === '__proto__') Object.defineProperty(out, name, { value, enumerable: true, configurable: true, writable: true })
    else out[name] = value
  }
  return out
}

function valueToJson(value: ValueMessage | undefined, depth: number): Json | undefined {
  if (value === undefined || depth > maxDepth) return undefined
  const kinds = Object.keys(value)
  if (kinds.length !== 1) return undefined
  switch (kinds[0]) {
    case 'string_value':
      return value.string_value
    case 'number_value':
      return Number.isFinite(value.number_value) ? value.number_value : undefined
    case 'bool_value':
      return value.bool_value
    case 'null_value':
      return null
    case 'struct_value':
      return structToJson(value.struct_value ?? {}, depth)
    case 'list_value':
      return listToJson(value.list_value?.values ?? [], depth)
    default:
      return undefined
  }
}

function listToJson(values: readonly ValueMessage[], depth: number): Json | undefined {
  const out: Json[] = []
  for (const item of values) {
    const value = valueToJson(item, depth + 1)
    if (value === undefined) return undefined
    out.push(value)
  }
  return out
}

/** JSON → google.protobuf.Struct. */
export function jsonToStruct(json: JsonObject): StructMessage {
  const fields: Record<string, ValueMessage> = {}
  for (const name of Object.keys(json)) fields[name] = jsonToValue(json[name] ?? null)
  return { fields }
}

function jsonToValue(json: Json): ValueMessage {
  if (typeof json === 'string') return { string_value: json }
  if (typeof json === 'number') return { number_value: json }
  if (typeof json === 'boolean') return { bool_value: json }
  if (json === null) return { null_value: 0 }
  if (isJsonObject(json)) return { struct_value: jsonToStruct(json) }
  return { list_value: { values: json.map(jsonToValue) } }
}
