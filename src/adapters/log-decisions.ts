import type { Observation, Observer } from '../check/observe.ts'
import { metadataObject } from '../core/metadata.ts'
import { escapeAll } from '../core/percent.ts'
import type { Logger } from './log.ts'
import { createLogBound } from './log-bound.ts'

export interface DecisionLogOptions {
  readonly log: Logger
  /** `log.decisions`. */
  readonly decisions: 'none' | 'denials' | 'all'
  /** Denials written in a second; what is over it is counted. */
  readonly denialsPerSecond?: number
}

/** The observer that writes the decision log. */
export interface DecisionLog {
  readonly observe: Observer
  /** Writes the count that is still owed. */
  readonly close: () => void
}

const longestPath = 2048
// Line separators and the like would be escaped by JSON too; encoded, a line is plain ASCII for every reader.
const notVisible = /[^!-~]/gu

/** A piece of the request line, fit for a log: visible ASCII and bounded; what stood in it encoded stays as it was. */
export function visible(text: string, longest: number): string {
  return escapeAll(text.length > longest ? `${text.slice(0, longest)}...` : text, notVisible)
}

/** The path of a request without query and fragment: both may hold credentials. */
export function bare(path: string): string {
  const end = path.search(/[?#]/)
  return end === -1 ? path : path.slice(0, end)
}

/** One line of the decision log: the answer's metadata, what was asked for, and the detail that clients do not get. */
function line({ facts, answer, detail }: Observation): object {
  const { request } = facts
  return {
    ...metadataObject(answer.metadata),
    ...(detail === '' ? {} : { detail }),
    method: visible(request.method, 32),
    host: visible(request.host, 255),
    path: visible(bare(request.path), longestPath),
  }
}

/**
 * Writes decisions as log lines: `info`, or `error` where the check itself failed (`internal`). They do not
 * depend on `log.level`: `log.decisions` chooses them.
 */
export function createDecisionLog(options: DecisionLogOptions): DecisionLog {
  const log = options.log.child({}, { level: 'info' })
  const bound = createLogBound(options.denialsPerSecond ?? 200, (suppressed) =>
    log.warn({ suppressed }, 'denials over the limit of lines a second were counted, not written'),
  )
  const observe: Observer = (observation) => {
    if (options.decisions === 'none') return
    if (observation.reason === 'ok') {
      if (options.decisions === 'all') log.info(line(observation), 'check')
      return
    }
    if (!bound.admits()) return
    if (observation.reason === 'internal') log.error(line(observation), 'check')
    else log.info(line(observation), 'check')
  }
  return { observe, close: bound.close }
}
