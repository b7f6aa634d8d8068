import { hash } from 'node:crypto'
import type { TokenRequest } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'

/** What of the settings stands in a key. */
export interface KeySettings {
  readonly realm: string
  readonly digest: string
  readonly sts: ReadonlyMap<string, { readonly identity: string }>
}

// Validators hand out the same object for the same credential: its part of the key is made once.
const ofPrincipal = new WeakMap<Principal, string>()

function principalPart(principal: Principal): string {
  let part = ofPrincipal.get(principal)
  if (part === undefined) {
    // All of it but the token itself, for which the digest stands.
    const { subjectToken: _, ...rest } = principal
    part = hash('sha256', JSON.stringify(rest), 'base64url')
    ofPrincipal.set(principal, part)
  }
  return part
}

/**
 * Names everything that a downstream token depends on, so that no two requests that
 * deserve different tokens can share one. JSON keeps the parts apart whatever they hold.
 */
export function tokenKey(settings: KeySettings, { principal, workload, audience, scope, ttl, resource, via }: TokenRequest): string {
  const endpoint = via === 'issuer' ? '' : (settings.sts.get(via.sts)?.identity ?? '')
  const rest = [settings.realm, settings.digest, workload ?? null, audience, scope, ttl, resource ?? null, via, endpoint]
  return `${principalPart(principal)} ${JSON.stringify(rest)}`
}
