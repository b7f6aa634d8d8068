import { LRUCache } from 'lru-cache'
import type { Edge } from '../core/edge.ts'
import type { Json, JsonObject } from '../core/json.ts'
import type { Principal } from '../core/principal.ts'
import { Deny, deny } from '../core/reasons.ts'
import type { Request } from '../core/request.ts'
import { parseSpiffeId } from '../core/spiffe.ts'
import type { EdgeValidator } from '../core/validator.ts'
import { boundRoles, digestOf } from './claims.ts'
import { forwardedUri } from './forwarded-certificate.ts'

/** Settings of an `edge-trust` validator; header names in any case. */
export interface EdgeTrustOptions {
  /** The validator's name. */
  readonly validator: string
  /** Says which requests come from the edge. */
  readonly edge: Edge
  readonly headers: { readonly subject: string; readonly role: string; readonly end_user: string; readonly email: string }
  /** Header → claim. */
  readonly claims: Readonly<Record<string, string>>
  readonly namespace: string
  /** `may_assert`: the only roles that it may give; undefined for any. */
  readonly mayAssert: ReadonlySet<string> | undefined
}

/** Principals that are kept, so that the same caller's headers are taken apart once. */
const mostKept = 10_000
/** Characters of headers that are remembered: longer ones, such as a client may send through an edge, are read each time. */
const longestKept = 8192
const maxLength = 1024
const certificates = 'x-forwarded-client-cert'

// U+FFFD stands where bytes were no UTF-8: two such names could look alike.
const unclear = /[\u0000-\u001f\u007f-\u009f\ufffd]/

/**
 * Identifies by the claim headers of an edge that verified the token, and of nobody else. Without its subject header
 * this validator has nothing to say; a header that came twice, or could be read in two ways, is no credential.
 */
export function edgeClaims(options: EdgeTrustOptions): EdgeValidator {
  const names = {
    subject: options.headers.subject.toLowerCase(),
    role: options.headers.role.toLowerCase(),
    endUser: options.headers.end_user.toLowerCase(),
    email: options.headers.email.toLowerCase(),
  }
  const claims = Object.entries(options.claims).map(([header, claim]) => ({ header: header.toLowerCase(), claim }))
  const once = [...new Set([...Object.values(names), ...claims.map(({ header }) => header)])].filter((name) => name !== certificates)
  const byCertificate = names.subject === certificates
  const read = [...once, ...(byCertificate ? [certificates] : [])]
  const kept = new LRUCache<string, Principal>({ max: mostKept })
  const settings: Reading = { ...options, names, claims }

  return {
    name: options.validator,
    subjects: options.namespace,
    presents: 'edge',
    identify: (request, workload) => {
      if (request.header(names.subject) === undefined || !options.edge.trusts(request, workload)) return 'abstain'
      for (const name of once)
        if (request.headerCount(name) > 1) return deny('invalid_credential', `the edge's ${name} came more than once`)
      const key = JSON.stringify(read.map((name) => request.header(name) ?? null))
      const known = kept.get(key)
      const verdict = known ?? readPrincipal(request, settings, digestOf(key))
      if (typeof verdict === 'object' && 'rawSubject' in verdict && byCertificate && verdict.rawSubject === workload?.id) return itself
      if (known) return known
      if (key.length <= longestKept && typeof verdict === 'object' && !(verdict instanceof Deny)) kept.set(key, verdict)
      return verdict
    },
  }
}

/** An Envoy that adds the certificate that it saw itself, the edge's, would make one and the same of all clients. */
const itself = deny('invalid_credential', `${certificates} ends with the edge itself: expected FORWARD_ONLY of the Envoy behind it`)

interface Reading extends Pick<EdgeTrustOptions, 'validator' | 'namespace' | 'mayAssert'> {
  readonly names: { readonly subject: string; readonly role: string; readonly endUser: string; readonly email: string }
  readonly claims: readonly { readonly header: string; readonly claim: string }[]
}

function readPrincipal(request: Request, settings: Reading, digest: string): 'abstain' | Principal | Deny {
  const { names, validator, namespace } = settings
  const subject = names.subject === certificates ? readCertificate(request) : readName(request, names.subject)
  if (subject === undefined) return 'abstain'
  if (subject instanceof Deny) return subject
  const endUser = names.endUser === names.subject ? undefined : readName(request, names.endUser)
  if (endUser instanceof Deny) return endUser
  const email = readName(request, names.email)
  if (email instanceof Deny) return email
  const claims: Record<string, Json> = email === undefined ? {} : { email }
  for (const { header, claim } of settings.claims) {
    const value = readClaim(request, header)
    if (value instanceof Deny) return value
    // Own members only, whatever the claim is called.
    if (value !== undefined) Object.defineProperty(claims, claim, { value, enumerable: true, configurable: true })
  }
  const roles = readRoles(request, names.role)
  if (roles instanceof Deny) return roles
  return {
    validator,
    issuer: `urn:postern:edge-trust:${validator}`,
    subject: namespace + subject,
    rawSubject: subject,
    roles: boundRoles(roles, settings.mayAssert),
    scopes: [],
    claims: claims as JsonObject,
    issuedAt: 0,
    expiresAt: Number.POSITIVE_INFINITY,
    digest,
    ...(endUser !== undefined && endUser !== subject && { endUser }),
  }
}

/** A single name. A comma could have joined two headers of one name, as Envoy does. */
function readName(request: Request, header: string): string | Deny | undefined {
  const value = request.header(header)
  if (value === undefined) return undefined
  const fault =
    value === '' || value.length > maxLength
      ? `no text of 1 to ${maxLength} characters`
      : value.includes(',')
        ? 'more than one, or holds a comma'
        : unclear.test(value) || !value.isWellFormed()
          ? 'no clear text'
          : undefined
  return fault === undefined ? value : deny('invalid_credential', `the edge's ${header} is ${fault}`)
}

/** The SPIFFE ID of whom the edge itself saw; a client without one is nobody here. */
function readCertificate(request: Request): string | Deny | undefined {
  const uri = forwardedUri(request.header(certificates) ?? '')
  if (uri === undefined) return undefined
  if (uri !== 'unclear' && parseSpiffeId(uri)) return uri
  return deny('invalid_credential', `${certificates} names no single SPIFFE ID as the client of the edge`)
}

/** One role, several with commas between them, or the list that {@link readList} knows. */
function readRoles(request: Request, header: string): Iterable<string> | Deny {
  const value = readClaim(request, header)
  if (value === undefined || value instanceof Deny) return value ?? []
  if (typeof value !== 'string') return new Set(Array.isArray(value) ? value.filter((role) => typeof role === 'string' && role !== '') : [])
  return new Set(
    value
      .split(',')
      .map((role) => role.replace(aroundText, ''))
      .filter((role) => role !== ''),
  )
}

/** White space of HTTP (RFC 9110, section 5.6.3): any other is part of a name, which may not be taken for another without it. */
const aroundText = /^ +| +$/g

function readClaim(request: Request, header: string): Json | Deny | undefined {
  const value = request.header(header)
  if (value === undefined) return undefined
  if (unclear.test(value) || !value.isWellFormed()) return deny('invalid_credential', `the edge's ${header} is no clear text`)
  return readList(value) ?? value
}

/** Every base64 text of a JSON list begins so. */
const listBegins = 'W'
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * What Envoy's `claim_to_headers` makes of a claim that is a list: its JSON, in padded base64 (Envoy 1.40; its
 * documentation says base64url, which is read too).
 */
function readList(value: string): readonly Json[] | undefined {
  if (!value.startsWith(listBegins)) return undefined
  const bytes = Buffer.from(value, 'base64')
  if (bytes.toString('base64') !== value && bytes.toString('base64url') !== value) return undefined
  try {
    const list: unknown = JSON.parse(utf8.decode(bytes))
    return Array.isArray(list) ? (list as Json[]) : undefined
  } catch {
    return undefined
  }
}
