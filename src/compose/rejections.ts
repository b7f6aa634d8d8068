import type { Fingerprint } from '../adapters/fingerprint.ts'
import type { Logger } from '../adapters/log.ts'
import { bare, visible } from '../adapters/log-decisions.ts'
import { createLogSample } from '../adapters/log-sample.ts'
import type { Rejection } from '../stages/identify.ts'

export interface RejectionsNeeds {
  readonly log: Logger
  /** Counts each, also those that are not written. `validator` is empty where all abstained. */
  readonly count: (validator: string, reason: Rejection['reason']) => void
  readonly fingerprint: Fingerprint
}

/** Lines of one validator and reason at once, and in a second when a flood has used those up. */
const burst = 20
const perSecond = 2
/** Validators and reasons that are told apart. */
const kinds = 100

const separator = '\n'

/** Tells each rejection of a validator once, never the credential; of a flood it writes a sample of each kind, and counts the rest. */
export function createRejectionLog({ log, count, fingerprint }: RejectionsNeeds): {
  readonly observe: (rejection: Rejection) => void
  readonly close: () => void
} {
  const sample = createLogSample({
    burst,
    perSecond,
    kinds,
    tell: (kind, suppressed) => {
      const [validator, reason] = kind?.split(separator) ?? []
      log.warn({ validator, reason, suppressed }, 'rejections over the limit of lines were counted, not written')
    },
  })
  return {
    observe: ({ validator, reason, detail, route, path, digest }) => {
      count(validator, reason)
      const suppressed = sample.admits(validator + separator + reason)
      if (suppressed === undefined) return
      const line = { validator, reason, detail, route, path: visible(bare(path), 256) }
      const about = { ...(digest === '' ? {} : { credential: fingerprint(digest) }), ...(suppressed === 0 ? {} : { suppressed }) }
      log.info({ ...line, ...about }, 'credential rejected')
    },
    close: sample.close,
  }
}
