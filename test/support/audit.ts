import { type AuditLogName, type AuditReader, auditLogs } from '../../src/core/audit-log.ts'
import { createVerification, type VerificationOptions, type VerificationResult } from '../../src/core/audit-verify.ts'

/** All lines of a log, page by page. */
export async function linesOf(audit: Pick<AuditReader, 'read'>, log: AuditLogName, limit = 1000): Promise<string[]> {
  const lines: string[] = []
  for (let after: string | undefined; ; ) {
    const page = await audit.read(log, { limit, after })
    lines.push(...page.map(({ text }) => text))
    if (page.length < limit) return lines
    after = page.at(-1)!.cursor
  }
}

/** Verifies lines as they are. */
export function verifyLines(logs: Partial<Record<AuditLogName, readonly string[]>>, options?: VerificationOptions): VerificationResult {
  const verification = createVerification(options)
  for (const log of auditLogs) for (const line of logs[log] ?? []) verification.take(log, line)
  return verification.finish()
}

/** Verifies a whole trail. */
export async function verifyTrail(audit: Pick<AuditReader, 'read'>, options?: VerificationOptions): Promise<VerificationResult> {
  return verifyLines({ events: await linesOf(audit, 'events'), decisions: await linesOf(audit, 'decisions') }, options)
}
