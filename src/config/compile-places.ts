import type { CredentialPlaces } from '../core/credential-places.ts'
import type { Settings } from './schema.ts'
import type { PlaceSetting } from './schema-validator.ts'

type Entry = Settings['identity'][number]

/** Where a validator looks for credentials. */
export const fromOf = (entry: Entry): readonly PlaceSetting[] => ('from' in entry && entry.type !== 'edge-trust' ? entry.from : [])

/** The same, in the names that the credential's places have. */
export const placeNames = (entry: Entry): ReadonlySet<string> =>
  new Set(
    fromOf(entry).map((place) => (place === 'x-api-key' ? 'header:x-api-key' : place.startsWith('header:') ? place.toLowerCase() : place)),
  )

/** All places that the validators of a policy name beside `Authorization`. */
export function placesOf({ identity }: Pick<Settings, 'identity'>): CredentialPlaces {
  const named = new Set(identity.flatMap((entry) => [...placeNames(entry)]))
  const after = (prefix: string): string[] => [...named].filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length))
  return { headers: after('header:'), cookies: after('cookie:'), query: named.has('query'), websocket: named.has('websocket') }
}

/** Headers that no upstream gets, whoever sends them: proofs of possession, an edge's proof, and end users that a client names. */
export function strippedOf({ identity }: Pick<Settings, 'identity'>): string[] {
  const names = new Set(['dpop'])
  for (const entry of identity) {
    if (entry.type === 'shared-token') names.add(entry.end_user_header.toLowerCase())
    if (entry.type === 'edge-trust' && entry.proof) names.add(entry.proof.header.toLowerCase())
  }
  return [...names]
}
