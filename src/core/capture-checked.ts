import type { Json, JsonObject } from './json.ts'
import { percentDecode } from './percent.ts'

/** What the check told Envoy of a request, and Envoy handed on to ext_proc: which request it is, and of what route. */
export interface Checked {
  readonly decisionId: string
  readonly realm: string
  /** The id of the route. */
  readonly route: string
  /** Of the policy that the check decided by. */
  readonly revision: string
  /** Whether somebody was identified: nobody is on public routes and preflights. */
  readonly named: boolean
  /** `<kind>:<id>`, where the route names a resource and the request an id. */
  readonly resource: string | undefined
}

export type CheckedAnswer =
  | { readonly kind: 'allowed'; readonly checked: Checked }
  /** It was denied, and let through all the same (`enforce: false`). */
  | { readonly kind: 'unenforced' }
  /** It says nothing that can be relied on. */
  | { readonly kind: 'unusable'; readonly detail: string }

const unusable = (detail: string): CheckedAnswer => ({ kind: 'unusable', detail })

/** What may name a record: a UUIDv7, in fact. */
const idForm = /^[A-Za-z0-9-]{1,64}$/

/**
 * Reads the dynamic metadata of Postern's own check (`envoy.filters.http.ext_authz`), whose strings are percent-encoded.
 * Nothing that a client says comes into it. Who asks is read by `callerFrom`.
 */
export function readChecked(metadata: JsonObject | undefined): CheckedAnswer {
  if (metadata === undefined) return unusable('Envoy hands on no metadata of the check')
  const of = (name: string): Json | undefined => (Object.hasOwn(metadata, name) ? metadata[name] : undefined)
  const [decision, enforced] = [of('decision'), of('enforced')]
  if (decision === 'deny' && enforced === false) return { kind: 'unenforced' }
  if (decision !== 'allow' || enforced !== true) return unusable('the metadata of the check tells of no allow')
  let broken: string | undefined
  const text = (name: string): string | undefined => {
    const value = of(name)
    if (value === undefined) return undefined
    const decoded = typeof value === 'string' ? percentDecode(value) : undefined
    if (decoded === undefined) broken = name
    return decoded === '' ? undefined : decoded
  }
  const [decisionId, realm, route, revision] = [text('decision_id'), text('realm'), text('route'), text('policy')]
  const [named, resource] = [text('subject') !== undefined, text('resource')]
  if (broken !== undefined) return unusable(`the metadata of the check has a ${broken} that cannot be read`)
  if (decisionId === undefined || !idForm.test(decisionId)) return unusable('the metadata of the check has no decision id')
  if (realm === undefined || route === undefined || revision === undefined)
    return unusable('the metadata of the check lacks the realm, the route or the policy')
  return { kind: 'allowed', checked: { decisionId, realm, route, revision, named, resource } }
}
