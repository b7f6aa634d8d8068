import { type ClaimedIssuers, isBearer, readCredential } from './credential.ts'
import { type CredentialPlaces, cookieValues, hasPlaces, type PlacedToken, protocolTokens, queryTokens } from './credential-places.ts'
import { type Deny, deny } from './reasons.ts'
import type { Request, Target } from './request.ts'
import type { Credential } from './validator.ts'

/** Where to look, and what to leave to the upstream. */
export interface Looking {
  readonly places: CredentialPlaces
  /** `authorization: keep`: that header is no credential here. */
  readonly keepsAuthorization: boolean
  readonly issuers: ClaimedIssuers
}

/**
 * The one bearer-like credential of a request. The same one in several places is one.
 * @returns undefined where nothing was presented; a denial where two differ
 */
export function presentedCredential(request: Request, target: Target, looking: Looking): Credential | Deny | undefined {
  const { places, issuers } = looking
  const authorization = looking.keepsAuthorization ? undefined : request.header('authorization')
  if (!hasPlaces(places)) return authorization === undefined ? undefined : readCredential(authorization, issuers)
  const found = elsewhere(request, target, places)
  if (!Array.isArray(found)) return found
  const first = found[0]
  if (authorization !== undefined) {
    const credential = readCredential(authorization, issuers, found)
    return first === undefined || found.every(({ token }) => isBearer(credential) && token === credential.token)
      ? credential
      : conflicting()
  }
  if (first === undefined) return undefined
  return found.every(({ token }) => token === first.token) ? readCredential(undefined, issuers, found) : conflicting()
}

const conflicting = (): Deny => deny('conflicting_credentials', 'two credentials that differ were presented')

function elsewhere(request: Request, target: Target, places: CredentialPlaces): PlacedToken[] | Deny {
  const found: PlacedToken[] = []
  for (const name of places.headers) {
    const value = request.header(name)
    if (value === undefined) continue
    // Envoy joins several fields of one name with a comma, and no credential holds one.
    if (value.includes(',') || request.headerCount(name) > 1) return deny('conflicting_credentials', `more than one ${name}`)
    found.push({ place: `header:${name}`, token: value })
  }
  if (places.cookies.length > 0) {
    const cookies = request.header('cookie')
    if (cookies !== undefined)
      for (const name of places.cookies) for (const token of cookieValues(cookies, name)) found.push({ place: `cookie:${name}`, token })
  }
  if (places.query && target.query !== '') for (const token of queryTokens(target.query)) found.push({ place: 'query', token })
  if (places.websocket) {
    const protocols = request.header('sec-websocket-protocol')
    if (protocols !== undefined) for (const token of protocolTokens(protocols)) found.push({ place: 'websocket', token })
  }
  return found
}
