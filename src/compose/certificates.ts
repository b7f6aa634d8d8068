import { type CertificateEvent, openCertificateLoader } from '../adapters/certificate-files.ts'
import type { Logger } from '../adapters/log.ts'
import type { CertificateMetric } from '../adapters/metrics-certificates.ts'
import type { Condition } from '../admin/status.ts'
import { type CertificateLoader, type CertificateSource, type CertificateState, timeFault } from '../core/certificates.ts'

/** The certificates of this process; whatever becomes of them is one line of the log. */
export function openCertificates(log: Pick<Logger, 'info' | 'warn' | 'error'>): CertificateLoader {
  const onEvent = (event: CertificateEvent): void => {
    const { uses } = event
    if (event.kind === 'reloaded') {
      const { own, authorities } = event.set
      const fields = { uses, ...(own && { names: own.names, fingerprint: own.fingerprint, expires: at(own.validTo) }) }
      log.info({ ...fields, ...(authorities && { authorities: authorities.count }) }, 'certificates reloaded')
    } else if (event.kind === 'refused') {
      log.warn({ uses, detail: event.detail }, 'certificates are not reloaded; the last good ones stay in use')
    } else {
      log.error({ uses, detail: event.detail }, 'a certificate in use is not valid any more')
    }
  }
  return openCertificateLoader({ onEvent })
}

/** Files as settings name them. */
interface Files {
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly ca?: string | undefined
}

/**
 * The certificates of a client, from the files that settings name.
 * @returns undefined where they name none: it is trusted whom the system trusts, and no certificate shown
 */
export function clientCertificates(
  certificates: CertificateLoader,
  use: string,
  { cert, key, ca }: Files = {},
): CertificateSource | undefined {
  const paths = { ...(cert !== undefined && { cert }), ...(key !== undefined && { key }), ...(ca !== undefined && { ca }) }
  return Object.keys(paths).length === 0 ? undefined : certificates.open(use, paths)
}

/** A client together with its certificates: they are let go of when it is closed. */
export function withCertificates<T extends { readonly close: () => void }>(source: CertificateSource | undefined, client: T): T {
  if (!source) return client
  const close = (): void => {
    client.close()
    source.close()
  }
  return { ...client, close }
}

const at = (time: number): string => new Date(time).toISOString()

/** Of a certificate's life: what is left when it should have been renewed. SPIRE renews at a half, cert-manager at a third. */
const lateShare = 0.2

/** `CertificatesReady` of each use of certificates. @param now milliseconds since the epoch */
export function certificateConditions(states: readonly CertificateState[], now: number): Condition[] {
  return states.map(({ use, paths, set, fault }): Condition => {
    const type = 'CertificatesReady'
    if (!set) return { type, subject: use, status: 'False', reason: 'NotUsable', message: fault ?? 'not read yet' }
    const { own, authorities } = set
    const told = {
      type,
      subject: use,
      ...(own && { names: own.names, fingerprint: own.fingerprint, expires: at(own.validTo) }),
      ...(authorities && { authorities: authorities.count, authorities_expire: at(authorities.validTo) }),
    }
    const late = timeFault(set, now, paths)
    if (late) return { ...told, status: 'False', reason: 'Expired', message: late.message }
    if (fault !== undefined) return { ...told, status: 'True', reason: 'UsingLastGood', message: fault }
    if (own && own.validTo - now < (own.validTo - own.validFrom) * lateShare) {
      return { ...told, status: 'True', reason: 'ExpiresSoon', message: `${own.names} expires ${at(own.validTo)} and has not been renewed` }
    }
    const message = own ? `${own.names}, until ${at(own.validTo)}` : `${authorities?.count ?? 0} authorities`
    return { ...told, status: 'True', reason: 'Loaded', message }
  })
}

/** The same for metrics. */
export function certificateMetrics(states: readonly CertificateState[]): readonly CertificateMetric[] {
  const found = new Map<string, CertificateMetric>()
  for (const { use, set, fault, reloads } of states) {
    const other = found.get(use)
    // Two realms may call two things alike: then the worse counts.
    found.set(use, {
      use,
      certificateExpires: least(set?.own?.validTo, other?.certificateExpires),
      authoritiesExpire: least(set?.authorities?.validTo, other?.authoritiesExpire),
      failed: fault !== undefined || other?.failed === true,
      reloads: {
        success: reloads.success + (other?.reloads.success ?? 0),
        refused: reloads.refused + (other?.reloads.refused ?? 0),
      },
    })
  }
  return [...found.values()]
}

const least = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.min(a, b)
