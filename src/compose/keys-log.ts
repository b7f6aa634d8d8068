import type { JwksCondition } from '../adapters/jwks.ts'
import type { Logger } from '../adapters/log.ts'

/** Writes when the keys of an issuer cannot be had, and when they can again; not each fetch that went as the last one. */
export function createKeysLog(log: Pick<Logger, 'info' | 'warn' | 'error'>): (condition: JwksCondition) => void {
  const told = new Map<string, string>()
  return ({ issuer, status, reason, message }) => {
    const now = reason === 'Fetched' ? reason : `${reason} ${message}`
    if (told.get(issuer) === now) return
    told.set(issuer, now)
    if (reason === 'Fetched') log.info({ issuer, detail: message }, 'the keys of the issuer are at hand')
    else log[status === 'True' ? 'warn' : 'error']({ issuer, reason, detail: message }, 'the keys of the issuer cannot be fetched')
  }
}
