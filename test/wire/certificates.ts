import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** X.509 certificates for tests (RFC 5280), P-256 and ECDSA with SHA-256, valid from an hour ago for a day. */
export interface Issued {
  readonly cert: string
  readonly key: string
}

export interface Authority {
  readonly cert: string
  /** @param names subject alternative names: `URI:…`, `DNS:…` or `IP:127.0.0.1` */
  readonly issue: (commonName: string, names: readonly string[]) => Issued
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  const length = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 255]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}
const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts)
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'))
const octets = (body: Uint8Array): Buffer => der(0x04, body)
const bits = (body: Uint8Array): Buffer => der(0x03, Buffer.from([0]), body)
const time = (at: number): Buffer => der(0x17, Buffer.from(`${new Date(at).toISOString().slice(2, 19).replace(/[-:T]/g, '')}Z`))
const named = (commonName: string): Buffer => sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(commonName)))))
const extension = (id: string, critical: boolean, value: Buffer): Buffer =>
  sequence(oid(id), ...(critical ? [der(0x01, Buffer.from([0xff]))] : []), octets(value))
const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'))

function altName(text: string): Buffer {
  const at = text.indexOf(':')
  const value = text.slice(at + 1)
  switch (text.slice(0, at)) {
    case 'URI':
      return der(0x86, Buffer.from(value))
    case 'IP':
      return der(0x87, Buffer.from(value.split('.').map(Number)))
    default:
      return der(0x82, Buffer.from(value))
  }
}

interface Fields {
  readonly issuer: string
  readonly subject: string
  readonly publicKey: KeyObject
  readonly extensions: readonly Buffer[]
}

function certificate({ issuer, subject, publicKey, extensions }: Fields, signer: KeyObject): string {
  const now = Date.now()
  const serial = Buffer.concat([Buffer.from([0x01]), randomBytes(15)])
  const content = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, serial),
    ecdsaWithSha256,
    named(issuer),
    sequence(time(now - 3_600_000), time(now + 86_400_000)),
    named(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  )
  const whole = sequence(content, ecdsaWithSha256, bits(sign('sha256', content, signer)))
  const lines = whole.toString('base64').replace(/.{64}/g, '$&\n').trimEnd()
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`
}

export function createAuthority(name: string): Authority {
  const ca = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const keyId = createHash('sha1')
    .update(ca.publicKey.export({ type: 'spki', format: 'der' }))
    .digest()
  const isCa = extension('551d13', true, sequence(der(0x01, Buffer.from([0xff]))))
  const cert = certificate(
    { issuer: name, subject: name, publicKey: ca.publicKey, extensions: [isCa, extension('551d0e', false, octets(keyId))] },
    ca.privateKey,
  )
  return {
    cert,
    issue: (commonName, names) => {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const extensions = [extension('551d23', false, sequence(der(0x80, keyId)))]
      if (names.length > 0) extensions.push(extension('551d11', false, sequence(...names.map(altName))))
      return {
        cert: certificate({ issuer: name, subject: commonName, publicKey, extensions }, ca.privateKey),
        key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      }
    },
  }
}

/** Writes a pair as `<name>.crt` and `<name>.key`, the key for its owner only. */
export function writePair(folder: string, name: string, { cert, key }: Issued): { readonly cert: string; readonly key: string } {
  const files = { cert: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) }
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key, { mode: 0o600 })
  chmodSync(files.key, 0o600)
  return files
}
