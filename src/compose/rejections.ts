import type { Logger } from '../adapters/log.ts'
import { createLogBound } from '../adapters/log-bound.ts'
import { bare, visible } from '../adapters/log-decisions.ts'
import type { Rejection } from '../stages/identify.ts'

/** Lines a second; what is beyond is counted. */
const mostLines = 50

/** Writes each rejection of a validator once, never the credential; a flood becomes a count. */
export function createRejectionLog(log: Logger): { readonly observe: (rejection: Rejection) => void; readonly close: () => void } {
  const bound = createLogBound(mostLines, (suppressed) =>
    log.warn({ suppressed }, 'rejections over the limit of lines a second were counted, not written'),
  )
  return {
    observe: ({ validator, reason, detail, route, path }) => {
      if (bound.admits()) log.info({ validator, reason, detail, route, path: visible(bare(path), 256) }, 'credential rejected')
    },
    close: bound.close,
  }
}
