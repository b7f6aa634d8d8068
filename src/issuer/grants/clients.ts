import { createPublicKey } from 'node:crypto'
import type { Client, ClientAuthentication } from '../../core/issuer-client.ts'
import { isJsonObject, type JsonObject } from '../../core/json.ts'
import { sameSecret } from '../../core/same-secret.ts'

/** A client as the policy has it. Times in seconds; what is read again is a function. */
export interface ClientEntry extends Omit<Client, 'authentication'> {
  readonly authentication:
    | { readonly kind: 'secret'; readonly secret: () => string }
    | { readonly kind: 'private_key_jwt'; readonly jwks: () => string }
    | Extract<ClientAuthentication, { kind: 'mtls' }>
}

/** The clients of a policy, found by their ids. */
export const clientsOf = (entries: readonly ClientEntry[]): ReadonlyMap<string, Client> =>
  new Map(entries.map((entry) => [entry.id, { ...entry, authentication: authenticationOf(entry.authentication) }]))

function authenticationOf(entry: ClientEntry['authentication']): ClientAuthentication {
  switch (entry.kind) {
    case 'secret':
      // Read anew each time: a secret that was replaced is in use without a reload.
      return { kind: 'secret', matches: (shown) => sameSecret(shown, entry.secret()) }
    case 'private_key_jwt':
      return { kind: 'private_key_jwt', jwks: keptKeys(entry.jwks) }
    case 'mtls':
      return entry
  }
}

/** The keys of a file that may be replaced; parsed only where its text is another. What cannot be read leaves the last good keys. */
function keptKeys(text: () => string): () => { readonly keys: readonly JsonObject[] } {
  let from: string | undefined
  let keys: readonly JsonObject[] = []
  return () => {
    const now = text()
    if (now !== from) {
      from = now
      keys = readKeys(now) ?? keys
    }
    return { keys }
  }
}

/** The public keys of a JWKS (RFC 7517, section 5) that this service can verify with. @returns undefined where it is none, or has none */
export function readKeys(text: string): readonly JsonObject[] | undefined {
  let set: unknown
  try {
    set = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isJsonObject(set) || !Array.isArray(set['keys'])) return undefined
  const keys = (set['keys'] as readonly unknown[]).filter((key): key is JsonObject => isJsonObject(key) && isPublic(key))
  return keys.length > 0 ? keys : undefined
}

const secretMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

function isPublic(jwk: JsonObject): boolean {
  if (secretMembers.some((name) => Object.hasOwn(jwk, name)) || (jwk['use'] !== undefined && jwk['use'] !== 'sig')) return false
  try {
    createPublicKey({ key: jwk, format: 'jwk' })
    return true
  } catch {
    return false
  }
}
