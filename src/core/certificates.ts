import { createHash, createPrivateKey, X509Certificate } from 'node:crypto'

/** What the files of one set hold, in PEM; what is not configured is absent. */
export interface CertificateTexts {
  /** The own certificate first, then what leads from it to its authority. */
  readonly cert?: string
  readonly key?: string
  /** The authorities that the other side is verified by. */
  readonly ca?: string
}

/** Texts that belong together, and what they say of themselves. */
export interface CertificateSet extends CertificateTexts {
  /** SHA-256 of all texts: another set has another one. */
  readonly digest: string
  readonly own?: OwnCertificate
  readonly authorities?: Authorities
}

export interface OwnCertificate {
  /** Of the certificate itself: SHA-256, lower-case hex. */
  readonly fingerprint: string
  /** Its subject alternative names, as X509Certificate of node:crypto writes them; its subject where it has none. */
  readonly names: string
  /** Milliseconds since the epoch. */
  readonly validFrom: number
  readonly validTo: number
  /** Certificates in the file, itself among them. */
  readonly chain: number
}

export interface Authorities {
  readonly count: number
  /** SHA-256 of each, lower-case hex. */
  readonly fingerprints: readonly string[]
  /** Milliseconds since the epoch: when the last of them expires, and nobody can be verified any more. */
  readonly validTo: number
  /** When the first of them becomes valid. */
  readonly validFrom: number
}

/** What a set is used for: it names certificates in logs, status and metrics, such as `listen.check`. */
export type CertificateUse = string

/** Where a server or a client has its certificates from. */
export interface CertificateSource {
  /** The set in use. The same object for as long as nothing has changed. @throws {CertificateFault} where there has been no good one yet */
  readonly current: () => CertificateSet
  /** Told of each set that replaces another. @returns a function that ends it */
  readonly subscribe: (listener: (next: CertificateSet, before: CertificateSet | undefined) => void) => () => void
  /** Ends this use of the files. */
  readonly close: () => void
}

/** Certificates that cannot be used; the message is for the operator, and names the file. */
export class CertificateFault extends Error {
  override readonly name = 'CertificateFault'
  /** `time`: they are whole, but not valid now; they may be later without a change of the files. */
  readonly kind: 'files' | 'time'
  constructor(message: string, kind: 'files' | 'time' = 'files') {
    super(message)
    this.kind = kind
  }
}

/** The same as {@link CertificateTexts}, where each text is read from. */
export type CertificatePaths = { readonly [name in keyof CertificateTexts]?: string }

const block = /-----BEGIN CERTIFICATE-----[\r\n]+(?:[A-Za-z0-9+/= \t]*[\r\n]+)+-----END CERTIFICATE-----/g

/** All certificates of a PEM text. @throws {CertificateFault} where one is cut off, or is none */
function certificatesOf(text: string, what: string): X509Certificate[] {
  const blocks = text.match(block) ?? []
  // Keys and parameters may stand beside them; what begins as a certificate must end as one.
  const begun = text.split('-----BEGIN CERTIFICATE-----').length - 1
  if (begun !== blocks.length) throw new CertificateFault(`${what} ends in the middle of a certificate, or is no PEM`)
  if (blocks.length === 0) throw new CertificateFault(`${what} holds no PEM certificate`)
  const end = text.lastIndexOf('-----END ')
  const after = text.slice(end).split(/[\r\n]+/)
  if (!/^-----END [A-Z0-9 ]+-----$/.test(after[0]!.trimEnd()) || after.slice(1).some((line) => line.startsWith('-')))
    throw new CertificateFault(`${what} ends in the middle of a PEM block`)
  return blocks.map((pem, i) => {
    try {
      return new X509Certificate(pem)
    } catch {
      throw new CertificateFault(`certificate ${i + 1} of ${what} is broken`)
    }
  })
}

const hex = (fingerprint: string): string => fingerprint.replaceAll(':', '').toLowerCase()

function ownOf(cert: string, key: string | undefined, paths: CertificatePaths): OwnCertificate {
  const what = `the certificate ${paths.cert ?? ''}`
  const chain = certificatesOf(cert, what)
  const own = chain[0]!
  if (key === undefined) throw new CertificateFault(`${what} has no key beside it`)
  if (!/-----END [A-Z ]*PRIVATE KEY-----/.test(key)) throw new CertificateFault(`the key ${paths.key ?? ''} holds no whole PEM private key`)
  let matches: boolean
  try {
    matches = own.checkPrivateKey(createPrivateKey(key))
  } catch {
    throw new CertificateFault(`the key ${paths.key ?? ''} cannot be used: expected a PEM private key without a passphrase`)
  }
  if (!matches) {
    throw new CertificateFault(
      `the certificate ${paths.cert ?? ''} and the key ${paths.key ?? ''} are no PEM pair: the first certificate must be that of the key`,
    )
  }
  return {
    fingerprint: hex(own.fingerprint256),
    names: own.subjectAltName ?? own.subject,
    validFrom: own.validFromDate.getTime(),
    validTo: own.validToDate.getTime(),
    chain: chain.length,
  }
}

function authoritiesOf(ca: string, paths: CertificatePaths): Authorities {
  // An empty text would be taken for "the system's own".
  const found = certificatesOf(ca, `the CA file ${paths.ca ?? ''}`)
  return {
    count: found.length,
    fingerprints: found.map(({ fingerprint256 }) => hex(fingerprint256)),
    validTo: Math.max(...found.map(({ validToDate }) => validToDate.getTime())),
    validFrom: Math.min(...found.map(({ validFromDate }) => validFromDate.getTime())),
  }
}

/**
 * Sees whether texts belong together: all PEM blocks whole, and the key that of the first certificate.
 * @param paths for the sentences
 * @throws {CertificateFault}
 */
export function certificateSet(texts: CertificateTexts, paths: CertificatePaths): CertificateSet {
  const { cert, key, ca } = texts
  if (key !== undefined && cert === undefined) throw new CertificateFault(`the key ${paths.key ?? ''} has no certificate beside it`)
  const own = cert === undefined ? undefined : ownOf(cert, key, paths)
  const authorities = ca === undefined ? undefined : authoritiesOf(ca, paths)
  const digest = createHash('sha256')
    .update(JSON.stringify([cert, key, ca]))
    .digest('hex')
  return { ...texts, digest, ...(own && { own }), ...(authorities && { authorities }) }
}

/** Why a set is of no use at a moment: who is shown it, or verified by it, would be refused; undefined where it is valid. */
export function timeFault({ own, authorities }: CertificateSet, now: number, paths: CertificatePaths): CertificateFault | undefined {
  const fault = (what: string): CertificateFault => new CertificateFault(what, 'time')
  const at = (time: number): string => new Date(time).toISOString()
  if (own && now >= own.validTo) return fault(`the certificate ${paths.cert ?? ''} has expired (${at(own.validTo)})`)
  if (own && now < own.validFrom) return fault(`the certificate ${paths.cert ?? ''} is not valid before ${at(own.validFrom)}`)
  if (authorities && now >= authorities.validTo)
    return fault(`all authorities in ${paths.ca ?? ''} have expired (${at(authorities.validTo)})`)
  if (authorities && now < authorities.validFrom)
    return fault(`no authority in ${paths.ca ?? ''} is valid before ${at(authorities.validFrom)}`)
  return undefined
}

/** Whether a set holds fewer certificates than another: a file that is cut off between two of them looks whole. */
export const isShorter = (next: CertificateSet, before: CertificateSet): boolean =>
  (next.own?.chain ?? 0) < (before.own?.chain ?? 0) || (next.authorities?.count ?? 0) < (before.authorities?.count ?? 0)

/** Whether an authority of one set is not in the next one: whom it vouched for must be verified anew. */
export const losesAuthority = (next: CertificateSet, before: CertificateSet): boolean => {
  const left = new Set(next.authorities?.fingerprints)
  return (before.authorities?.fingerprints ?? []).some((fingerprint) => !left.has(fingerprint))
}

/** How a set of certificates is, for status and metrics. */
export interface CertificateState {
  readonly use: CertificateUse
  readonly paths: CertificatePaths
  /** undefined: there has been no good set yet. */
  readonly set: CertificateSet | undefined
  /** Why what the files hold now is not in use; undefined where it is. */
  readonly fault: string | undefined
  readonly reloads: { readonly success: number; readonly refused: number }
}

/** Keeps the certificates of a process. */
export interface CertificateLoader {
  /**
   * Certificates from files, for one use. Reads them at once; where they cannot be used, it goes on trying, and says so in {@link ready}.
   * Whoever asks for the same files has the same set.
   */
  readonly open: (use: CertificateUse, paths: CertificatePaths) => CertificateSource
  /** Waits a moment for sets that are being written. @throws {CertificateFault} with a sentence for each use that has no good set */
  readonly ready: () => Promise<void>
  readonly states: () => readonly CertificateState[]
  /** Looks at all files at once. */
  readonly look: () => Promise<void>
  readonly close: () => void
}
