import type { Settings } from '../config/schema.ts'
import { allowList, type ChangingAllowList } from '../core/allow-list.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import { type Listener, type ListenTls, parseListenAddress } from '../wire/listener.ts'

type Listen = Settings['listen']
export type ListenerName = keyof Listen & string

/** The listeners of a policy as the wire takes them. */
export interface Listeners {
  /** undefined where it is not set. */
  readonly of: (name: ListenerName) => Listener | undefined
  /** Takes the allow lists of another policy into force, for open connections too. All else of a listener cannot change. */
  readonly allow: (listen: Listen) => void
  /** Ends the use of their certificates. */
  readonly close: () => void
}

/**
 * Opens the certificates of listeners.
 * @param names those that are wanted, of those that are set
 * @throws {StartRefused} with a sentence for each that has no certificates that can be used; {ListenFault}
 */
export async function openListeners(listen: Listen, names: readonly ListenerName[], certificates: CertificateLoader): Promise<Listeners> {
  const found = new Map<ListenerName, Listener>()
  const lists = new Map<ListenerName, ChangingAllowList>()
  const closes: (() => void)[] = []

  const tlsOf = (name: ListenerName, { mode, cert, key, ca, allow = [] }: Listen['check']['tls']): ListenTls => {
    if (mode === 'none') return { mode }
    const paths = { ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) }
    const source = certificates.open(`listen.${name}`, mode === 'mtls' && ca !== undefined ? { ...paths, ca } : paths)
    closes.push(source.close)
    if (mode === 'tls') return { mode, certificates: source }
    const list = allowList(allow)
    lists.set(name, list)
    return { mode, certificates: source, allow: list }
  }
  for (const name of names) {
    const settings = listen[name]
    if (settings) found.set(name, { address: parseListenAddress(settings.address), tls: tlsOf(name, settings.tls) })
  }
  await certificates.ready()

  return {
    of: (name) => found.get(name),
    allow: (next) => {
      for (const [name, list] of lists) list.replace(next[name]?.tls.allow ?? [])
    },
    close: () => {
      for (const close of closes) close()
    },
  }
}
