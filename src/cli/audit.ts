import { type Command, Option } from 'commander'
import { auditEventTypes, auditOutcomes } from '../core/audit-event.ts'
import { type AuditLogName, auditLogs } from '../core/audit-log.ts'
import type { LinkReference } from '../core/audit-started.ts'
import { createVerification } from '../core/audit-verify.ts'
import { isJsonObject, type Json, type JsonObject } from '../core/json.ts'
import { type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { exported, judgeBy, problemJson, problemText, readAnchor, readKeySet, takeFile, takeService } from './audit-verify.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { table } from './table.ts'

interface EventsOptions extends AdminOptions {
  readonly eventType?: string
  readonly agentId?: string
  readonly outcome?: string
  readonly since?: string
  readonly limit: string
}

interface ExportOptions extends AdminOptions {
  readonly log?: AuditLogName
}

interface VerifyOptions extends AdminOptions {
  readonly file?: string
  readonly jwks?: string
  readonly anchor: readonly LinkReference[]
}

/** Events asked for in one call. */
const mostAtOnce = 1000
/** Problems shown. */
const shown = 20

const text = (value: Json | undefined): string => (value === undefined || value === null || value === '' ? '-' : String(value))

/** The last hour, day and so on: `24h` is as good as a time. */
function sinceOf(since: string): string {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(since) ?? []
  if (count === undefined || unit === undefined) return since
  const ms = Number(count) * { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit as 's' | 'm' | 'h' | 'd']
  return new Date(Date.now() - ms).toISOString()
}

async function showEvents(options: EventsOptions, io: Io): Promise<void> {
  const limit = Number(options.limit)
  if (!Number.isInteger(limit) || limit < 1) throw new CommandFailed(2, `--limit ${options.limit}: expected a number from 1 on`)
  const admin = await openAdmin(options, io)
  const query = {
    ...(options.eventType === undefined ? {} : { event_type: options.eventType }),
    ...(options.agentId === undefined ? {} : { agent_id: options.agentId }),
    ...(options.outcome === undefined ? {} : { outcome: options.outcome }),
    ...(options.since === undefined ? {} : { since: sinceOf(options.since) }),
  }
  const events: JsonObject[] = []
  let chain: Json = {}
  let cursor: string | undefined
  do {
    const page = new URLSearchParams({
      ...query,
      limit: String(Math.min(mostAtOnce, limit - events.length)),
      ...(cursor === undefined ? {} : { cursor }),
    })
    const answer = await admin.call('GET', `/v1/audit/events?${page}`)
    if (Array.isArray(answer['events'])) events.push(...answer['events'].filter(isJsonObject))
    chain = answer['chain'] ?? {}
    cursor = typeof answer['next_cursor'] === 'string' ? answer['next_cursor'] : undefined
  } while (cursor !== undefined && events.length < limit)
  if (options.json) {
    printJson(io, { events, chain })
    return
  }
  const rows = events.map((event) => [
    text(event['time']),
    text(event['type']),
    text(event['outcome']),
    text(event['actor']),
    text(event['target']),
    text(event['reason']),
    text(event['id']),
  ])
  io.out(table(['TIME', 'TYPE', 'OUTCOME', 'ACTOR', 'TARGET', 'REASON', 'ID'], rows))
}

async function verify(options: VerifyOptions, io: Io): Promise<void> {
  const login = () => openAdmin(options, io)
  // Of a running service its own keys are taken where no copy of them is given; of a file none.
  const own = async () => (options.file === undefined ? (await login()).call('GET', '/v1/audit/keys') : undefined)
  const keys = options.jwks === undefined ? await own() : readKeySet(options.jwks)
  const signed = keys && Array.isArray(keys['keys']) && keys['keys'].length > 0 ? judgeBy(keys) : undefined
  const verification = createVerification({ judge: signed, anchors: options.anchor })
  await (options.file === undefined ? takeService(login, verification) : takeFile(options.file, verification))
  const { problems, more, notes, lines, heads } = verification.finish()
  if (options.json) printJson(io, { verified: problems.length === 0, lines, problems: problems.map(problemJson), more, notes, heads })
  else {
    for (const note of notes) io.err(`${note}\n`)
    if (problems.length === 0) {
      io.out(`verified: ${lines.events} events and ${lines.decisions} decisions in ${heads.length} chains\n`)
      for (const { log, boot, seq, hash } of heads.filter((head) => last(heads, head))) io.out(`${log} ends with ${boot}:${seq}:${hash}\n`)
    }
  }
  if (problems.length === 0) return
  if (options.json) throw new CommandFailed(1)
  const others = problems.length + more - Math.min(problems.length, shown)
  throw new CommandFailed(1, ...problems.slice(0, shown).map(problemText), ...(others > 0 ? [`and ${others} more`] : []))
}

/** Whether it is the newest chain of its log. */
const last = <T extends { readonly log: AuditLogName }>(heads: readonly T[], head: T): boolean =>
  heads.findLast(({ log }) => log === head.log) === head

/** `postern audit events|export|verify`. */
export function auditCommand(program: Command, io: Io): void {
  const audit = program.command('audit').description('look through the audit trail, and verify it')
  const events = audit
    .command('events')
    .description('the newest events first')
    .addOption(new Option('--event-type <type>', 'only of this type').choices(auditEventTypes))
    .option('--agent-id <id>', 'only what this agent or subject did, and what was done to it')
    .addOption(new Option('--outcome <outcome>', 'only with this outcome').choices(auditOutcomes))
    .option('--since <time or span>', 'only from this time on: 2027-01-31T12:00:00Z, or a span such as 24h')
    .option('--limit <number>', 'at most so many', '100')
  withAdmin(events, io).action((options: EventsOptions) => showEvents(options, io))

  const exporting = audit
    .command('export')
    .description('the stored lines in their order, as JSON lines; verify --file reads them')
    .addOption(new Option('--log <log>', 'only one of the two logs').choices(auditLogs))
  withAdmin(exporting, io).action(async (options: ExportOptions) => {
    for (const log of options.log === undefined ? auditLogs : [options.log])
      for await (const line of exported(() => openAdmin(options, io), log)) io.out(`${line}\n`)
  })

  const verifying = audit
    .command('verify')
    .description('verify the chains of a running service, or of an export; exit code 1 names the first broken link')
    .option('--file <file>', 'what audit export wrote; - for standard input')
    .option('--jwks <file>', 'key set that checkpoints must be signed by, instead of what the service says')
    .option(
      '--anchor <boot:seq:hash>',
      'a link that was logged or scraped earlier, and must be there; may be given several times',
      (value: string, before: readonly LinkReference[]) => [...before, readAnchor(value)],
      [],
    )
  withAdmin(verifying, io).action((options: VerifyOptions) => verify(options, io))
}
