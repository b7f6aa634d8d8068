import { open } from 'node:fs/promises'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { systemCode } from '../core/system-code.ts'
import { ListenFault, type ListenTls } from './listener.ts'

export type TlsFiles = Exclude<ListenTls, { readonly mode: 'none' }>

/** What a TLS server is made of; the texts are PEM. */
export interface Certificates extends SecureContextOptions {
  readonly cert: string
  readonly key: string
  readonly ca?: string
  readonly minVersion: 'TLSv1.2'
}

async function read(path: string, what: string, secret: boolean): Promise<string> {
  try {
    const file = await open(path)
    try {
      const { mode } = await file.stat()
      if (secret && (mode & 0o007) !== 0) {
        throw new ListenFault(
          `${what} ${path} is open to others (mode ${(mode & 0o777).toString(8).padStart(4, '0')}); expected 0600 or 0640`,
        )
      }
      return await file.readFile('utf8')
    } finally {
      await file.close()
    }
  } catch (cause) {
    if (cause instanceof ListenFault) throw cause
    throw new ListenFault(`${what} ${path} cannot be read (${systemCode(cause)})`)
  }
}

/**
 * Reads certificate, key and CA, and sees that they belong together.
 * @throws {ListenFault} naming the file
 */
export async function readCertificates(tls: TlsFiles): Promise<Certificates> {
  const cert = await read(tls.cert, 'the certificate', false)
  const key = await read(tls.key, 'the key', true)
  const ca = tls.mode === 'mtls' ? await read(tls.ca, 'the CA file', false) : undefined
  const certificates: Certificates = { cert, key, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) }
  // An empty CA file would be taken for "the system's own".
  if (ca !== undefined && !ca.includes('-----BEGIN CERTIFICATE-----'))
    throw new ListenFault(`the CA file ${'ca' in tls ? tls.ca : ''} holds no PEM certificate`)
  try {
    createSecureContext(certificates)
  } catch (cause) {
    throw new ListenFault(`the certificate ${tls.cert} and the key ${tls.key} are no PEM pair (${systemCode(cause)})`)
  }
  return certificates
}

/** How often the files are looked at, in milliseconds: renewed ones are in use within 10 s. */
const lookEveryMs = 10_000

/**
 * Looks whether the files have changed, symlink swaps included, and hands on what is new. While they are broken
 * (or half written) the last good ones stay in use, and `onFault` is told once.
 * @returns a function that ends it
 */
export function watchCertificates(
  tls: TlsFiles,
  current: Certificates,
  apply: (next: Certificates) => void,
  onFault: (detail: string) => void,
  everyMs = lookEveryMs,
): () => void {
  let inUse = current
  let told = ''
  let looking = false
  const look = async (): Promise<void> => {
    if (looking) return
    looking = true
    try {
      const next = await readCertificates(tls)
      told = ''
      if (next.cert === inUse.cert && next.key === inUse.key && next.ca === inUse.ca) return
      apply(next)
      inUse = next
    } catch (cause) {
      const detail = cause instanceof Error ? cause.message : 'unreadable'
      if (detail !== told) onFault(`certificates are not reloaded: ${detail}`)
      told = detail
    } finally {
      looking = false
    }
  }
  const timer = setInterval(look, everyMs)
  timer.unref()
  return () => clearInterval(timer)
}
