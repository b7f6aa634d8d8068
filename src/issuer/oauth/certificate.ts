import type { X509Certificate } from 'node:crypto'
import { TLSSocket } from 'node:tls'
import type { ClientAuthentication } from '../../core/issuer-client.ts'

type Named = Pick<Extract<ClientAuthentication, { kind: 'mtls' }>, 'by' | 'value'>

/** The certificate that a client has shown and the listener's CA has signed (`tls.mode: mtls`). */
export function clientCertificate(socket: unknown): X509Certificate | undefined {
  return socket instanceof TLSSocket && socket.authorized ? socket.getPeerX509Certificate() : undefined
}

/** Whether a certificate names a client as it is registered (RFC 8705, section 2.1.2). */
export function certificateNames(
  { subject, subjectAltName }: Pick<X509Certificate, 'subject' | 'subjectAltName'>,
  { by, value }: Named,
): boolean {
  switch (by) {
    case 'san_uri': {
      const uris = alternativeNames(subjectAltName, 'URI')
      // X509-SVID, section 2: one that names several workloads names none.
      return uris.includes(value) && (uris.length === 1 || !value.startsWith('spiffe://'))
    }
    case 'san_dns':
      return alternativeNames(subjectAltName, 'DNS').some((name) => name.toLowerCase() === value.toLowerCase())
    case 'subject_dn': {
      const wanted = distinguishedName(value)
      // A certificate's parts come one a line, in the order of their encoding: the other way round than RFC 4514 writes them.
      const shown = subject?.split('\n').map(relativeName).reverse()
      return wanted !== undefined && shown !== undefined && wanted.length === shown.length && wanted.every((one, i) => one === shown[i])
    }
  }
}

// One entry of the text that Node makes of subjectAltName: values with a comma or quotes come as JSON strings.
const entry = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y

/** The alternative names of one kind; none where the text cannot be read to its end. */
function alternativeNames(text: string | undefined, kind: 'URI' | 'DNS'): readonly string[] {
  if (!text) return []
  const names: string[] = []
  entry.lastIndex = 0
  for (let at = 0; at < text.length; at = entry.lastIndex) {
    const found = entry.exec(text)
    if (!found) return []
    const value = found[2] ?? ''
    if (found[1] === kind) names.push(value.startsWith('"') ? (JSON.parse(value) as string) : value)
  }
  return names
}

/** Splits at a character that no backslash escapes. */
function splitUnescaped(text: string, at: ',' | '+'): readonly string[] {
  const parts = ['']
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!
    if (char === at) parts.push('')
    else if (char === '\\') parts[parts.length - 1] += char + (text[++i] ?? '')
    else parts[parts.length - 1] += char
  }
  return parts
}

/** The parts of a name as RFC 4514 writes it, most specific first; undefined where it is none. */
function distinguishedName(text: string): readonly string[] | undefined {
  const parts = splitUnescaped(text, ',').map(relativeName)
  return parts.every((part) => part !== undefined) ? parts : undefined
}

/** One part, in a form that is the same for all its spellings; undefined where it is none. */
function relativeName(text: string): string | undefined {
  const attributes: string[] = []
  for (const one of splitUnescaped(text, '+')) {
    const equals = one.indexOf('=')
    const value = equals < 1 ? undefined : unescaped(one.slice(equals + 1))
    if (value === undefined) return undefined
    attributes.push(JSON.stringify([one.slice(0, equals).trim().toUpperCase(), value]))
  }
  return attributes.sort().join('+')
}

/** The value that an escaped one stands for (RFC 4514, section 2.4); undefined where it is written in BER. */
function unescaped(text: string): string | undefined {
  const trimmed = text.replace(/^ +/, '').replace(/(?<!\\) +$/, '')
  if (trimmed.startsWith('#')) return undefined
  const bytes: Buffer[] = []
  const part = /\\([0-9A-Fa-f]{2})|\\(.)|([^\\]+)/gsu
  for (const [, hex, escaped, plain] of trimmed.matchAll(part))
    bytes.push(hex === undefined ? Buffer.from(escaped ?? plain ?? '') : Buffer.from(hex, 'hex'))
  return Buffer.concat(bytes).toString('utf8')
}
