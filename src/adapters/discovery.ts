import { type JsonObject, readJsonObject } from '../core/json.ts'
import { HttpFailure } from './http-client.ts'

export type FetchFault = 'DiscoveryFailed' | 'IssuerMismatch' | 'KeySetFailed'

/** A document of an issuer that could not be had; the message holds no credential. */
export class FetchFailed extends Error {
  override readonly name = 'FetchFailed'
  readonly reason: FetchFault
  constructor(reason: FetchFault, message: string) {
    super(message)
    this.reason = reason
  }
}

/** Characters of a foreign text in a message. */
const longestShown = 200

/**
 * Where the discovery document of an issuer is: a slash at its end is taken away before the well-known path is put
 * there (OpenID Connect Discovery 1.0, section 4).
 */
export const discoveryUrl = (issuer: string): string => `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`

/**
 * Fetches and checks a discovery document: it must name exactly this issuer (section 4.3).
 * @param get gives the body of a 200
 * @throws {FetchFailed}
 */
export async function discover(issuer: string, get: (url: string) => Promise<string>): Promise<JsonObject> {
  const document = readJsonObject(await get(discoveryUrl(issuer)))
  if (!document) throw new FetchFailed('DiscoveryFailed', 'the discovery document is no JSON object')
  if (document['issuer'] !== issuer) throw new FetchFailed('IssuerMismatch', mismatch(issuer, document['issuer']))
  return document
}

/** Says which of the forms of an issuer the document names, so that the policy can be written alike. */
function mismatch(issuer: string, named: unknown): string {
  if (typeof named !== 'string') return `the discovery document names no issuer, expected ${issuer}`
  if (named === `${issuer}/`) return `the discovery document names the issuer with a "/" at its end: write issuer: ${named} if iss has it`
  if (`${named}/` === issuer) return `the discovery document names the issuer without a "/" at its end: write issuer: ${named} if iss is so`
  if (/\{\w+\}/.test(named))
    return `the discovery document is one for all tenants (${visible(named)}): write the issuer of the tenant, not ${issuer}`
  return `the discovery document names the issuer ${visible(named)}, not ${issuer}`
}

const visible = (text: string): string => text.slice(0, longestShown).replace(/[^\u0020-\u007e]/g, '?')

/** The body of a 200. @throws {FetchFailed} */
export async function bodyOf(url: string, reason: FetchFault, call: () => Promise<{ status: number; body: string }>): Promise<string> {
  try {
    const answer = await call()
    if (answer.status === 200) return answer.body
    throw new FetchFailed(reason, `${url} answered ${answer.status}`)
  } catch (cause) {
    throw cause instanceof HttpFailure ? new FetchFailed(reason, `${url}: ${cause.message}`) : cause
  }
}
