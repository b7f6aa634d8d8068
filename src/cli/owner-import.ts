import type { Command } from 'commander'
import { type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { type Acknowledged, type Batch, batchesOf, sendBatch } from './owner-import-batches.ts'
import { type ImportedSoFar, openImportFiles, type Rejected } from './owner-import-files.ts'
import { inputLines, openInput } from './owner-import-input.ts'
import { showProgress } from './owner-import-progress.ts'
import { table } from './table.ts'

interface ImportOptions extends AdminOptions {
  readonly replace?: true
  readonly concurrency: string
  readonly resumeFile?: string
  readonly rejected?: string
  readonly restart?: true
  readonly dryRun?: true
  readonly reason?: string
}

/** Calls under way at a time. */
const [usualCalls, mostCalls] = [4, 16]
/** Refused lines that a dry run shows. */
const mostShown = 20

/** `postern owner import`: a file of JSON lines, however long. */
export function ownerImport(owner: Command, io: Io): void {
  withAdmin(
    owner
      .command('import')
      .description('write many labels, from JSON lines')
      .argument('<file>', 'or - for standard input')
      .option('--replace', 'replace what is known; else the first owner stays')
      .option('--concurrency <n>', `calls under way at a time, at most ${mostCalls}`, String(usualCalls))
      .option('--resume-file <file>', 'where it is kept how far it has come; FILE.postern-import unless given')
      .option('--rejected <file>', 'where refused lines go; FILE.rejected unless given')
      .option('--restart', 'begin anew, where an import was interrupted')
      .option('--dry-run', 'look at all lines, and write nothing')
      .option('--reason <text>', 'why, for the audit trail'),
    io,
  ).action((file: string, options: ImportOptions) => runImport(file, options, io))
}

async function runImport(file: string, options: ImportOptions, io: Io): Promise<void> {
  const calls = Number(options.concurrency)
  if (!Number.isInteger(calls) || calls < 1 || calls > mostCalls) throw new CommandFailed(2, `--concurrency: expected 1 to ${mostCalls}`)
  const mode = options.replace ? 'replace' : 'absent'
  const dryRun = options.dryRun === true
  const input = await openInput(file)
  const named = file === '-' ? 'postern-import' : file
  const stateFile = dryRun ? undefined : (options.resumeFile ?? (file === '-' ? undefined : `${file}.postern-import`))
  const rejectedFile = options.rejected ?? `${named}.rejected`
  const admin = await openAdmin(options, io)
  const files = dryRun
    ? undefined
    : openImportFiles({ stateFile, rejectedFile, identity: input.identity, mode, restart: options.restart === true })

  let soFar: Omit<ImportedSoFar, 'rejected_bytes'> = files?.begun ?? { offset: 0, lines: 0, written: 0, kept: 0, same: 0, rejected: 0 }
  if (soFar.offset > 0) io.err(`going on after line ${soFar.lines}\n`)
  const stop = new AbortController()
  const interrupted = (): void => stop.abort()
  process.once('SIGINT', interrupted)
  const endProgress = showProgress(io, process.stderr.isTTY === true, input.identity.size, () => soFar)
  let failure: unknown
  try {
    let waits = 0
    const send = {
      admin,
      mode,
      dryRun,
      reason: options.reason,
      signal: stop.signal,
      onWait: (why: string) => void (waits++ % 10 === 0 && io.err(`waiting for the service: ${why}\n`)),
    } as const
    const batches = batchesOf(inputLines(input.from(soFar.offset), soFar.offset, soFar.lines))
    await inOrder(
      batches,
      calls,
      stop.signal,
      (batch) => sendBatch(batch, send),
      (batch, { written, kept, same, refused }) => {
        soFar = {
          offset: batch.end,
          lines: batch.lines,
          written: soFar.written + written,
          kept: soFar.kept + kept,
          same: soFar.same + same,
          rejected: soFar.rejected + refused.length,
        }
        if (files) files.save(soFar, refused)
        else showRefused(io, refused, soFar.rejected - refused.length)
      },
    )
  } catch (cause) {
    failure = cause
  } finally {
    process.removeListener('SIGINT', interrupted)
    endProgress()
  }
  const goOn =
    stateFile === undefined
      ? dryRun
        ? 'nothing was written'
        : `lines up to ${soFar.lines} were acknowledged; without --resume-file it is not kept where to go on, and what is there already costs nothing`
      : `lines up to ${soFar.lines} were acknowledged: run the same command again to go on after them`
  if (failure instanceof CommandFailed) throw new CommandFailed(failure.code, ...failure.sentences, goOn)
  if (failure !== undefined) throw failure
  if (stop.signal.aborted) throw new CommandFailed(1, 'interrupted', goOn)
  files?.done()
  print(io, options, soFar, dryRun)
  if (soFar.rejected === 0) return
  const [were, them] = soFar.rejected === 1 ? ['1 line was', 'it'] : [`${soFar.rejected} lines were`, 'them']
  throw new CommandFailed(1, `${were} refused${dryRun ? '' : `: ${rejectedFile} has ${them}, and what was expected`}`)
}

/**
 * Handles batches several at a time, and tells of each in its turn. A batch with a resource that is under way waits: what comes later
 * is written later.
 * @throws what `send` or `told` threw first, once nothing is under way any more
 */
async function inOrder(
  batches: AsyncIterable<Batch>,
  calls: number,
  signal: AbortSignal,
  send: (batch: Batch) => Promise<Acknowledged>,
  told: (batch: Batch, answer: Acknowledged) => void,
): Promise<void> {
  const underWay: { readonly batch: Batch; readonly answer: Promise<Acknowledged> }[] = []
  const first = async (): Promise<void> => {
    const { batch, answer } = underWay[0]!
    told(batch, await answer)
    underWay.shift()
  }
  const meets = (keys: ReadonlySet<string>): boolean => underWay.some((other) => !keys.isDisjointFrom(other.batch.keys))
  try {
    for await (const batch of batches) {
      if (signal.aborted) break
      while (underWay.length >= calls || (underWay.length > 0 && meets(batch.keys))) await first()
      const answer = send(batch)
      // Its turn comes later; until then a failure is nobody's surprise.
      answer.catch(() => {})
      underWay.push({ batch, answer })
    }
    while (underWay.length > 0) await first()
  } finally {
    await Promise.allSettled(underWay.map(({ answer }) => answer))
  }
}

function showRefused(io: Io, refused: readonly Rejected[], before: number): void {
  for (const { line, expected } of refused.slice(0, Math.max(0, mostShown - before))) io.err(`line ${line}: ${expected}\n`)
}

function print(io: Io, options: ImportOptions, soFar: Omit<ImportedSoFar, 'rejected_bytes'>, dryRun: boolean): void {
  const { lines, written, kept, same, rejected } = soFar
  const told = dryRun ? { lines, rejected } : { lines, written, kept, same, rejected }
  if (options.json) printJson(io, { ...told, ...(dryRun && { dry_run: true }) })
  else
    io.out(
      table(
        undefined,
        Object.entries(told).map(([name, count]) => [name, String(count)]),
      ),
    )
}
