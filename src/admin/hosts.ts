import type { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { MiddlewareHandler } from 'hono'
import { type AdminEnv, problem } from './answers.ts'

const loopbackNames = ['localhost', '127.0.0.1', '[::1]']
const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127\./.test(host)
const inUrl = (host: string): string => (isIP(host) === 6 ? `[${host}]` : host)

/**
 * The host names under which a TCP listener is reached: its own address, the loopback names where it is bound
 * there, and the names in its certificate. A page in a browser cannot give itself one of these by DNS.
 * @param host the address that it is bound to, without port
 */
export function hostsOf(host: string, certificate?: X509Certificate): string[] {
  const hosts = new Set<string>([inUrl(host.toLowerCase())])
  const anywhere = host === '0.0.0.0' || host === '::'
  if (anywhere || isLoopback(host)) for (const name of loopbackNames) hosts.add(name)
  for (const part of certificate?.subjectAltName?.split(', ') ?? []) {
    const [kind, name = ''] = [part.slice(0, part.indexOf(':')), part.slice(part.indexOf(':') + 1)]
    if (kind === 'DNS') hosts.add(name.toLowerCase())
    if (kind === 'IP Address') hosts.add(inUrl(name.toLowerCase()))
  }
  return [...hosts]
}

/** `Host` without its port, in lower case; undefined where it is no host. */
export function hostName(header: string | undefined): string | undefined {
  const match = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?$/.exec(header ?? '')
  return match?.[1]?.toLowerCase().replace(/\.$/, '')
}

/**
 * Whether one of a listener's names admits a host. Where it is bound to every address, each address is its own: probes ask by
 * that of the pod, and a rebound name is never an address.
 */
export const admitsHost = (hosts: readonly string[], host: string): boolean => hosts.some((allowed) => matches(allowed, host))

const matches = (allowed: string, host: string): boolean =>
  allowed === host ||
  ((allowed === '0.0.0.0' || allowed === '[::]') && isIP(host.replace(/^\[|\]$/g, '')) !== 0) ||
  (allowed.startsWith('*.') && host.endsWith(allowed.slice(1)) && !host.slice(0, -allowed.length + 1).includes('.'))

/**
 * Refuses a `Host` that is not the listener's (421; a page whose name was rebound to this address) and an
 * `Origin` that is another one (403; a page of another site).
 */
export function checkHost(hosts: readonly string[] | undefined): MiddlewareHandler<AdminEnv> {
  return async (c, next) => {
    const header = c.req.header('host')
    const host = hostName(header)
    if (host === undefined || (hosts && !admitsHost(hosts, host))) {
      return problem(c, 421, 'unknown_host', 'the Host header does not name this listener')
    }
    const origin = c.req.header('origin')
    if (origin !== undefined && origin.toLowerCase() !== `${c.env.secure ? 'https' : 'http'}://${header?.toLowerCase()}`) {
      return problem(c, 403, 'foreign_origin', 'the Origin header names another site')
    }
    return next()
  }
}
