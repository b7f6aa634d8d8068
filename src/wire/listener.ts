import { BlockList, isIP, isIPv6 } from 'node:net'
import type { AllowList } from '../core/allow-list.ts'
import type { CertificateSource } from '../core/certificates.ts'

/** Where a listener listens. */
export type ListenAddress =
  | { readonly kind: 'unix'; readonly path: string }
  /** `host` is an IP address; port 0 lets the system choose. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }

/** TLS of a listener: certificates with their key, and for `mtls` the authorities of clients. */
export type ListenTls =
  | { readonly mode: 'none' }
  | { readonly mode: 'tls'; readonly certificates: CertificateSource }
  /** `allow`: the SPIFFE IDs that may ask. A client certificate that an authority vouches for is demanded of everyone. */
  | { readonly mode: 'mtls'; readonly certificates: CertificateSource; readonly allow: AllowList }

/** A listener as configured. */
export interface Listener {
  readonly address: ListenAddress
  readonly tls: ListenTls
}

/** A listener that cannot be had as it is configured; the message is for the operator, and the start is refused. */
export class ListenFault extends Error {
  override readonly name = 'ListenFault'
}

// sockaddr_un.sun_path, less its NUL: longer paths would be cut short without a word.
const longestPath = process.platform === 'linux' ? 107 : 103

/**
 * Reads `unix:/path`, `host:port` or `[v6]:port`; the host is an IP address, or `localhost` for 127.0.0.1: no
 * resolver decides whether a bind is safe.
 * @throws {ListenFault} saying what was expected
 */
export function parseListenAddress(text: string): ListenAddress {
  if (text.startsWith('unix:')) return unixAddress(text)
  const parts = /^(?:\[([^\]]*)\]|([^:]*)):([0-9]{1,5})$/.exec(text)
  if (!parts) throw new ListenFault(`${text} is no address to listen on; expected unix:/path, host:port or [ipv6]:port`)
  const [, v6, plain = '', digits] = parts
  const port = Number(digits)
  if (port > 65535) throw new ListenFault(`${text}: port ${port} is above 65535`)
  if (v6 !== undefined) {
    if (!isIPv6(v6)) throw new ListenFault(`${text}: expected an IPv6 address between [ and ]`)
    return { kind: 'tcp', host: v6, port }
  }
  const host = plain === 'localhost' ? '127.0.0.1' : plain
  if (isIP(host) === 0)
    throw new ListenFault(`${text}: expected an IP address or localhost before the port; 0.0.0.0 or [::] is every interface`)
  return { kind: 'tcp', host, port }
}

function unixAddress(text: string): ListenAddress {
  const path = text.startsWith('unix://') ? text.slice('unix://'.length) : text.slice('unix:'.length)
  if (path === '' || path.includes('\0')) throw new ListenFault(`${text} names no socket; expected unix:/path`)
  // An abstract socket has no file, so that no file mode would keep anyone out.
  if (path.startsWith('@'))
    throw new ListenFault(`${text}: abstract sockets are not supported, since anyone on the host may connect to them`)
  const bytes = Buffer.byteLength(path)
  if (bytes > longestPath) throw new ListenFault(`${text}: the path has ${bytes} bytes, and a unix socket may have ${longestPath} at most`)
  return { kind: 'unix', path }
}

/** An address as {@link parseListenAddress} reads it. */
export function formatListenAddress(address: ListenAddress): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  return isIPv6(address.host) ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

/** Whether only this host can reach it: a unix socket, 127.0.0.0/8 or ::1. */
function isLocal(address: ListenAddress): boolean {
  return address.kind === 'unix' || loopback.check(address.host, isIPv6(address.host) ? 'ipv6' : 'ipv4')
}

/**
 * Why a check (or ext_proc) listener may not be bound; undefined where it may. Whoever reaches it can forge what
 * Envoy says, and gets signed tokens.
 * @param name of the listener in the policy file, for the sentence
 */
export function bindFault({ address, tls }: Listener, name = 'check'): string | undefined {
  const where = `listen.${name} ${formatListenAddress(address)}`
  if (tls.mode === 'mtls' && tls.allow.size() === 0) {
    return `${where}: tls.mode mtls needs allow, the SPIFFE IDs of those who may ask, such as [spiffe://cluster.local/ns/edge/sa/envoy]`
  }
  if (isLocal(address) || tls.mode === 'mtls') return undefined
  return `${where}: whoever reaches this port can forge identities, so it must be a unix socket, a loopback address, or have tls.mode mtls with allow`
}

/** Why an HTTP listener (admin, issuer) may not be bound; undefined where it may. */
export function httpBindFault({ address, tls }: Listener, name: string): string | undefined {
  if (isLocal(address) || tls.mode !== 'none') return undefined
  return `listen.${name} ${formatListenAddress(address)}: credentials would cross the network in the clear, so it must be a unix socket, a loopback address, or have tls.mode tls or mtls`
}
