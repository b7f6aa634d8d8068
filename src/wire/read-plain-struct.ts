import { contentAt, endAt } from './read-wire.ts'

// An import is looked up at each use; these are not.
const begins = contentAt
const ends = endAt

// What nests deeper is left to those who count for themselves.
const maxDepth = 24

/**
 * Whether a google.protobuf.Struct is well-formed, and written as Envoy writes it: in each entry the key, then the
 * value, in each value one kind, lengths of two bytes at most. This is quick, and says nothing about others.
 */
export function isPlainStruct(bytes: Buffer, start: number, end: number, depth: number): boolean {
  if (depth > maxDepth) return false
  let pos = start
  while (pos < end) {
    // Struct.fields = 1: an entry, and in it key = 1, value = 2
    if (end - pos < 4 || bytes[pos] !== 0x0a) return false
    const stop = ends(bytes, pos + 1)
    const key = begins(bytes, pos + 1)
    if (stop > end || stop - key < 4 || bytes[key] !== 0x0a) return false
    const value = ends(bytes, key + 1)
    if (stop - value < 2 || bytes[value] !== 0x12 || ends(bytes, value + 1) !== stop) return false
    if (!isPlainValue(bytes, begins(bytes, value + 1), stop, depth + 1)) return false
    pos = stop
  }
  return true
}

function isPlainValue(bytes: Buffer, pos: number, end: number, depth: number): boolean {
  if (end - pos < 2) return false
  switch (bytes[pos]) {
    case 0x1a: // Value.string_value = 3
      return ends(bytes, pos + 1) === end
    case 0x11: // Value.number_value = 2
      return pos + 9 === end
    case 0x08: // Value.null_value = 1
    case 0x20: // Value.bool_value = 4
      return pos + 2 === end && bytes[pos + 1]! < 0x80
    case 0x2a: // Value.struct_value = 5
      return ends(bytes, pos + 1) === end && isPlainStruct(bytes, begins(bytes, pos + 1), end, depth + 1)
    case 0x32: // Value.list_value = 6
      return ends(bytes, pos + 1) === end && isPlainList(bytes, begins(bytes, pos + 1), end, depth + 1)
    default:
      return false
  }
}

function isPlainList(bytes: Buffer, start: number, end: number, depth: number): boolean {
  if (depth > maxDepth) return false
  let pos = start
  while (pos < end) {
    // ListValue.values = 1
    if (end - pos < 2 || bytes[pos] !== 0x0a) return false
    const stop = ends(bytes, pos + 1)
    if (stop > end || !isPlainValue(bytes, begins(bytes, pos + 1), stop, depth + 1)) return false
    pos = stop
  }
  return true
}
