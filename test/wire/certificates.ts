import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'

export interface Issued {
  readonly cert: string
  readonly key: string
}

export interface Authority {
  readonly cert: string
  /** @param names subject alternative names: `URI:…`, `DNS:…` or `IP:127.0.0.1` */
  readonly issue: (commonName: string, names: readonly string[]) => Issued
}

/** An authority whose leaves are named as a certificate prints its names. */
export function createAuthority(name: string): Authority {
  const authority = makeAuthority(name)
  return {
    cert: authority.certificate,
    issue: (commonName, names) => {
      const of = (kind: string): string[] => names.filter((text) => text.startsWith(kind)).map((text) => text.slice(kind.length))
      const { certificate, key } = issueCertificate(authority, { commonName, uri: of('URI:'), dns: of('DNS:'), ip: of('IP:') })
      return { cert: certificate, key }
    },
  }
}

/** Writes a pair as PEM files, the key for its owner alone. */
export function writePair(folder: string, name: string, { cert, key }: Issued): { readonly cert: string; readonly key: string } {
  const paths = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) }
  writeFileSync(paths.cert, cert)
  writeFileSync(paths.key, key)
  chmodSync(paths.key, 0o600)
  return paths
}
