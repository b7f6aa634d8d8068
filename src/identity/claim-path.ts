import { at, isJsonObject, type Json, type JsonObject } from '../core/json.ts'

/**
 * The value of the claim that a setting names: a name, names joined by dots (`realm_access.roles`), or a JSON pointer
 * (RFC 6901) for what dots cannot say (`/kubernetes.io/namespace`). Only own members and existing elements count.
 */
export function claimAt(payload: JsonObject, path: string): Json | undefined {
  if (!path.startsWith('/')) return at(payload, path)
  let value: Json | undefined = payload
  for (const token of path.slice(1).split('/')) {
    // `~1` before `~0`, so that `~01` becomes `~1` (RFC 6901, section 4).
    const name = token.includes('~') ? token.replaceAll('~1', '/').replaceAll('~0', '~') : token
    if (Array.isArray(value)) value = /^(?:0|[1-9]\d*)$/.test(name) ? (value as readonly Json[])[Number(name)] : undefined
    else value = isJsonObject(value) && Object.hasOwn(value, name) ? value[name] : undefined
    if (value === undefined) return undefined
  }
  return value
}
