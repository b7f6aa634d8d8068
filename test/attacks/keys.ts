import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Whose keys; `client` signs proofs of possession, and issues nothing. */
export type IssuerName = 'users' | 'here' | 'partners' | 'stranger' | 'client'
type KeyKind = 'rsa' | 'ec' | 'ed'

/** The keys of one issuer: what it publishes, and what it signs with. */
export interface IssuerKeys {
  readonly privateKey: Readonly<Record<KeyKind, KeyObject>>
  readonly publicKey: Readonly<Record<KeyKind, KeyObject>>
  readonly jwks: { readonly keys: readonly Readonly<Record<string, unknown>>[] }
}

const kinds = { rsa: 'RS256', ec: 'ES256', ed: 'EdDSA' } as const
const issuers: readonly IssuerName[] = ['users', 'here', 'partners', 'stranger', 'client']

/** The kid under which a kind of key is published. */
export const kidOf = (issuer: IssuerName, kind: KeyKind): string => `${issuer}-${kind}`

/**
 * Makes keys for each issuer, or reads those of before.
 * @param folder where they are kept as PEM (0600); absent: nowhere
 */
export function issuerKeys(folder?: string): Record<IssuerName, IssuerKeys> {
  if (folder !== undefined) mkdirSync(folder, { recursive: true, mode: 0o700 })
  return Object.fromEntries(issuers.map((issuer) => [issuer, keysOf(issuer, folder)])) as Record<IssuerName, IssuerKeys>
}

function keysOf(issuer: IssuerName, folder: string | undefined): IssuerKeys {
  const privateKey = {
    rsa: kept(folder, `${issuer}-rsa.pem`, () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
    ec: kept(folder, `${issuer}-ec.pem`, () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey),
    ed: kept(folder, `${issuer}-ed.pem`, () => generateKeyPairSync('ed25519').privateKey),
  }
  const publicKey = {
    rsa: createPublicKey(privateKey.rsa),
    ec: createPublicKey(privateKey.ec),
    ed: createPublicKey(privateKey.ed),
  }
  const keys = (Object.keys(kinds) as KeyKind[])
    // Envoy's jwt_authn takes Ed25519, too; the issuer that it verifies publishes what most do.
    .filter((kind) => kind !== 'ed' || issuer !== 'users')
    .map((kind) => ({ ...publicKey[kind].export({ format: 'jwk' }), kid: kidOf(issuer, kind), alg: kinds[kind], use: 'sig' }))
  return { privateKey, publicKey, jwks: { keys } }
}

function kept(folder: string | undefined, name: string, make: () => KeyObject): KeyObject {
  if (folder === undefined) return make()
  const file = join(folder, name)
  if (existsSync(file)) return createPrivateKey(readFileSync(file))
  const key = make()
  writeFileSync(file, key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  return key
}
