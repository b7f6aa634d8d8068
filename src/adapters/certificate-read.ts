import { closeSync, constants, fstatSync, openSync, readSync, realpathSync, statSync } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import {
  CertificateFault,
  type CertificatePaths,
  type CertificateSet,
  type CertificateTexts,
  certificateSet,
} from '../core/certificates.ts'
import { systemCode } from '../core/system-code.ts'

/** Bytes of one file: hundreds of authorities. */
const largestFile = 1024 * 1024

const parts = ['cert', 'key', 'ca'] as const
const whatOf = { cert: 'the certificate', key: 'the key', ca: 'the CA file' } as const

const distinct = (paths: CertificatePaths): string[] => [...new Set(parts.flatMap((part) => paths[part] ?? []))]

interface Looks {
  readonly dev: bigint
  readonly ino: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
}

const shown = (path: string, target: string, { dev, ino, size, mtimeNs, ctimeNs }: Looks): string =>
  `${path} ${target} ${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`

/** What files look like, through symbolic links: where those lead, and which content is there. Never throws. */
export async function looksOf(paths: CertificatePaths): Promise<string> {
  const each = distinct(paths).map(async (path) => {
    try {
      const target = await realpath(path)
      return shown(path, target, await stat(target, { bigint: true }))
    } catch (cause) {
      return `${path} ${systemCode(cause)}`
    }
  })
  return (await Promise.all(each)).join('\n')
}

/** As {@link looksOf}, in one go: nothing else of this process happens between it and the reading. */
function looksNow(paths: CertificatePaths): string {
  const each = distinct(paths).map((path) => {
    try {
      const target = realpathSync(path)
      return shown(path, target, statSync(target, { bigint: true }))
    } catch (cause) {
      return `${path} ${systemCode(cause)}`
    }
  })
  return each.join('\n')
}

/**
 * Private keys are for their owner, and at most to be read by a group: that is what Kubernetes makes of a Secret under
 * `fsGroup` (0440). Whoever else may read a key can be this service; whoever may write it can replace what it is.
 */
function checkMode(mode: number, what: string): void {
  if ((mode & 0o037) === 0) return
  const octal = (mode & 0o777).toString(8).padStart(4, '0')
  const why = (mode & 0o007) !== 0 ? 'is open to others' : 'can be changed by its group'
  throw new CertificateFault(`${what} ${why} (mode ${octal}); expected 0600 or 0640`)
}

/** Opened first and looked at then: what is judged is what is read, whatever a link leads to by now. A pipe does not block. */
function read(path: string, part: (typeof parts)[number]): string {
  const what = `${whatOf[part]} ${path}`
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const stats = fstatSync(file)
      if (!stats.isFile()) throw new CertificateFault(`${what} is no file`)
      if (stats.size > largestFile) throw new CertificateFault(`${what} has more than ${largestFile} bytes`)
      // One more: a file that grows while it is read looks different afterwards.
      const bytes = Buffer.alloc(stats.size + 1)
      let length = 0
      for (let got = 1; got > 0 && length < bytes.length; length += got) got = readSync(file, bytes, length, bytes.length - length, null)
      const text = bytes.toString('latin1', 0, length)
      if (part === 'key' || text.includes('PRIVATE KEY-----')) checkMode(stats.mode, what)
      return text
    } finally {
      closeSync(file)
    }
  } catch (cause) {
    if (cause instanceof CertificateFault) throw cause
    throw new CertificateFault(`${what} cannot be read (${systemCode(cause)})`)
  }
}

/**
 * Reads the files of a set, and sees that they belong together.
 * @returns the set, and what its files looked like; undefined where they changed while they were read
 * @throws {CertificateFault} naming the file
 */
export function readSet(paths: CertificatePaths): { readonly set: CertificateSet; readonly looks: string } | undefined {
  const looks = looksNow(paths)
  let set: CertificateSet | CertificateFault
  try {
    const texts: CertificateTexts = Object.fromEntries(
      parts.flatMap((part) => (paths[part] === undefined ? [] : [[part, read(paths[part], part)]])),
    )
    set = certificateSet(texts, paths)
    tryOut(set, paths)
  } catch (cause) {
    if (!(cause instanceof CertificateFault)) throw cause
    set = cause
  }
  if (looksNow(paths) !== looks) return undefined
  if (set instanceof CertificateFault) throw set
  return { set, looks }
}

/** TLS refuses more than what does not belong together: keys that are too short, for one. */
function tryOut({ cert, key, ca }: CertificateTexts, paths: CertificatePaths): void {
  try {
    createSecureContext({ ...(cert !== undefined && { cert }), ...(key !== undefined && { key }), ...(ca !== undefined && { ca }) })
  } catch (cause) {
    throw new CertificateFault(`${distinct(paths).join(', ')} cannot be used for TLS (${systemCode(cause)})`)
  }
}
