import { createPublicKey, type KeyObject } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { checkpointType } from '../core/audit-checkpoint.ts'
import { type AuditLogName, auditLogs } from '../core/audit-log.ts'
import type { LinkReference } from '../core/audit-started.ts'
import type { TrailProblem } from '../core/audit-trail-problem.ts'
import type { SignatureVerdict, Verification } from '../core/audit-verify.ts'
import { isJsonObject, type JsonObject, readJsonObject } from '../core/json.ts'
import { isSignatureAlgorithm, suits, verifySignature } from '../core/jws.ts'
import { systemCode } from '../core/system-code.ts'
import type { AdminClient } from './admin-client.ts'
import { CommandFailed } from './io.ts'

/** Lines asked for at a time. */
const pageSize = 5000
/** Milliseconds that one login is used: an admin token lives for 300 s. */
const loginMs = 200_000

/** `BOOT:SEQ:HASH`, as logs and metrics of the service have it. @throws {CommandFailed} */
export function readAnchor(text: string): LinkReference {
  const [, boot, seq, hash] = /^([0-9a-f]+):(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? []
  if (boot === undefined || seq === undefined || hash === undefined)
    throw new CommandFailed(2, `--anchor ${text}: expected BOOT:SEQ:HASH, as the service logs it`)
  return { boot, seq: Number(seq), hash }
}

/** A key set from a file (RFC 7517, section 5). @throws {CommandFailed} */
export function readKeySet(file: string): JsonObject {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new CommandFailed(2, `${file}: cannot be read (${systemCode(cause)})`)
  }
  const set = readJsonObject(text)
  if (!set || !Array.isArray(set['keys'])) throw new CommandFailed(2, `${file}: expected a JSON Web Key Set, {"keys": […]}`)
  return set
}

/** Judges signatures by the keys of a set; those that cannot be read are left out. */
export function judgeBy(set: JsonObject): (jws: string) => SignatureVerdict {
  const keys = new Map<string, KeyObject>()
  for (const jwk of Array.isArray(set['keys']) ? set['keys'].filter(isJsonObject) : []) {
    try {
      keys.set(String(jwk['kid']), createPublicKey({ key: jwk as never, format: 'jwk' }))
    } catch {}
  }
  return (jws) => {
    const header = readJsonObject(Buffer.from(jws.split('.')[0] ?? '', 'base64url').toString())
    const { alg, kid, typ } = header ?? {}
    const key = keys.get(String(kid))
    if (!key) return 'unknown_key'
    return typ === checkpointType && isSignatureAlgorithm(alg) && suits(key, alg) && verifySignature(jws, alg, key) ? 'good' : 'bad'
  }
}

/** The lines of a log in stored order, page by page. @param login opens the admin API, again and again for a long log */
export async function* exported(login: () => Promise<AdminClient>, log: AuditLogName): AsyncGenerator<string> {
  let admin = await login()
  let since = Date.now()
  for (let after: string | undefined; ; ) {
    if (Date.now() - since > loginMs) {
      admin = await login()
      since = Date.now()
    }
    const asked = new URLSearchParams({ log, limit: String(pageSize), format: 'json', ...(after === undefined ? {} : { after }) })
    const { lines, next } = await admin.call('GET', `/v1/audit/export?${asked}`)
    for (const line of Array.isArray(lines) ? lines : []) yield String(line)
    if (typeof next !== 'string') return
    after = next
  }
}

/** The lines of a text, which end with LF or CRLF and nothing else: readline takes U+2028 for an end too, which JSON may hold. */
async function* linesOf(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let rest: string[] = []
  for await (const chunk of chunks) {
    const [first = '', ...more] = chunk.split('\n')
    rest.push(first)
    for (const next of more) {
      yield rest.join('').replace(/\r$/, '')
      rest = [next]
    }
  }
  const last = rest.join('')
  if (last !== '') yield last
}

/** Feeds the lines of an export; each says which log it is of, and one that does not is of the log of the line before. */
export async function takeFile(file: string, verification: Verification): Promise<void> {
  const input: AsyncIterable<string> = (file === '-' ? process.stdin : createReadStream(file)).setEncoding('utf8')
  let log: AuditLogName = 'events'
  try {
    for await (const line of linesOf(input)) {
      log = auditLogs.find((name) => line.includes(`,"log":"${name}","prev":"`)) ?? (/"type":"decision"/.test(line) ? 'decisions' : log)
      verification.take(log, line)
    }
  } catch (cause) {
    throw new CommandFailed(2, `${file}: cannot be read (${systemCode(cause)})`)
  }
}

/** Everything that a service has. */
export async function takeService(login: () => Promise<AdminClient>, verification: Verification): Promise<void> {
  for (const log of auditLogs) for await (const line of exported(login, log)) verification.take(log, line)
}

/** A problem as `--json` has it. */
export const problemJson = ({ fault, log, line, boot, seq, id, expected }: TrailProblem): object => ({
  fault,
  log: log ?? null,
  line: line === 0 ? null : line,
  boot: boot ?? null,
  seq: seq ?? null,
  event: id ?? null,
  expected,
})

/** One line of text that names a problem. */
export function problemText({ fault, log, line, boot, seq, id, expected }: TrailProblem): string {
  const where = log === undefined ? '' : ` at line ${line} of ${log}`
  const link = boot === undefined ? '' : `, link ${boot}:${seq ?? '?'}`
  return `${fault}${where}${link}${id === undefined ? '' : `, event ${id}`}: expected ${expected}`
}
