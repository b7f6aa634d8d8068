import { readFileSync } from 'node:fs'
import { type Authority, issueCertificate, makeAuthority, type Names, writeAuthority, writeLeaf } from '../../deploy/local/certificates.mjs'

/** Paths of a certificate and its key (0600), and the PEM texts for clients in this process. */
export interface Identity {
  readonly cert: string
  readonly key: string
  readonly certPem: string
  readonly keyPem: string
}

/** A CA of one test, and the leaves that it makes, as files in a folder. */
export interface Certificates {
  readonly authority: Authority
  /** Path of the CA's certificate. */
  readonly ca: string
  readonly caPem: string
  /** A leaf for `localhost`, 127.0.0.1 and ::1, and the names given. */
  readonly server: (fileName: string, names?: Partial<Names>) => Identity
  /** A client's leaf, with a SPIFFE ID as its only URI; `names` may say otherwise. */
  readonly workload: (fileName: string, spiffeId: string, names?: Partial<Names>) => Identity
}

/** @param folder of the test, removed by it @param caName file name of the CA's certificate, without extension */
export function testCertificates(folder: string, caName = 'ca'): Certificates {
  const authority = makeAuthority(`Postern test ${caName}`)
  const ca = writeAuthority(folder, caName, authority)
  const issue = (fileName: string, names: Names): Identity => {
    const leaf = issueCertificate(authority, names)
    return { ...writeLeaf(folder, fileName, leaf), certPem: leaf.certificate, keyPem: leaf.key }
  }
  return {
    authority,
    ca,
    caPem: readFileSync(ca, 'utf8'),
    server: (fileName, { dns = [], ...names } = {}) =>
      issue(fileName, { commonName: fileName, dns: ['localhost', ...dns], ip: ['127.0.0.1', '::1'], ...names }),
    workload: (fileName, spiffeId, names = {}) => issue(fileName, { commonName: fileName, uri: [spiffeId], ...names }),
  }
}
