import { percentDecode } from './percent.ts'

/** What a raw `:path` comes apart into. */
export interface SplitPath {
  readonly path: string
  readonly segments: readonly string[]
  readonly query: string
  readonly encodedSlash: boolean
  /** Indices of the segments that hold an escape; undefined where none does. Envoy matches them as they are, so no static segment is theirs. */
  readonly escaped: ReadonlySet<number> | undefined
}

/** Bytes of a path, without its query. */
const maxPathLength = 8192
/** Characters of a query: what reads its parameters must not take long. */
const maxQueryLength = 16_384

// Controls (C0, DEL, C1) and `#` have no place anywhere; U+FFFD is what a decoder puts for bytes that are no UTF-8.
const forbiddenAnywhere = /[\u0000-\u0020\u007f-\u009f#\ufffd]/
// Before the `?`, only what RFC 3986 allows in a path, without `;` (path parameters: servers disagree on them).
const plainPath = /^[A-Za-z0-9\-._~!$&'()*+,=:@/%]*$/
// Nearly all paths: nothing encoded, no segment that is empty or begins with a dot.
const ordinary = /^(?:\/[A-Za-z0-9\-_~!$&'()*+,=:@][A-Za-z0-9\-._~!$&'()*+,=:@]*)+\/?$/
const dotSegment = /^(?:\.|%2e){1,2}$/i
// Encoded forms that a second decoding, or a less careful server, would give a meaning of their own.
const refusedEscapes = /%(?:5c|25|3b|[01][0-9a-f]|7f)/i
// What never needs an escape (RFC 3986, section 2.3): normalizing proxies decode it, so one that arrives was meant for somebody else.
const needlessEscapes = /%(?:2[de]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])/i
const brokenEscape = /%(?![0-9a-fA-F]{2})/
const encodedSlash = /%2f/i

function decodeSegment(segment: string): string | undefined {
  const text = percentDecode(segment)
  return text === undefined || /[\u0080-\u009f]/.test(text) ? undefined : text
}

/**
 * Takes a raw `:path` apart and decodes its segments once (RFC 3986, section 3.3), refusing what two parsers
 * could read differently. A trailing slash is an empty last segment; `/` alone has none.
 * @param raw `request.http.path` of the CheckRequest: with the query
 * @returns the parts, or what is wrong with it
 */
export function splitPath(raw: string): SplitPath | string {
  const mark = raw.indexOf('?')
  const path = mark < 0 ? raw : raw.slice(0, mark)
  const query = mark < 0 ? '' : raw.slice(mark + 1)
  if (ordinary.test(path) && path.length <= maxPathLength && query.length <= maxQueryLength && !forbiddenAnywhere.test(query))
    return { path, segments: path.slice(1).split('/'), query, encodedSlash: false, escaped: undefined }
  if (query.length > maxQueryLength) return `the query is longer than ${maxQueryLength} characters`
  if (forbiddenAnywhere.test(raw)) return 'the path holds a control character, white space, "#", or bytes that are no UTF-8'
  if (!path.startsWith('/')) return 'the path does not begin with "/"'
  if (path.length > maxPathLength) return `the path is longer than ${maxPathLength} bytes`
  if (!plainPath.test(path)) return 'the path holds a character that has to be percent-encoded, a backslash, or ";"'
  if (path === '/') return { path, segments: [], query, encodedSlash: false, escaped: undefined }
  const segments = path.slice(1).split('/')
  const last = segments.length - 1
  for (const [i, segment] of segments.entries()) {
    if (segment === '' && i < last) return 'the path holds an empty segment'
    // An encoded slash may be data; what stands between two of them must then be no dot segment either.
    const parts = encodedSlash.test(segment) ? segment.split(/%2f/i) : [segment]
    if (parts.length > 1 && parts.includes('')) return 'the path holds an empty segment'
    if (parts.some((part) => dotSegment.test(part))) return 'the path holds a dot segment'
  }
  if (!path.includes('%')) return { path, segments, query, encodedSlash: false, escaped: undefined }
  if (brokenEscape.test(path)) return 'the path holds "%" without two hex digits'
  if (refusedEscapes.test(path)) return 'the path holds an encoded backslash, percent sign, semicolon or control character'
  if (needlessEscapes.test(path)) return 'the path holds an escape of a character that needs none'
  const decoded: string[] = []
  const escaped = new Set<number>()
  for (const [i, segment] of segments.entries()) {
    const text = decodeSegment(segment)
    if (text === undefined) return 'the path is no UTF-8 when decoded'
    if (text !== segment) escaped.add(i)
    decoded.push(text)
  }
  return { path, segments: decoded, query, encodedSlash: encodedSlash.test(path), escaped }
}
