import type { Workload } from './principal.ts'

// SPIFFE-ID, sections 2.1 to 2.3: no port, user info, query, fragment, percent encoding or empty segment.
const trustDomain = /^[a-z0-9._-]{1,255}$/
const segment = /^[a-zA-Z0-9._-]+$/

/**
 * Reads a SPIFFE ID as SPIFFE-ID section 2 defines it, strictly: the form that several parsers could
 * read differently is no identity.
 * @returns undefined where `text` is no SPIFFE ID of a workload (a bare trust domain is none)
 */
export function parseSpiffeId(text: string): Workload | undefined {
  if (!text.startsWith('spiffe://') || text.length > 2048) return undefined
  const [domain = '', ...path] = text.slice('spiffe://'.length).split('/')
  if (!trustDomain.test(domain) || path.length === 0) return undefined
  for (const part of path) if (!segment.test(part) || part === '.' || part === '..') return undefined
  return { id: text, trustDomain: domain }
}
