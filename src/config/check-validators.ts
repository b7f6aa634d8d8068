import { managementPlane, operatorNamespace } from '../core/management-plane.ts'
import { parseSpiffeId } from '../core/spiffe.ts'
import { fromOf } from './compile-places.ts'
import type { Draft } from './draft.ts'
import type { Path, Report } from './faults.ts'
import type { EdgeTrustSettings, ValidatorSettings } from './schema-identity.ts'
import { isHeaderName } from './schema-routes.ts'

/** Headers that carry something else: no validator may read a credential or a claim from them. */
const taken = new Set([
  'authorization',
  'connection',
  'content-length',
  'cookie',
  'dpop',
  'host',
  'proxy-authorization',
  'sec-websocket-protocol',
  'transfer-encoding',
  'upgrade',
  'x-envoy-auth-failure-mode-allowed',
  'x-envoy-original-dst-host',
  'x-forwarded-client-cert',
])

/** Checks what is particular to a type of validator; {@link Report} is told of each fault. */
export function checkValidator(entry: ValidatorSettings, path: Path, draft: Draft, report: Report): void {
  if (entry.name === managementPlane)
    report([...path, 'name'], `"${managementPlane}" is the name of the validator of page tokens: expected another`)
  const namespace = 'subject_namespace' in entry ? entry.subject_namespace : undefined
  if (namespace && (namespace.startsWith(operatorNamespace) || operatorNamespace.startsWith(namespace)))
    report([...path, 'subject_namespace'], `subjects could be those of operators ("${operatorNamespace}…"): expected another prefix`)
  for (const [i, place] of fromOf(entry).entries()) {
    if (!place.startsWith('header:')) continue
    const fault = headerFault(place.slice('header:'.length), draft)
    if (fault) report([...path, 'from', i], fault)
  }
  if (entry.type === 'edge-trust') checkEdge(entry, path, draft, report)
  if (entry.type === 'shared-token') {
    const fault = headerFault(entry.end_user_header, draft)
    if (fault) report([...path, 'end_user_header'], fault)
  }
  if (entry.type === 'basic') checkBasic(path, draft, report)
}

function checkEdge({ from, proof, headers, claims_from_headers }: EdgeTrustSettings, path: Path, draft: Draft, report: Report): void {
  if (!from && !proof)
    report(
      [...path, 'from'],
      '"from" is missing: without it, or proof, whoever reaches the listener could say who they are; expected the SPIFFE IDs of the edge',
    )
  for (const [i, id] of (from ?? []).entries())
    if (!parseSpiffeId(id)) report([...path, 'from', i], `"${id}" is no SPIFFE ID: expected spiffe://<trust domain>/<path>`)
  for (const [key, name] of Object.entries(headers)) {
    if (key === 'subject' && name.toLowerCase() === 'x-forwarded-client-cert') continue
    const fault = headerFault(name, draft)
    if (fault) report([...path, 'headers', key], fault)
  }
  const names = new Set(Object.values(headers).map((name) => name.toLowerCase()))
  for (const [name, claim] of Object.entries(claims_from_headers)) {
    if (claim === 'cnf')
      report(
        [...path, 'claims_from_headers', name],
        'a token that is bound to a key (cnf) cannot be proved behind an edge: expected another claim',
      )
    const fault = headerFault(name, draft)
    if (fault) report([...path, 'claims_from_headers', name], fault, { at: 'key' })
    names.add(name.toLowerCase())
  }
  if (!proof) return
  const fault = headerFault(proof.header, draft)
  if (fault) report([...path, 'proof', 'header'], fault)
  else if (names.has(proof.header.toLowerCase()))
    report([...path, 'proof', 'header'], `"${proof.header}" is a claim header too: expected a header of its own`)
}

/** A password can only be a credential for a validator above it that looks into `Authorization`. */
function checkBasic(path: Path, { identity }: Draft, report: Report): void {
  const above = identity.slice(0, Number(path[1])).filter((entry) => entry && fromOf(entry).includes('authorization'))
  if (above.length === 0)
    report(
      [...path, 'type'],
      'there is no validator above it that takes a credential from Authorization: expected one, whose password this is',
    )
}

/** A sentence where a header cannot carry what a validator reads. */
function headerFault(name: string, draft: Draft): string | undefined {
  const lower = name.toLowerCase()
  if (!isHeaderName(lower) || lower.includes('_'))
    return `"${name}" is no header name that Envoy lets through: expected letters, digits and "-"`
  if (taken.has(lower)) return `the header "${lower}" carries something else: expected one of its own`
  return lower.startsWith(draft.sections.headers.prefix)
    ? `"${lower}" begins as the headers that Postern sets: expected another`
    : undefined
}
