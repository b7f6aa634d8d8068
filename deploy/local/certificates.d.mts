/** Types of certificates.mjs, for the tests. */
import type { KeyObject } from 'node:crypto'

export interface Authority {
  readonly commonName: string
  /** PEM. */
  readonly certificate: string
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

export interface Names {
  readonly commonName: string
  readonly dns?: readonly string[]
  readonly ip?: readonly string[]
  /** SPIFFE IDs. */
  readonly uri?: readonly string[]
  /** How long it is valid, from now; 7 unless told. */
  readonly days?: number
  readonly notBefore?: Date
  readonly notAfter?: Date
}

/** PEM both. */
export interface Leaf {
  readonly certificate: string
  readonly key: string
}

export function makeAuthority(commonName: string, options?: { readonly days?: number }): Authority
export function issueCertificate(authority: Authority, names: Names): Leaf
export function writeLeaf(folder: string, fileName: string, leaf: Leaf): { cert: string; key: string }
export function writeAuthority(folder: string, fileName: string, authority: Authority): string
