import type { Logger } from '../adapters/log.ts'
import { createLogBound } from '../adapters/log-bound.ts'
import type { Settings } from '../config/schema.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import type { Processor } from '../core/processing.ts'
import { StartRefused } from '../core/start-refused.ts'
import type { CheckHandler } from '../wire/check-handler.ts'
import { type Fetch, startHttpListener, type Take } from '../wire/http-listener.ts'
import { startLeanServer } from '../wire/lean-server.ts'
import { formatListenAddress, ListenFault } from '../wire/listener.ts'
import type { CheckServer, CheckServerOptions } from '../wire/transport.ts'
import type { Closing } from './closing.ts'
import { type Listeners, openListeners } from './listeners.ts'
import { openAcceptor } from './workers-acceptor.ts'
import type { Crew } from './workers-crew.ts'
import type { WorkerLink } from './workers-link.ts'

export interface DoorsNeeds {
  readonly listen: Settings['listen']
  readonly handler: CheckHandler
  /** In a primary: the workers that connections of the check listener go to. */
  readonly crew: Crew | undefined
  /** In a worker: where such connections come from. Its primary has the other listeners. */
  readonly link: WorkerLink | undefined
  /** What follows responses, and the largest body that it looks into; undefined where `listen.ext_proc` is not set, and in a worker. */
  readonly processing: { readonly processor: Processor; readonly maxBody: number } | undefined
  readonly admin: Fetch
  /** What the admin listener asks first. */
  readonly takeAdmin?: Take | undefined
  /** undefined where nothing is minted. */
  readonly issuer: Fetch | undefined
  /** What the issuer listener asks first. */
  readonly takeIssuer: Take | undefined
  readonly certificates: CertificateLoader
  readonly log: Logger
  readonly closing: Closing
}

/** The listeners, open. */
export interface Doors {
  /** Where each listener is bound, as the log tells it. */
  readonly addresses: Readonly<Record<string, string>>
  /** What grpc.health.v1 says. */
  readonly serving: (up: boolean) => void
  /** Takes the allow lists of another policy into force; all else of listeners is as it was at the start. */
  readonly allow: (listen: Settings['listen']) => void
}

/** What a call in flight at the end is given, in milliseconds; requests to the HTTP listeners are short. */
const drainMs = 10_000
const httpDrainMs = 1000
/** Whoever reaches a port can make handshakes fail, as often as they like. Lines a second. */
const mostFaultLines = 20
/** What a worker is given to end beyond that: it writes its audit trail, and closes state. */
const workerEndMs = 5000

/** Opens all listeners, that of the checks last. @throws {StartRefused} with the sentence of one that cannot be had */
export async function openDoors(needs: DoorsNeeds): Promise<Doors> {
  const { listen, link, log, closing } = needs
  const bound = createLogBound(mostFaultLines, (suppressed) =>
    log.warn({ suppressed }, 'faults of listeners over the limit of lines a second'),
  )
  closing.add(bound.close)
  const onFault = (detail: string): void => {
    if (bound.admits()) log.warn({ detail }, 'listener')
  }
  const addresses: Record<string, string> = {}
  const http = async (listeners: Listeners, name: 'admin' | 'issuer', fetch: Fetch | undefined, take?: Take): Promise<void> => {
    const listener = listeners.of(name)
    if (!listener || !fetch) return
    const opened = await startHttpListener({ name, listener, fetch, take, allowedAlone: name === 'issuer', onFault })
    closing.add(() => opened.close(httpDrainMs))
    addresses[name] = formatListenAddress(opened.address)
  }
  try {
    const names = link ? (['check'] as const) : (['check', 'ext_proc', 'admin', 'issuer'] as const)
    const listeners = await openListeners(listen, names, needs.certificates)
    closing.add(listeners.close)
    await http(listeners, 'admin', needs.admin, needs.takeAdmin)
    await http(listeners, 'issuer', needs.issuer, needs.takeIssuer)
    await openProcessor(needs, listeners, onFault, addresses)
    const check = await openCheck(needs, listeners, onFault)
    closing.add(() => check.close(drainMs))
    addresses['check'] = formatListenAddress(check.address)
    return { addresses, serving: check.serving, allow: listeners.allow }
  } catch (cause) {
    if (cause instanceof ListenFault) throw new StartRefused([cause.message])
    throw cause
  }
}

/** The listener that Envoy's ext_proc asks. Of several processes the primary has it: a request there is rare, and waits for its upstream. */
async function openProcessor(
  { processing, closing }: DoorsNeeds,
  listeners: Listeners,
  onFault: (detail: string) => void,
  addresses: Record<string, string>,
): Promise<void> {
  const listener = listeners.of('ext_proc')
  if (!listener || !processing) return
  // Loaded where it serves: with its libraries it takes megabytes.
  const { startProcessorServer } = await import('../wire/ext-proc-server.ts')
  const { processor, maxBody } = processing
  const opened = await startProcessorServer({ listener, processor, maxBody, onFault })
  closing.add(() => opened.close(drainMs))
  // All that it needs is there: the doors open last.
  opened.serving(true)
  addresses['ext_proc'] = formatListenAddress(opened.address)
}

/** The listener of the checks: served here, accepted for the workers, or taken from those that the primary accepts. */
async function openCheck(
  { listen, handler, crew, link, closing }: DoorsNeeds,
  listeners: Listeners,
  onFault: (detail: string) => void,
): Promise<CheckServer> {
  const listener = listeners.of('check')!
  if (!crew) {
    const sockets = link && { sockets: { address: listener.address, subscribe: link.subscribe } }
    const options: CheckServerOptions = { listener, handler, onFault, ...sockets }
    if (listen.check.transport === 'lean') return startLeanServer(options)
    // Loaded where it serves: with its libraries it takes megabytes.
    const { startGrpcServer } = await import('../wire/grpc-server.ts')
    return startGrpcServer({ ...options, reflection: true })
  }
  closing.add(() => crew.close(drainMs + workerEndMs))
  await crew.start()
  const acceptor = await openAcceptor(listener, crew.take, onFault)
  return {
    address: acceptor.address,
    // Each worker says for itself what it is.
    serving: () => {},
    close: async () => acceptor.close(),
  }
}
