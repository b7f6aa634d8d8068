import type { JWTHeaderParameters, JWTVerifyGetKey } from 'jose'
import { JWKSNoMatchingKey } from 'jose/errors'
// The parts of jose one by one: a new sandbox should not wait for the rest to be loaded.
import { createLocalJWKSet } from 'jose/jwks/local'
import { DownloadFailed, download } from './download.ts'
import { invalidToken, unavailable } from './refusal.ts'

export interface KeysOptions {
  /** Where the JWK Set (RFC 7517) is: https, http on loopback, or a `file:` URL. */
  readonly url: string | URL
  /** PEM of the authorities that its server is trusted by instead of the system's; a function is asked at each fetch. */
  readonly ca?: string | (() => string)
  /** Milliseconds of a fetch; 2 s unless given. */
  readonly timeoutMs?: number
  /** Milliseconds after which the keys are fetched again, beside the requests; 10 minutes unless given. */
  readonly maxAgeMs?: number
  /** Milliseconds between two fetches for unknown key ids; 30 s unless given. */
  readonly cooldownMs?: number
  /** Milliseconds that the last good keys are used while no fetch succeeds; 24 h unless given. */
  readonly staleForMs?: number
  /** Keys over plain HTTP from another machine: whoever is on the way can forge them. Only for trying things out. */
  readonly allowPlaintext?: boolean
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
}

/** An issuer's public keys, kept near. */
export interface IssuerKeys {
  /** Finds the key of a token, as jose asks for it. Throws a Refusal: `invalid_token` for an unknown kid, 503 where there are no keys. */
  readonly find: JWTVerifyGetKey
  /** Fetches now; gives whether it went well. */
  readonly refresh: () => Promise<boolean>
}

type KeySet = ReturnType<typeof createLocalJWKSet>

/** Milliseconds between two attempts while the issuer does not answer: the first comes soon, for those that start together with it. */
const retryMs = { first: 50, most: 1_000 }
const publicKinds = new Set(['RSA', 'EC', 'OKP'])

/** @throws {TypeError} for a URL that anybody on the way could answer */
export function openKeys(options: KeysOptions): IssuerKeys {
  const { ca, timeoutMs = 2_000, maxAgeMs = 600_000, cooldownMs = 30_000, staleForMs = 86_400_000, clock = Date.now } = options
  const url = new URL(options.url)
  if (!isTrustworthy(url, options.allowPlaintext ?? false))
    throw new TypeError(`the keys of ${url.href}: expected https, http on loopback, or a file`)
  let keys: KeySet | undefined
  let fetchedAt = Number.NEGATIVE_INFINITY
  let triedAt = Number.NEGATIVE_INFINITY
  let pauseMs = retryMs.first
  let askedForUnknownAt = Number.NEGATIVE_INFINITY
  let why = 'not fetched yet'
  let inFlight: Promise<boolean> | undefined

  const fetchKeys = async (): Promise<boolean> => {
    triedAt = clock()
    pauseMs = Math.min(pauseMs * 2, retryMs.most)
    try {
      keys = createLocalJWKSet({ keys: publicKeys(await download(url, typeof ca === 'function' ? ca() : ca, timeoutMs), url) })
      fetchedAt = clock()
      pauseMs = retryMs.first
      return true
    } catch (cause) {
      why = cause instanceof DownloadFailed ? cause.message : `${url.href} holds no key set`
      return false
    }
  }
  // One fetch at a time, shared by all who wait for it.
  const refresh = (): Promise<boolean> => {
    inFlight ??= fetchKeys().finally(() => {
      inFlight = undefined
    })
    return inFlight
  }

  /** What may be used now: a set that is not too old, after a fetch where there is none. */
  const usable = async (): Promise<KeySet> => {
    const now = clock()
    // Both ways: a clock that was set back must not keep old keys alive.
    const age = Math.abs(now - fetchedAt)
    const mayTry = inFlight !== undefined || Math.abs(now - triedAt) >= pauseMs
    if (keys && age <= staleForMs) {
      if (age > maxAgeMs && mayTry) void refresh()
      return keys
    }
    if (mayTry && (await refresh()) && keys) return keys
    throw unavailable(`the keys of the issuer cannot be had: ${why}`)
  }

  const find: JWTVerifyGetKey = async (header, token) => {
    const known = await usable()
    try {
      return await known(header as JWTHeaderParameters, token)
    } catch (cause) {
      if (!(cause instanceof JWKSNoMatchingKey)) throw cause
    }
    const now = clock()
    if (inFlight === undefined) {
      if (Math.abs(now - askedForUnknownAt) < cooldownMs) throw invalidToken('no key of the issuer has this kid')
      askedForUnknownAt = now
    }
    if (!(await refresh()) || !keys) throw unavailable(`a key of the issuer is not known, and it cannot be asked: ${why}`)
    try {
      return await keys(header as JWTHeaderParameters, token)
    } catch (cause) {
      throw cause instanceof JWKSNoMatchingKey ? invalidToken('no key of the issuer has this kid') : cause
    }
  }
  return { find, refresh }
}

function isTrustworthy(url: URL, allowPlaintext: boolean): boolean {
  if (url.username !== '' || url.password !== '') return false
  if (url.protocol === 'https:' || url.protocol === 'file:') return true
  return url.protocol === 'http:' && (allowPlaintext || /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname))
}

/** Public keys alone: a shared secret or a private key in a set is nothing that a signature may be believed by. */
function publicKeys(text: string, url: URL) {
  let keys: unknown
  try {
    keys = (JSON.parse(text) as { keys?: unknown } | null)?.keys
  } catch {
    // Told below.
  }
  if (!Array.isArray(keys)) throw new DownloadFailed(`${url.href} holds no JWK Set`)
  return keys.filter((key) => publicKinds.has((key as { kty?: string } | null)?.kty ?? '') && !('d' in (key as object)))
}
