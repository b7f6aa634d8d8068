import { readFileSync, statSync } from 'node:fs'
import { type SignatureAlgorithm, signatureAlgorithms, suits } from '../core/jws.ts'
import { systemCode } from '../core/system-code.ts'
import type { KeyAnswer } from '../core/verification-keys.ts'
import type { Jwks, JwksCondition } from './jwks.ts'
import { type PublicJwk, readJwks } from './jwks-parse.ts'

export interface JwksFileOptions {
  /** Whose keys they are, for messages. */
  readonly issuer: string
  readonly path: string
  readonly algorithms: readonly SignatureAlgorithm[]
  /** `use` of keys that sign tokens, beside `sig`. */
  readonly keyUse?: string
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
  /** Told whenever the file was read, or could not be. */
  readonly observe?: (condition: JwksCondition) => void
}

/** Milliseconds: a file that is replaced is in use within this. */
const lookEveryMs = 1000

/**
 * The keys of a JWK Set in a file (RFC 7517, section 5), such as a SPIFFE bundle that a helper keeps fresh. The file is looked
 * at when a key is asked for, at most once a second, and read where it has changed. What cannot be read, or is no key set,
 * leaves the last good keys in use; without any, nothing is verified.
 */
export function openJwksFile(options: JwksFileOptions): Jwks {
  const { issuer, path, clock = Date.now } = options
  const wanted = new Set(options.algorithms)
  let keys: readonly PublicJwk[] | undefined
  let version = ''
  let fault: string | undefined
  let lookedAt = Number.NEGATIVE_INFINITY
  let readAt = 0
  let status: JwksCondition['status'] = 'Unknown'
  let since = clock()

  const look = (): void => {
    lookedAt = clock()
    try {
      const { ino, size, mtimeMs, ctimeMs } = statSync(path)
      const seen = [ino, size, mtimeMs, ctimeMs].join(' ')
      if (seen === version && fault === undefined) return
      const found = readJwks(readFileSync(path, 'utf8'), signatureAlgorithms, options.keyUse)
      if (found) {
        keys = found
        readAt = lookedAt
        version = seen
      }
      fault = found ? undefined : `"${path}" is no JWK Set`
    } catch (error) {
      const code = systemCode(error)
      fault = `"${path}" cannot be read: ${code === 'ENOENT' ? 'there is no such file' : code}`
    }
    options.observe?.(condition())
  }

  const usable = (): PublicJwk[] => (keys ?? []).filter((key) => [...wanted].some((alg) => fits(key, alg)))

  const find = (kid: string | undefined, alg: SignatureAlgorithm): KeyAnswer => {
    if (Math.abs(clock() - lookedAt) >= lookEveryMs) look()
    const fitting = (keys ?? []).filter((key) => fits(key, alg) && (kid === undefined || key.kid === kid))
    // Without a kid only a single key is an answer; two keys of one kid and kind would be a guess as well.
    if (fitting.length === 1) return { kind: 'key', key: fitting[0]!.key }
    if (fault === undefined && usable().length > 0) return { kind: 'unknown' }
    return { kind: 'unavailable', detail: `keys of ${issuer} cannot be had: ${condition().message}` }
  }

  const condition = (): JwksCondition => {
    const good = usable()
    const now: JwksCondition['status'] = good.length > 0 ? 'True' : 'False'
    if (now !== status) {
      status = now
      since = clock()
    }
    const reason = fault !== undefined ? (keys ? 'UsingLastGood' : 'KeySetFailed') : good.length > 0 ? 'Fetched' : 'NoUsableKeys'
    return {
      type: 'JWKSReady',
      issuer,
      status,
      reason,
      message: fault ?? (good.length > 0 ? `${good.length} keys` : `"${path}" holds no key for ${[...wanted].join(', ')}`),
      lastTransitionTime: new Date(since).toISOString(),
      kids: good.flatMap(({ kid }) => (kid === undefined ? [] : [kid])),
      ageSeconds: keys ? Math.max(0, Math.round((clock() - readAt) / 1000)) : undefined,
    }
  }

  look()
  return {
    find,
    condition,
    want: (algorithms) => {
      for (const alg of algorithms) wanted.add(alg)
    },
    refresh: async () => look(),
    close: () => {},
  }
}

const fits = ({ alg, key }: PublicJwk, wanted: SignatureAlgorithm): boolean => (alg === undefined || alg === wanted) && suits(key, wanted)
