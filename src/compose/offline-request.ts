import type { Settings } from '../config/schema.ts'
import type { JsonObject } from '../core/json.ts'
import type { Request } from '../core/request.ts'
import type { OfflineApiKeys } from './offline-api-keys.ts'
import { assumeSigned, type CaseToken, makeToken, type OfflineKeys, verifiedByEnvoy } from './offline-tokens.ts'

/** A request that never was. */
export interface OfflineRequest {
  readonly method: string
  readonly host: string
  /** With the query. */
  readonly path: string
  /** Lower-case names; a name may come several times. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Presented as {@link CaseToken} says, and told as verified by Envoy where the policy trusts Envoy with its issuer. */
  readonly token?: CaseToken | string | undefined
  /** Payloads under jwt_authn's `metadata_key`s, instead of those that follow from the token. */
  readonly verified?: Readonly<Record<string, JsonObject>> | undefined
  /** `source.principal`. */
  readonly workload?: string | undefined
  readonly extensions?: Readonly<Record<string, string>> | undefined
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** The request as Envoy would ask about it. */
export async function offlineRequest(
  settings: Settings,
  keys: OfflineKeys & { readonly apiKeys: OfflineApiKeys },
  input: OfflineRequest,
): Promise<Request> {
  const token =
    typeof input.token === 'object'
      ? await makeToken(settings, keys, input.token, input.now)
      : input.token && (await assumeSigned(input.token, keys))
  const headers = [...input.headers]
  // Envoy always says it.
  if (!headers.some(([name]) => name === 'x-forwarded-proto')) headers.push(['x-forwarded-proto', 'https'])
  const scheme = headers.some(([name]) => name === 'dpop') ? 'dpop' : 'bearer'
  const path =
    token === undefined ? input.path : present(token, (typeof input.token === 'object' && input.token.in) || scheme, headers, input.path)
  const presented = headers.filter(([name]) => name === 'authorization').map(([, value]) => value)
  const forged = typeof input.token === 'object' && input.token.forged === true
  const assumed = presented.length === 1 && !forged ? verifiedByEnvoy(settings, presented[0]!.replace(/^(?:Bearer|DPoP) /, '')) : {}
  const verified = input.verified ?? assumed
  const values = (name: string): string[] => headers.filter(([known]) => known === name).map(([, value]) => value)
  return {
    method: input.method,
    host: input.host,
    path,
    scheme: 'https',
    header: (name) => (values(name).length === 0 ? undefined : values(name).join(',')),
    headerCount: (name) => values(name).length,
    headerNames: () => new Set(headers.map(([name]) => name)),
    namesLike: (prefix) => new Set(headers.map(([name]) => name).filter((name) => name.startsWith(prefix) || name.includes('_'))),
    peerPrincipal: input.workload ?? '',
    peerCertificate: '',
    extension: (name) => input.extensions?.[name],
    verifiedPayload: (key) => (Object.hasOwn(verified, key) ? verified[key] : undefined),
  }
}

/** Puts a token where the case says. @returns the path, with the token where it stands in the query */
function present(token: string, where: string, headers: (readonly [string, string])[], path: string): string {
  const [kind = '', ...rest] = where.split(':')
  const name = rest.join(':')
  switch (kind) {
    case 'bearer':
      headers.push(['authorization', `Bearer ${token}`])
      return path
    case 'dpop':
      headers.push(['authorization', `DPoP ${token}`])
      return path
    case 'basic':
      headers.push(['authorization', `Basic ${Buffer.from(`${name}:${token}`).toString('base64')}`])
      return path
    case 'header':
      headers.push([name.toLowerCase(), token])
      return path
    case 'cookie':
      headers.push(['cookie', `${name}=${token}`])
      return path
    case 'websocket':
      headers.push(['sec-websocket-protocol', `bearer.${token}`])
      return path
    case 'query':
      return `${path}${path.includes('?') ? '&' : '?'}access_token=${token}`
    default:
      throw new TypeError(`token.in: expected bearer, dpop, basic:USER, header:NAME, cookie:NAME, query or websocket, not "${where}"`)
  }
}
