import { hash } from 'node:crypto'
import { perObject } from '../core/per-object.ts'
import type { TokenRequest } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'

/** What of the settings stands in a key. */
export interface KeySettings {
  readonly realm: string
  readonly digest: string
  readonly sts: ReadonlyMap<string, { readonly identity: string }>
}

// Validators hand out the same object for the same credential. All of it counts but the token itself, for which the digest stands.
const principalPart = perObject(({ subjectToken: _, ...rest }: Principal): string => hash('sha256', JSON.stringify(rest), 'base64url'))

/** What a key begins with, for one principal on one kind of route. */
interface Prefix extends Omit<TokenRequest, 'principal' | 'resource' | 'now'> {
  readonly settings: KeySettings
  readonly text: string
}

// A principal mostly asks a few routes, again and again.
const prefixesOf = perObject((_: Principal): Prefix[] => [])
const mostPrefixes = 8

function prefixOf(settings: KeySettings, { principal, workload, audience, scope, ttl, via }: TokenRequest): string {
  const known = prefixesOf(principal)
  for (const one of known) {
    if (
      one.audience === audience &&
      one.scope === scope &&
      one.ttl === ttl &&
      one.via === via &&
      one.workload === workload &&
      one.settings === settings
    )
      return one.text
  }
  const endpoint = via === 'issuer' ? '' : (settings.sts.get(via.sts)?.identity ?? '')
  const parts = [principalPart(principal), settings.realm, settings.digest, workload ?? null, audience, scope, ttl, via, endpoint]
  // JSON keeps the parts apart whatever they hold.
  const text = hash('sha256', JSON.stringify(parts), 'base64url')
  if (known.length === mostPrefixes) known.shift()
  known.push({ settings, workload, audience, scope, ttl, via, text })
  return text
}

/**
 * Names everything that a downstream token depends on, so that no two requests that deserve different tokens can share
 * one: a hash of one length, and the resource behind it.
 */
export function tokenKey(settings: KeySettings, request: TokenRequest): string {
  const prefix = prefixOf(settings, request)
  return request.resource === undefined ? prefix : `${prefix} ${request.resource}`
}
