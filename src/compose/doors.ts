import type { Logger } from '../adapters/log.ts'
import { createLogBound } from '../adapters/log-bound.ts'
import type { Settings } from '../config/schema.ts'
import { StartRefused } from '../core/start-refused.ts'
import type { CheckHandler } from '../wire/check-handler.ts'
import { startGrpcServer } from '../wire/grpc-server.ts'
import { type Fetch, startHttpListener } from '../wire/http-listener.ts'
import { formatListenAddress, type Listener, ListenFault, type ListenTls, parseListenAddress } from '../wire/listener.ts'
import type { Closing } from './closing.ts'

type ListenSettings = NonNullable<Settings['listen']['admin']>

export interface DoorsNeeds {
  readonly listen: Settings['listen']
  readonly handler: CheckHandler
  readonly admin: Fetch
  /** undefined where nothing is minted. */
  readonly issuer: Fetch | undefined
  readonly log: Logger
  readonly closing: Closing
}

/** The listeners, open. */
export interface Doors {
  /** Where each listener is bound, as the log tells it. */
  readonly addresses: Readonly<Record<string, string>>
  /** What grpc.health.v1 says. */
  readonly serving: (up: boolean) => void
}

/** What a call in flight at the end is given, in milliseconds; requests to the HTTP listeners are short. */
const drainMs = 10_000
const httpDrainMs = 1000
/** Whoever reaches a port can make handshakes fail, as often as they like. Lines a second. */
const mostFaultLines = 20

/** Opens all listeners, that of the checks last. @throws {StartRefused} with the sentence of one that cannot be had */
export async function openDoors({ listen, handler, admin, issuer, log, closing }: DoorsNeeds): Promise<Doors> {
  const bound = createLogBound(mostFaultLines, (suppressed) =>
    log.warn({ suppressed }, 'faults of listeners over the limit of lines a second'),
  )
  closing.add(bound.close)
  const onFault = (detail: string): void => {
    if (bound.admits()) log.warn({ detail }, 'listener')
  }
  const addresses: Record<string, string> = {}
  const http = async (name: 'admin' | 'issuer', settings: ListenSettings | undefined, fetch: Fetch | undefined): Promise<void> => {
    if (!settings || !fetch) return
    const opened = await startHttpListener({ name, listener: listenerOf(settings), fetch, onFault })
    closing.add(() => opened.close(httpDrainMs))
    addresses[name] = formatListenAddress(opened.address)
  }
  try {
    await http('admin', listen.admin, admin)
    await http('issuer', listen.issuer, issuer)
    const grpc = await startGrpcServer({ listener: listenerOf(listen.check), handler, reflection: true, onFault })
    closing.add(() => grpc.close(drainMs))
    addresses['check'] = formatListenAddress(grpc.address)
    return { addresses, serving: grpc.serving }
  } catch (cause) {
    if (cause instanceof ListenFault) throw new StartRefused([cause.message])
    throw cause
  }
}

/** A listener of the policy file as the wire takes it. @throws {ListenFault} */
function listenerOf({ address, tls }: Pick<ListenSettings, 'address' | 'tls'>): Listener {
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
