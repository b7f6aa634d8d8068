import type { AuditLogName } from './audit-log.ts'
import { isJsonObject, type Json, type JsonObject } from './json.ts'

/** A link that another chain names. */
export interface LinkReference {
  readonly boot: string
  readonly seq: number
  readonly hash: string
}

/** What the first event of a chain, `audit_started`, tells in its `detail`. */
export interface AuditStarted {
  readonly log: AuditLogName
  /** The newest link in the log as the chain began; null where there was none. */
  readonly resumes: LinkReference | null
  /** The newest links of the other chains that were found near the end of the log. */
  readonly heads: readonly LinkReference[]
  /** Lines without a link that were there before the first chain. */
  readonly before: number
}

const readReference = (value: Json | undefined): LinkReference | undefined => {
  if (!isJsonObject(value)) return undefined
  const { boot, seq, hash } = value
  return typeof boot === 'string' && Number.isSafeInteger(seq) && typeof hash === 'string' ? { boot, seq: Number(seq), hash } : undefined
}

/** Reads it from the event. @returns undefined where it is not of this form */
export function readStarted(detail: JsonObject | undefined): Omit<AuditStarted, 'log'> | undefined {
  if (!detail) return undefined
  const { resumes, heads = [], before = 0 } = detail
  const resumed = resumes === null ? null : readReference(resumes)
  const others = Array.isArray(heads) ? (heads as readonly Json[]).map(readReference) : [undefined]
  if (resumed === undefined || !others.every((head) => head !== undefined) || !Number.isSafeInteger(before)) return undefined
  return { resumes: resumed, heads: others, before: Number(before) }
}
