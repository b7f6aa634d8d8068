import type { IdSource } from '../core/route.ts'
import { isHeaderName } from './schema-routes.ts'

/** Headers that carry credentials, or that Envoy makes itself, name no resource. */
const noId = new Set([
  'authorization',
  'cookie',
  'host',
  'proxy-authorization',
  'x-forwarded-client-cert',
  'content-length',
  'transfer-encoding',
  'x-envoy-original-dst-host',
])

/** Parameters of a path, as a fault names what it expected. */
export const listParams = (params: readonly string[]): string =>
  params.length === 0 ? 'a path that has it' : `one of ${params.map((param) => `{${param}}`).join(', ')}`

/**
 * Reads `owner.id`: `path:NAME`, `header:NAME` or `query:NAME`.
 * @param params of the route's path; undefined where it is no template
 * @param prefix `headers.prefix`
 * @returns where the id stands, or what was wrong and what was expected
 */
export function idSource(text: string, params: readonly string[] | undefined, prefix: string): IdSource | string {
  const match = /^(path|header|query):(.+)$/.exec(text)
  const [, from, name = ''] = match ?? []
  if (from === 'path')
    return params && !params.includes(name) ? `the path has no parameter "{${name}}": expected ${listParams(params)}` : { from, name }
  if (from === 'header') {
    const lower = name.toLowerCase()
    if (!isHeaderName(lower)) return `"${name}" is no header name`
    return noId.has(lower) || lower.startsWith(prefix)
      ? `the header "${lower}" cannot name a resource: expected one that the client sends for it`
      : { from, name: lower }
  }
  if (from === 'query') return /[&=#\s]/.test(name) ? `"${name}" is no query parameter` : { from, name }
  return `"${text}" names no place: expected path:NAME, header:NAME or query:NAME`
}
