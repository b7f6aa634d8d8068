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

// One entry of the text that Node makes of subjectAltName: values with a comma or quotes come as JSON strings.
const entry = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y

/**
 * The workload that a certificate names (X509-SVID, section 2: exactly one URI SAN).
 * @param subjectAltName as X509Certificate of node:crypto gives it
 */
export function certificateSpiffeId(subjectAltName: string | undefined): Workload | undefined {
  if (!subjectAltName) return undefined
  let uri: string | undefined
  entry.lastIndex = 0
  for (let at = 0; at < subjectAltName.length; at = entry.lastIndex) {
    const found = entry.exec(subjectAltName)
    if (!found) return undefined
    if (found[1] !== 'URI') continue
    if (uri !== undefined) return undefined
    uri = found[2] ?? ''
  }
  return uri === undefined ? undefined : parseSpiffeId(uri)
}
