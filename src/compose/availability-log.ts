import type { Logger } from '../adapters/log.ts'

/**
 * Writes when something outside stops answering, and when it answers again.
 * @param what begins the message: `state`, `source`
 * @returns takes the fault, undefined where all is well again
 */
export const availabilityLog =
  (log: Logger, fields: Readonly<Record<string, string>>, what: string) =>
  (fault: string | undefined): void => {
    if (fault === undefined) log.info(fields, `${what} answers`)
    else log.error({ ...fields, fault }, `${what} does not answer`)
  }
