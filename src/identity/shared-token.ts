import { hash, timingSafeEqual } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { isApiKey } from '../core/api-key.ts'
import { isBearer } from '../core/credential.ts'
import type { Principal } from '../core/principal.ts'
import { type Deny, deny } from '../core/reasons.ts'
import type { Request } from '../core/request.ts'
import { readSharedTokens } from '../core/shared-tokens.ts'
import type { BearerValidator, Credential } from '../core/validator.ts'
import { boundRoles } from './claims.ts'

/** Settings of a `shared-token` validator. */
export interface SharedTokenOptions {
  /** The validator's name, and with the namespace before it the subject of all who share the token. */
  readonly validator: string
  /** The secret as it is now: a token a line, two while it is rotated. Answers at once. */
  readonly secret: () => string
  readonly role: string | undefined
  /** Header in which a caller names the end user for whom it asks; undefined: none is believed. */
  readonly endUserHeader: string | undefined
  readonly namespace: string
  /** `may_assert`: the only roles that it may give; undefined for any. */
  readonly mayAssert: ReadonlySet<string> | undefined
  /** Told once of each changed secret that cannot be used: the last good one stays in use. Never holds anything of it. */
  readonly onFault: (detail: string) => void
}

/** End users whose principals are kept. */
const mostEndUsers = 10_000

/**
 * Visible ASCII without a comma, which could join two fields, and no more than 256 characters (RFC 9110, section 5.5 gives
 * other bytes no meaning): what else a name holds, its caller percent-encodes.
 */
const endUserForm = /^[!-+\--~]{1,256}$/

/**
 * Admits whoever knows the one secret. Any other opaque bearer token is taken for a wrong or an old one and rejected as
 * `invalid_credential`, so that its caller is told so; a JWT, an API key and other schemes are not this validator's.
 */
export function sharedToken(options: SharedTokenOptions): BearerValidator {
  const { validator, namespace } = options
  const tokens = new Tokens(options.secret, options.onFault)
  const issuer = `urn:postern:shared-token:${validator}`
  const caller = namespace + validator
  const roles = boundRoles(options.role === undefined ? [] : [options.role], options.mayAssert)
  const principals = new LRUCache<string, Principal>({ max: mostEndUsers })

  const principalOf = (digest: string, endUser: string | undefined): Principal => {
    const key = endUser === undefined ? digest : `${digest} ${endUser}`
    let principal = principals.get(key)
    if (!principal) {
      const rawSubject = endUser ?? validator
      principal = {
        validator,
        issuer,
        subject: namespace + rawSubject,
        rawSubject,
        roles,
        scopes: [],
        claims: {},
        issuedAt: 0,
        expiresAt: Number.POSITIVE_INFINITY,
        digest,
        ...(endUser !== undefined && { actor: { issuer, subject: caller } }),
      }
      principals.set(key, principal)
    }
    return principal
  }

  return {
    name: validator,
    subjects: namespace,
    presents: 'bearer',
    identify: ({ request, credential }) => {
      if (!isBearer(credential)) return 'abstain'
      if (!tokens.has(credential.digest)) return isOpaque(credential) ? deny('invalid_credential', 'it is not the shared token') : 'abstain'
      const endUser = options.endUserHeader === undefined ? undefined : readEndUser(request, options.endUserHeader, validator)
      return typeof endUser === 'object' ? endUser : principalOf(credential.digest, endUser)
    },
  }
}

/** Neither a JWT, a broken one included, nor a key of ours: such a token says itself whose it is. */
const isOpaque = ({ token, claimedIssuer, jwt }: Credential): boolean =>
  !isApiKey(token) && jwt === undefined && claimedIssuer === undefined

/** Who is named; a name that could be read in two ways, or that is the caller's own, is no name and no silence either. */
function readEndUser(request: Request, header: string, caller: string): string | Deny | undefined {
  const value = request.header(header)
  if (value === undefined) return undefined
  if (!endUserForm.test(value))
    return deny('invalid_credential', `${header} names no end user: expected once, 1 to 256 visible ASCII characters without a comma`)
  return value === caller ? deny('invalid_credential', `${header} names the callers themselves`) : value
}

/** The tokens that count now, by their digests; read again where the secret has changed. */
class Tokens {
  readonly #secret: () => string
  readonly #onFault: (detail: string) => void
  #text: string | undefined
  #digests: readonly Buffer[] = []

  constructor(secret: () => string, onFault: (detail: string) => void) {
    this.#secret = secret
    this.#onFault = onFault
    this.#refresh()
  }

  /** @param digest SHA-256 of a token, hexadecimal */
  has(digest: string): boolean {
    this.#refresh()
    const shown = Buffer.from(digest, 'latin1')
    let found = false
    // All are compared, each in a time that tells nothing of where it differs.
    for (const known of this.#digests) found = timingSafeEqual(shown, known) || found
    return found
  }

  #refresh(): void {
    const text = this.#secret()
    if (text === this.#text) return
    this.#text = text
    const read = readSharedTokens(text)
    if (typeof read === 'string') this.#onFault(`${read}; the last good tokens stay in use`)
    else this.#digests = read.map((token) => Buffer.from(hash('sha256', token), 'latin1'))
  }
}
