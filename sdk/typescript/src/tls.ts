import { readFileSync } from 'node:fs'
import { createSecureContext, type Server } from 'node:tls'

/** PEM files: an SVID as spiffe-helper writes it, or a Secret's `tls.crt`, `tls.key` and `ca.crt`. */
export interface TlsFiles {
  readonly cert: string
  readonly key: string
  /** Whose client certificates are believed. */
  readonly ca: string
}

export interface TlsMaterial {
  readonly cert: string
  readonly key: string
  readonly ca: string
  readonly requestCert: true
  readonly rejectUnauthorized: true
  readonly minVersion: 'TLSv1.2'
}

/**
 * What `createServer` of node:https needs for the `mtls` mode: a client without a certificate of this CA gets no connection.
 * @throws {Error} naming the files, where they cannot be read or do not belong together
 */
export function readTls({ cert, key, ca }: TlsFiles): TlsMaterial {
  const read = (path: string): string => {
    try {
      return readFileSync(path, 'utf8')
    } catch (cause) {
      throw new Error(`${path} cannot be read (${String((cause as { code?: unknown }).code)})`)
    }
  }
  const pem = { cert: read(cert), key: read(key), ca: read(ca) }
  // An empty CA file would be taken for "the system's own".
  if (!pem.ca.includes('-----BEGIN CERTIFICATE-----')) throw new Error(`${ca} holds no PEM certificate`)
  try {
    createSecureContext(pem)
  } catch {
    throw new Error(`${cert} and ${key} are no PEM pair`)
  }
  return { ...pem, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2' }
}

/**
 * Looks at the files again and again, and hands what is new to the server: open connections stay. While they are half written or broken,
 * the last good ones stay in use.
 * @param everyMs milliseconds between two looks; 10 s unless given
 * @param onFault told once of a fault
 * @returns a function that ends it
 */
export function keepFresh(server: Server, files: TlsFiles, onFault: (message: string) => void = () => {}, everyMs = 10_000): () => void {
  let inUse = ''
  let told = ''
  const timer = setInterval(() => {
    try {
      const next = readTls(files)
      const text = JSON.stringify(next)
      told = ''
      if (text === inUse) return
      server.setSecureContext(next)
      inUse = text
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : 'the certificates cannot be read'
      if (message !== told) onFault(message)
      told = message
    }
  }, everyMs)
  timer.unref()
  return () => clearInterval(timer)
}
