import { setTimeout } from 'node:timers/promises'
import { isJsonObject, readJsonObject } from '../core/json.ts'
import { percentEncode } from '../core/percent.ts'
import { type AdminAnswer, type AdminClient, AdminRefused, AdminUnreached, answerText } from './admin-client.ts'
import { CommandFailed } from './io.ts'
import type { Rejected } from './owner-import-files.ts'
import type { InputLine } from './owner-import-input.ts'

/** What one call may hold. */
const mostLines = 1000
const mostBytes = 900_000
/** Milliseconds: pauses between tries grow from the first to the last, and end after so long in vain. */
const [firstPause, longestPause, longestVain] = [250, 10_000, 120_000]

interface SentLine {
  readonly line: number
  readonly text: string
}

/** Lines that are sent together. */
export interface Batch {
  /** Those that the service is to see. */
  readonly sent: readonly SentLine[]
  /** Those that are no JSON objects: it need not be asked. */
  readonly refused: readonly Rejected[]
  /** `<resource>:<id>` of each that is sent. */
  readonly keys: ReadonlySet<string>
  /** Bytes and lines of the input up to its end. */
  readonly end: number
  readonly lines: number
}

/** Lines in batches. One that is blank is passed over. */
export async function* batchesOf(lines: AsyncIterable<InputLine>): AsyncGenerator<Batch> {
  let [sent, refused, keys, bytes]: [SentLine[], Rejected[], Set<string>, number] = [[], [], new Set(), 0]
  let last: InputLine | undefined
  const take = (to: InputLine): Batch => {
    const batch = { sent, refused, keys, end: to.end, lines: to.line }
    ;[sent, refused, keys, bytes] = [[], [], new Set(), 0]
    return batch
  }
  for await (const next of lines) {
    const { line, text } = next
    const size = text === undefined ? 0 : Buffer.byteLength(text) + 1
    if (last && bytes + size > mostBytes) yield take(last)
    last = next
    const data = text === undefined ? undefined : readJsonObject(text)
    if (text === undefined) refused.push({ line, expected: 'expected at most 64 KiB of UTF-8' })
    else if (data !== undefined) {
      sent.push({ line, text })
      keys.add(`${String(data['resource'])}:${String(data['id'])}`)
      bytes += size
    } else if (text.trim() !== '') refused.push({ line, expected: 'expected a JSON object on a line of its own', text })
    if (sent.length + refused.length >= mostLines) yield take(next)
  }
  if (last && (sent.length > 0 || refused.length > 0)) yield take(last)
}

/** What became of a batch. */
export interface Acknowledged {
  readonly written: number
  readonly kept: number
  readonly same: number
  /** In the order of the lines. */
  readonly refused: readonly Rejected[]
}

export interface SendOptions {
  readonly admin: Pick<AdminClient, 'attempt'>
  readonly mode: 'absent' | 'replace'
  readonly dryRun: boolean
  readonly reason: string | undefined
  /** Ends the waiting between two tries. */
  readonly signal: AbortSignal
  /** Told of each try in vain. */
  readonly onWait: (why: string) => void
}

/** Sends a batch, again and again where the service is not to be had for a while. @throws {CommandFailed} */
export async function sendBatch(batch: Batch, options: SendOptions): Promise<Acknowledged> {
  const { sent, refused } = batch
  if (sent.length === 0) return { written: 0, kept: 0, same: 0, refused }
  const { mode, dryRun, reason } = options
  const path = `/v1/import/labels?mode=${mode}&report=invalid&${dryRun ? 'dry_run' : 'partial'}=true`
  const body = { type: 'application/x-ndjson', text: sent.map(({ text }) => text).join('\n') }
  const { json } = await persist(options, () =>
    options.admin.attempt('POST', path, body, reason === undefined ? {} : { 'x-postern-reason': percentEncode(reason) }),
  )
  const results = Array.isArray(json['results']) ? json['results'].filter(isJsonObject) : []
  const here = results.flatMap(({ line, expected }) => {
    const of = sent[Number(line) - 1]
    return of === undefined ? [] : [{ line: of.line, expected: String(expected), text: of.text }]
  })
  const [written, kept, same, valid] = ['written', 'kept', 'same', 'valid'].map((name) => Number(json[name]) || 0) as [
    number,
    number,
    number,
    number,
  ]
  if (written + kept + same + valid + here.length !== sent.length)
    throw new CommandFailed(1, 'the service did not say what became of each line: is it of another version?')
  return { written, kept, same, refused: [...refused, ...here].sort((one, other) => one.line - other.line) }
}

const passing = (status: number): boolean => [429, 502, 503, 504].includes(status)

async function persist({ signal, onWait }: SendOptions, attempt: () => Promise<AdminAnswer>): Promise<AdminAnswer> {
  const begun = performance.now()
  for (let tries = 0; ; tries++) {
    let [why, atLeast] = ['', 0]
    try {
      const answer = await attempt()
      if (answer.status === 200) return answer
      why = answerText(answer)
      if (!passing(answer.status)) throw new CommandFailed(1, `the service refused a batch: ${why}`)
      atLeast = answer.retryAfter * 1000
    } catch (cause) {
      const isPassing = cause instanceof AdminUnreached || (cause instanceof AdminRefused && passing(cause.status))
      if (!isPassing) throw cause
      why = cause.message
    }
    if (signal.aborted || performance.now() - begun > longestVain) throw new CommandFailed(1, why)
    onWait(why)
    const pause = Math.min(firstPause * 2 ** tries, longestPause)
    // With jitter, so that several do not come again together.
    await setTimeout(Math.max(atLeast, pause / 2 + (Math.random() * pause) / 2), undefined, { signal }).catch(() => {})
  }
}
