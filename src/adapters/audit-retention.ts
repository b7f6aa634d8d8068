import { setImmediate as turn } from 'node:timers/promises'
import { eventOf, labelOf } from '../core/audit-chain.ts'
import { type Checkpoint, checkpointType, createCut, readCheckpoint, signatureOf } from '../core/audit-checkpoint.ts'
import type { AuditEvent } from '../core/audit-event.ts'
import { type AuditLog, type AuditLogName, auditLogs } from '../core/audit-log.ts'
import { readStarted } from '../core/audit-started.ts'
import { type JsonObject, readJsonObject } from '../core/json.ts'
import type { ReplayStore } from '../core/ports.ts'

/** What is kept of a log. */
export interface Kept {
  /** Milliseconds; absent: for ever. */
  readonly ms?: number | undefined
  /** About so many lines; absent: any number. */
  readonly lines?: number | undefined
}

export interface CheckpointSigner {
  /** A JWS in compact serialization. @throws {Unavailable} */
  readonly sign: (payload: JsonObject, typ: string) => string
  /** Whether a key signs now, or it is not known which does. */
  readonly signs: (kid: string) => boolean
}

export interface AuditRetentionOptions {
  readonly audit: Pick<AuditLog, 'read' | 'size' | 'cut' | 'commitTo'>
  /** Of several replicas one does the work of each turn. */
  readonly claim: ReplayStore['claim']
  readonly realm: string
  /** Asked at each turn. */
  readonly kept: (log: AuditLogName) => Kept
  /** Signs checkpoints by the issuer's keys; absent where there are none. @throws {Unavailable} */
  readonly signer: CheckpointSigner | undefined
  readonly newId: () => string
  /** Milliseconds between turns. */
  readonly everyMs: number
  readonly onCut: (log: AuditLogName, lines: number) => void
  /** A turn failed; the next one comes. */
  readonly onFault: (cause: unknown) => void
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
}

/** Removes what need not be kept any more. */
export interface AuditRetention {
  /** A turn at once: for a log that is due, and where no other replica has this turn. @returns lines removed */
  readonly run: () => Promise<number>
  readonly close: () => Promise<void>
}

const pageSize = 1000
/** Lines removed at most under one checkpoint. */
const mostAtOnce = 100_000
/** Milliseconds that the work of a turn may take, far from the next one. */
const longestTurn = 20_000
/** Milliseconds by which a log may be too old, so that there are few checkpoints: an hour, or a tenth of what is kept. */
const slack = (ms: number): number => Math.min(3_600_000, ms / 10)

/** Whether a line is from before a time; one that says no time is as old as those beside it. */
const isOlder = (text: string, ms: number): boolean => ms > Number.NEGATIVE_INFINITY && !(Date.parse(labelOf(text).time) >= ms)

/** Whether a line that is the first of its log was not always. */
function wasCut(text: string): boolean {
  const { link } = labelOf(text)
  return link !== undefined && (link.seq > 1 || readStarted(eventOf(text)?.detail)?.resumes !== null)
}

interface Found {
  readonly checkpoint: Checkpoint
  /** Of the key that signed it. */
  readonly kid: string | undefined
}

const kidOf = (jws: string | undefined): string | undefined => {
  const kid = readJsonObject(Buffer.from(jws?.split('.')[0] ?? '', 'base64url').toString())?.['kid']
  return typeof kid === 'string' ? kid : undefined
}

/** Retention on the clock: each removal is first told by a checkpoint, durable and signed, so that the rest can still be verified. */
export function startAuditRetention(options: AuditRetentionOptions): AuditRetention {
  const { audit, claim, realm, kept, signer, newId, everyMs, onCut, onFault, clock = Date.now } = options
  const newest: { [log in AuditLogName]?: Found } = {}
  /** The end of the log when it was last searched for checkpoints. */
  const searched: Record<AuditLogName, string | undefined> = { events: undefined, decisions: undefined }
  let running: Promise<number> | undefined
  let closed = false

  /** The newest checkpoint, which another replica may have written. */
  const search = async (log: AuditLogName): Promise<Found | undefined> => {
    let after: string | undefined
    let end: string | undefined
    for (let page = await audit.read(log, { limit: pageSize, newestFirst: true }); page.length > 0; ) {
      end ??= page[0]?.cursor
      for (const { cursor, text } of page) {
        if (cursor === searched[log]) {
          searched[log] = end
          return newest[log]
        }
        if (labelOf(text).type !== 'audit_checkpoint') continue
        const event = eventOf(text)
        const checkpoint = readCheckpoint(event?.detail)
        if (!event || !checkpoint || checkpoint.log !== log || checkpoint.realm !== realm) continue
        newest[log] = { checkpoint, kid: kidOf(signatureOf(event.detail)) }
        searched[log] = end
        return newest[log]
      }
      after = page.at(-1)?.cursor
      await turn()
      page = page.length < pageSize ? [] : await audit.read(log, { limit: pageSize, newestFirst: true, after })
    }
    searched[log] = end
    return newest[log]
  }

  const commit = async (log: AuditLogName, checkpoint: Checkpoint, lines: number, until: string): Promise<void> => {
    const payload = { ...checkpoint, chains: checkpoint.chains.map((chain) => ({ ...chain })) }
    const signature = signer?.sign(payload, checkpointType)
    const detail: JsonObject = {
      log,
      lines,
      ...(until === '' ? {} : { until }),
      removed: checkpoint.removed,
      ...(signature === undefined ? { checkpoint: payload } : { signature }),
    }
    const time = new Date(checkpoint.iat * 1000).toISOString()
    const event: AuditEvent = { id: newId(), time, type: 'audit_checkpoint', outcome: 'success', realm, detail }
    await audit.commitTo(log, event)
    newest[log] = { checkpoint, kid: kidOf(signature) }
  }

  /** @returns lines removed */
  const cut = async (log: AuditLogName, over: number, before: number, begun: number): Promise<number> => {
    const previous = await search(log)
    const gathered = createCut()
    const steps: string[] = []
    let at: string | undefined
    for (let more = true; more && gathered.lines() < mostAtOnce; ) {
      const page = await audit.read(log, { limit: pageSize, after: at })
      const from = at
      for (const { cursor, text } of page) {
        more = gathered.lines() < over || isOlder(text, before)
        if (!more) break
        gathered.take(text)
        at = cursor
      }
      if (at !== undefined && at !== from) steps.push(at)
      more &&= page.length === pageSize
      await turn()
    }
    if (steps.length === 0) return 0
    await commit(log, gathered.checkpoint(previous?.checkpoint, { realm, log }, clock()), gathered.lines(), gathered.until())
    // Another replica may have the next turn already: what the checkpoint says may stay a while, and nothing is removed beside it.
    for (const step of steps) {
      if (clock() - begun > longestTurn) break
      await audit.cut(log, step)
    }
    onCut(log, gathered.lines())
    return gathered.lines()
  }

  const runLog = async (log: AuditLogName, begun: number): Promise<number> => {
    const { ms, lines } = kept(log)
    const [oldest] = await audit.read(log, { limit: 1 })
    if (!oldest) return 0
    const before = ms === undefined ? Number.NEGATIVE_INFINITY : begun - ms
    const old = ms !== undefined && isOlder(oldest.text, before - slack(ms))
    // After a start: whether there is a checkpoint that will have to be signed anew.
    if (searched[log] === undefined && wasCut(oldest.text)) await search(log)
    const size = lines === undefined ? 0 : await audit.size(log)
    const over = lines !== undefined && size > lines + Math.ceil(lines / 100) ? size - lines : 0
    // Keys are published for a time after they signed last: what the one before signed, the new one signs again.
    const outlived = (found: Found | undefined): boolean =>
      found !== undefined && signer !== undefined && !(found.kid !== undefined && signer.signs(found.kid))
    if (!old && over === 0 && !outlived(newest[log])) return 0
    const turnOf = Math.floor(begun / everyMs)
    if (!(await claim(`audit-retention-${log}-${everyMs}-${turnOf}`, Math.ceil((begun + 2 * everyMs) / 1000) + 60))) return 0
    if (old || over > 0) {
      let removed = 0
      for (;;) {
        const gone = await cut(log, Math.max(0, over - removed), before, begun)
        removed += gone
        if (gone < mostAtOnce || clock() - begun > longestTurn) return removed
      }
    }
    const found = await search(log)
    if (found && outlived(found)) await commit(log, { ...found.checkpoint, iat: Math.floor(clock() / 1000) }, 0, '')
    return 0
  }

  const run = async (): Promise<number> => {
    let removed = 0
    for (const log of auditLogs) {
      const begun = clock()
      try {
        removed += await runLog(log, begun)
      } catch (cause) {
        onFault(cause)
      }
    }
    return removed
  }
  const inTurn = (): Promise<number> => {
    running ??= run().finally(() => {
      running = undefined
    })
    return running
  }
  const timer = setInterval(() => {
    if (!closed) void inTurn()
  }, everyMs)
  timer.unref()

  return {
    run: inTurn,
    close: async () => {
      closed = true
      clearInterval(timer)
      await running
    },
  }
}
