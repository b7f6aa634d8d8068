import type { Settings } from '../config/schema.ts'
import { StartRefused } from '../core/start-refused.ts'
import { type Fetch, type HttpListener, startHttpListener } from '../wire/http-listener.ts'
import { type Listener, ListenFault, type ListenTls, parseListenAddress } from '../wire/listener.ts'

type ListenSettings = NonNullable<Settings['listen']['admin']>

/** A listener of the policy file as the wire takes it. @throws {ListenFault} */
export function listenerOf({ address, tls }: Pick<ListenSettings, 'address' | 'tls'>): Listener {
  return { address: parseListenAddress(address), tls: tlsOf(tls) }
}

function tlsOf({ mode, cert = '', key = '', ca = '', allow = [] }: ListenSettings['tls']): ListenTls {
  switch (mode) {
    case 'none':
      return { mode }
    case 'tls':
      return { mode, cert, key }
    case 'mtls':
      return { mode, cert, key, ca, allow }
  }
}

/** Opens an HTTP listener where the policy names one. @throws {ListenFault} */
export async function openHttp(
  name: 'admin' | 'issuer',
  settings: ListenSettings | undefined,
  fetch: Fetch,
  onFault: (detail: string) => void,
): Promise<HttpListener | undefined> {
  return settings && startHttpListener({ name, listener: listenerOf(settings), fetch, onFault })
}

/** What cannot be listened on refuses the start, with its sentence. */
export async function orRefuse<T>(opening: Promise<T>): Promise<T> {
  try {
    return await opening
  } catch (cause) {
    if (cause instanceof ListenFault) throw new StartRefused([cause.message])
    throw cause
  }
}
