/**
 * Throw-away certificates for the demo and the tests: a CA and leaves with DNS, IP and SPIFFE names, ECDSA on P-256, by
 * Node's own modules alone, so that a machine needs no openssl. Not for production: keys are plain files, nothing is revoked.
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { isIPv4 } from 'node:net'
import { join } from 'node:path'

/** Clocks of other machines may be behind: a certificate is valid from this many seconds ago. */
const backdate = 300

// DER, X.690: a tag, a length, and the contents.
const integerTag = 0x02
const bitStringTag = 0x03
const octetStringTag = 0x04
const oidTag = 0x06
const utf8Tag = 0x0c
const utcTimeTag = 0x17
const generalizedTimeTag = 0x18
const sequenceTag = 0x30
const setTag = 0x31

/** @param {number} tag @param {...Buffer} contents */
function der(tag, ...contents) {
  const body = Buffer.concat(contents)
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body])
  const length = []
  for (let rest = body.length; rest > 0; rest >>>= 8) length.unshift(rest & 0xff)
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length, ...length]), body])
}

/** @param {string} dotted an object identifier, such as 2.5.29.17 */
function oid(dotted) {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes = [first * 40 + second]
  for (const arc of rest) {
    const groups = [arc & 0x7f]
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 0x7f) | 0x80)
    bytes.push(...groups)
  }
  return der(oidTag, Buffer.from(bytes))
}

const boolean = Buffer.from([0x01, 0x01, 0xff])
/** @param {Buffer} bytes @param {number} [unused] bits at the end that do not count */
const bitString = (bytes, unused = 0) => der(bitStringTag, Buffer.from([unused]), bytes)

/** RFC 5280, section 4.1.2.5: UTCTime up to 2049, GeneralizedTime after. @param {Date} date */
function time(date) {
  const text = `${date.toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`
  return date.getUTCFullYear() < 2050 ? der(utcTimeTag, Buffer.from(text.slice(2))) : der(generalizedTimeTag, Buffer.from(text))
}

const ecdsaWithSha256 = der(sequenceTag, oid('1.2.840.10045.4.3.2'))
/** @param {string} commonName */
const name = (commonName) => der(sequenceTag, der(setTag, der(sequenceTag, oid('2.5.4.3'), der(utf8Tag, Buffer.from(commonName)))))

/** @param {string} id @param {boolean} critical @param {Buffer} value */
const extension = (id, critical, value) => der(sequenceTag, oid(id), ...(critical ? [boolean] : []), der(octetStringTag, value))

/** RFC 5280, section 4.2.1.6. @param {{ dns?: readonly string[], ip?: readonly string[], uri?: readonly string[] }} names */
function alternativeNames({ dns = [], ip = [], uri = [] }) {
  const entries = [
    ...dns.map((value) => der(0x82, Buffer.from(value, 'ascii'))),
    ...uri.map((value) => der(0x86, Buffer.from(value, 'ascii'))),
    ...ip.map((value) => der(0x87, addressBytes(value))),
  ]
  return entries.length === 0 ? [] : [extension('2.5.29.17', false, der(sequenceTag, ...entries))]
}

/** @param {string} address */
function addressBytes(address) {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  if (address === '::1') return Buffer.concat([Buffer.alloc(15), Buffer.from([1])])
  throw new TypeError(`a certificate for the address ${address} was asked for; only IPv4 and ::1 are supported here`)
}

/** RFC 5280, section 4.2.1.2, first method: SHA-1 over the public key's bits. @param {import('node:crypto').KeyObject} publicKey */
function keyIdentifier(publicKey) {
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
  const point = Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
  return createHash('sha1').update(point).digest()
}

/** @param {Buffer} bytes */
function certificatePem(bytes) {
  const lines = bytes.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

/**
 * @param {{ subject: string, issuer: string, publicKey: import('node:crypto').KeyObject, issuerPublicKey: import('node:crypto').KeyObject,
 *   issuerKey: import('node:crypto').KeyObject, notBefore: Date, notAfter: Date, extensions: readonly Buffer[] }} parts
 * @returns {string} PEM
 */
function signed({ subject, issuer, publicKey, issuerPublicKey, issuerKey, notBefore, notAfter, extensions }) {
  const serial = randomBytes(16)
  serial[0] = (serial[0] & 0x7f) | 0x40 // positive, and no leading zero octet
  const body = der(
    sequenceTag,
    der(0xa0, der(integerTag, Buffer.from([2]))), // version 3
    der(integerTag, serial),
    ecdsaWithSha256,
    name(issuer),
    der(sequenceTag, time(notBefore), time(notAfter)),
    name(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(
      0xa3,
      der(
        sequenceTag,
        ...extensions,
        extension('2.5.29.14', false, der(octetStringTag, keyIdentifier(publicKey))),
        extension('2.5.29.35', false, der(sequenceTag, der(0x80, keyIdentifier(issuerPublicKey)))),
      ),
    ),
  )
  return certificatePem(der(sequenceTag, body, ecdsaWithSha256, bitString(sign('sha256', body, issuerKey))))
}

/** @param {import('node:crypto').KeyObject} key */
const keyPem = (key) => String(key.export({ type: 'pkcs8', format: 'pem' }))

/**
 * Makes a self-signed CA.
 * @param {string} commonName of the CA
 * @param {{ days?: number }} [options]
 * @returns {import('./certificates.mjs').Authority}
 */
export function makeAuthority(commonName, { days = 30 } = {}) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const certificate = signed({
    subject: commonName,
    issuer: commonName,
    publicKey,
    issuerPublicKey: publicKey,
    issuerKey: privateKey,
    ...validity({ days }),
    extensions: [
      extension('2.5.29.19', true, der(sequenceTag, boolean)), // basicConstraints: a CA
      extension('2.5.29.15', true, bitString(Buffer.from([0b0000_0110]), 1)), // keyCertSign, cRLSign
    ],
  })
  return { commonName, certificate, publicKey, privateKey }
}

/** @param {{ days: number, notBefore?: Date, notAfter?: Date }} when */
function validity({ days, notBefore, notAfter }) {
  const now = Date.now()
  return { notBefore: notBefore ?? new Date(now - backdate * 1000), notAfter: notAfter ?? new Date(now + days * 86_400_000) }
}

/**
 * Makes a leaf for servers and clients alike, with a new key.
 * @param {import('./certificates.mjs').Authority} authority
 * @param {import('./certificates.mjs').Names} names SPIFFE IDs go to `uri`
 * @returns {import('./certificates.mjs').Leaf} PEM
 */
export function issueCertificate(authority, { commonName, dns, ip, uri, days = 7, notBefore, notAfter }) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const certificate = signed({
    subject: commonName,
    issuer: authority.commonName,
    publicKey,
    issuerPublicKey: authority.publicKey,
    issuerKey: authority.privateKey,
    ...validity({ days, ...(notBefore && { notBefore }), ...(notAfter && { notAfter }) }),
    extensions: [
      extension('2.5.29.19', true, der(sequenceTag)),
      extension('2.5.29.15', true, bitString(Buffer.from([0b1000_0000]), 7)), // digitalSignature
      extension('2.5.29.37', false, der(sequenceTag, oid('1.3.6.1.5.5.7.3.1'), oid('1.3.6.1.5.5.7.3.2'))), // server, client
      ...alternativeNames({ ...(dns && { dns }), ...(ip && { ip }), ...(uri && { uri }) }),
    ],
  })
  return { certificate, key: keyPem(privateKey) }
}

/**
 * Writes `<name>.crt` and `<name>.key` (0600) into a folder, which is made.
 * @param {string} folder
 * @param {string} fileName without extension
 * @param {import('./certificates.mjs').Leaf} leaf
 * @returns {{ cert: string, key: string }} their paths
 */
export function writeLeaf(folder, fileName, leaf) {
  const cert = join(folder, `${fileName}.crt`)
  const key = join(folder, `${fileName}.key`)
  mkdirSync(folder, { recursive: true })
  writeFileSync(cert, leaf.certificate, { mode: 0o644 })
  writeFileSync(key, leaf.key, { mode: 0o600 })
  return { cert, key }
}

/**
 * Writes a CA's certificate, never its key: the key is needed only while leaves are being made.
 * @param {string} folder made if absent
 * @param {string} fileName without extension
 * @param {import('./certificates.mjs').Authority} authority
 * @returns {string} the path
 */
export function writeAuthority(folder, fileName, authority) {
  const path = join(folder, `${fileName}.crt`)
  mkdirSync(folder, { recursive: true })
  writeFileSync(path, authority.certificate, { mode: 0o644 })
  return path
}
