import { type CheckpointSigner, type Kept, startAuditRetention } from '../adapters/audit-retention.ts'
import type { Logger } from '../adapters/log.ts'
import type { AuditMetrics } from '../adapters/metrics-audit.ts'
import type { Loaded } from '../config/read.ts'
import { type AuditHead, type AuditLogName, auditLogs } from '../core/audit-log.ts'
import { type State, Unavailable } from '../core/ports.ts'
import type { IssuerParts } from './issuer.ts'

/** Decisions that are kept, about, and in memory as many other events. */
const mostDecisions = 1_000_000
const mostInMemory = 10_000
const day = 86_400_000
/** Milliseconds that decisions are kept where the policy does not say. */
const usualRetain = 90 * day
const retentionEveryMs = 60_000
/** Memory fills fast. */
const memoryEveryMs = 1000
const anchorEveryMs = 600_000

/** What is kept of each log. */
export function keptOf(kind: State['kind'], retain: number | undefined): (log: AuditLogName) => Kept {
  const most = kind === 'memory' ? mostInMemory : mostDecisions
  return (log) =>
    log === 'decisions' ? { ms: retain ?? usualRetain, lines: most } : { ms: retain, lines: kind === 'memory' ? most : undefined }
}

export interface AuditNeeds {
  readonly state: State
  readonly issuer: Pick<IssuerParts, 'ring'> | undefined
  readonly loaded: () => Loaded
  readonly log: Pick<Logger, 'info' | 'warn'>
  readonly newId: () => string
  readonly onFault: (cause: unknown) => void
  /** Whether this process removes what is too old, and counts what is there: one of them does. */
  readonly primary: boolean
}

/** What keeps the audit trail in bounds, and its anchors where somebody else sees them. */
export interface AuditParts {
  readonly metrics: () => AuditMetrics
  readonly close: () => Promise<void>
}

export function composeAudit({ state, issuer, loaded, log, newId, onFault, primary }: AuditNeeds): AuditParts {
  const { realm } = loaded().settings
  let anchors: readonly AuditHead[] = []
  let found: number | undefined
  const anchor = (): void => {
    anchors = state.audit.heads()
    tellHeads(log, state)
    if (primary && found === undefined) count()
  }
  // State that does not answer was told when it began; one that answers all else, and not this, was not.
  const unexpected = (cause: unknown): void => {
    if (!(cause instanceof Unavailable) || state.fault() === undefined) onFault(cause)
  }
  const timer = setInterval(anchor, anchorEveryMs)
  timer.unref()
  const retention = primary
    ? startAuditRetention({
        audit: state.audit,
        claim: state.replays.claim,
        realm,
        kept: (name) => keptOf(state.kind, loaded().settings.audit.retain)(name),
        signer: issuer && signerOf(issuer),
        newId,
        everyMs: state.kind === 'memory' ? memoryEveryMs : retentionEveryMs,
        onCut: (name, lines) =>
          log.info({ log: name, lines, signed: issuer !== undefined }, 'removed from the audit trail what need not be kept any more'),
        onFault: unexpected,
      })
    : undefined
  const count = (): void => {
    Promise.all(auditLogs.map((name) => state.audit.size(name)))
      .then((sizes) => {
        found = sizes.reduce((sum, size) => sum + size, 0)
        if (found > 0) log.info({ events: found }, 'audit events found in state')
      })
      // State that is down now is asked again later; until then the gauge is left out.
      .catch(unexpected)
  }
  if (primary) count()
  return {
    metrics: () => {
      // The first links are told at once.
      const heads = state.audit.heads()
      if (anchors.length < heads.length) anchors = heads
      return { heads, anchors, loaded: found }
    },
    close: async () => {
      clearInterval(timer)
      await retention?.close()
    },
  }
}

/** Writes the last link of each chain to the log, where who rewrites the trail does not reach it. */
export function tellHeads(log: Pick<Logger, 'info'>, state: Pick<State, 'audit'>): void {
  const heads = state.audit.heads()
  if (heads.length > 0) log.info({ anchors: heads.map(({ boot, seq, hash }) => `${boot}:${seq}:${hash}`) }, 'audit trail')
}

function signerOf({ ring }: Pick<IssuerParts, 'ring'>): CheckpointSigner {
  return {
    sign: (payload, typ) => {
      const keys = ring()
      if (!keys) throw new Unavailable('the signing keys have not been loaded from state yet')
      return keys.sign(payload, typ)
    },
    signs: (kid) =>
      ring()
        ?.list()
        .some((key) => key.kid === kid && key.state === 'signing') ?? true,
  }
}
