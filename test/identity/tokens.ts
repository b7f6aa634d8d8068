import { constants, createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { readCredential } from '../../src/core/credential.ts'
import type { JsonObject } from '../../src/core/json.ts'
import type { Request } from '../../src/core/request.ts'
import type { Presentation } from '../../src/core/validator.ts'

export const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

export const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
export const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
export const ed = generateKeyPairSync('ed25519')

/** Signs whatever it is told to, right or wrong: header and payload may be raw text. */
export function signToken(header: unknown, payload: unknown, key: KeyObject = ec.privateKey, how: 'right' | 'der' = 'right'): string {
  const input = `${encode(header)}.${encode(payload)}`
  const data = Buffer.from(input)
  const alg = String((header as { alg?: unknown }).alg ?? 'ES256')
  const signature =
    key.asymmetricKeyType === 'ec'
      ? sign(`sha${alg.slice(2)}`, data, { key, dsaEncoding: how === 'der' ? 'der' : 'ieee-p1363' })
      : key.asymmetricKeyType === 'ed25519'
        ? sign(null, data, key)
        : alg.startsWith('PS')
          ? sign(`sha${alg.slice(2)}`, data, {
              key,
              padding: constants.RSA_PKCS1_PSS_PADDING,
              saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
            })
          : sign(`sha${alg.slice(2)}`, data, key)
  return `${input}.${signature.toString('base64url')}`
}

/** HMAC with a public key as the secret: the classic confusion of algorithms. */
export function hmacToken(payload: unknown, publicKey: KeyObject): string {
  const input = `${encode({ alg: 'HS256', kid: 'k1' })}.${encode(payload)}`
  const secret = publicKey.export({ type: 'spki', format: 'pem' })
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

const nothing = (): undefined => undefined

/** A request as far as validators look at it. */
const request = (metadata: Readonly<Record<string, JsonObject>> = {}): Request =>
  ({
    method: 'GET',
    host: 'h',
    path: '/',
    scheme: 'https',
    header: nothing,
    headerCount: () => 0,
    headerNames: () => [],
    namesLike: () => [],
    peerPrincipal: '',
    peerCertificate: '',
    extension: nothing,
    verifiedPayload: (key: string) => metadata[key],
  }) as unknown as Request

export const present = (
  authorization: string | undefined,
  now: number,
  metadata: Readonly<Record<string, JsonObject>> = {},
): Presentation => ({
  request: request(metadata),
  credential: readCredential(authorization),
  verified: undefined,
  now,
})
