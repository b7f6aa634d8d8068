import type { Command } from 'commander'
import { isJsonObject, type JsonObject } from '../core/json.ts'
import { percentEncode } from '../core/percent.ts'
import { type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { ownerImport } from './owner-import.ts'
import { ownerList } from './owner-list.ts'
import { table } from './table.ts'

interface ChangeOptions extends AdminOptions {
  readonly ifRevision?: string
  readonly reason?: string
}

interface TransferOptions extends ChangeOptions {
  readonly from?: string
  readonly to: string
  readonly reason: string
}

/** `sandbox s1`, or `sandbox:s1` in one. */
function place(words: readonly string[], more: number) {
  const joined = words.length === 1 + more ? /^([a-z][a-z0-9-]*)[:/](.+)$/.exec(words[0] ?? '') : undefined
  const [resource = '', id = ''] = joined ? [joined[1], joined[2]] : words
  if (!joined && words.length !== 2 + more)
    throw new CommandFailed(2, `expected RESOURCE ID${more > 0 ? ' SUBJECT' : ''}, such as sandbox s1${more > 0 ? ' alice' : ''}`)
  const path = `/v1/resources/${encodeURIComponent(resource)}/${encodeURIComponent(id)}`
  return { path, shown: `${resource}:${id}`, rest: words.slice(joined ? 1 : 2) }
}

function print(io: Io, options: AdminOptions, found: JsonObject): void {
  if (options.json) {
    printJson(io, found)
    return
  }
  const rows = (member: string): string[][] => {
    const values = found[member]
    return isJsonObject(values) ? Object.entries(values).map(([name, value]) => [name, String(value)]) : []
  }
  io.out(
    table(undefined, [
      ['resource', `${String(found['resource'])}:${String(found['id'])}`],
      ['owner', String(found['owner'] ?? '(none)')],
      ...rows('labels'),
      ...rows('marks').map(([name, value]) => [`mark ${name}`, value ?? '']),
      ['revision', String(found['revision'] ?? '(none)')],
    ]),
  )
}

const withChange = (command: Command): Command =>
  command
    .option('--if-revision <revision>', 'only where this is what it is now; "none": where nothing is known of it')
    .option('--reason <text>', 'why, for the audit trail')

/** The precondition of a change (RFC 9110, section 13.1). */
const condition = ({ ifRevision }: ChangeOptions): Record<string, string> =>
  ifRevision === undefined ? {} : ifRevision === 'none' ? { 'if-none-match': '*' } : { 'if-match': `"${ifRevision.replaceAll('"', '')}"` }
const why = ({ reason }: ChangeOptions) => (reason === undefined ? {} : { reason })

/** `NAME=VALUE`, or `NAME-` to take it away. */
function labelChanges(words: readonly string[]): Record<string, string | null> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=')
      if (at > 0) return [word.slice(0, at), word.slice(at + 1)]
      if (at < 0 && word.endsWith('-') && word.length > 1) return [word.slice(0, -1), null]
      throw new CommandFailed(2, `${word}: expected NAME=VALUE, or NAME- to take it away`)
    }),
  )
}

/** `postern owner …`: owners of resources, by the admin listener. */
export function ownerCommand(program: Command, io: Io): void {
  const owner = program.command('owner').description('see and change owners of resources')
  withAdmin(owner.command('get').description('the labels of a resource').argument('<resource>').argument('[id]'), io).action(
    async (resource: string, id: string | undefined, options: AdminOptions) => {
      const { path } = place(id === undefined ? [resource] : [resource, id], 0)
      print(io, options, await (await openAdmin(options, io)).call('GET', `${path}/labels`))
    },
  )

  const set = owner.command('set').description('make a subject the owner of a resource')
  withAdmin(withChange(set.argument('<resource>').argument('<id>').argument('[subject]')), io).action(
    async (resource: string, id: string, subject: string | undefined, options: ChangeOptions) => {
      const { path, rest } = place(subject === undefined ? [resource, id] : [resource, id, subject], 1)
      const admin = await openAdmin(options, io)
      print(io, options, await admin.call('PUT', `${path}/labels`, { owner: rest[0], ...why(options) }, condition(options)))
    },
  )

  const label = owner.command('label').description('set labels of a resource (NAME=VALUE), and take some away (NAME-)')
  withAdmin(withChange(label.argument('<resource:id>').argument('<changes...>')), io).action(
    async (resource: string, changes: readonly string[], options: ChangeOptions) => {
      const joined = /^[a-z][a-z0-9-]*[:/]/.test(resource)
      const { path } = place(joined ? [resource] : [resource, changes[0] ?? ''], 0)
      const labels = labelChanges(joined ? changes : changes.slice(1))
      const admin = await openAdmin(options, io)
      print(io, options, await admin.call('PATCH', `${path}/labels`, { labels, ...why(options) }, condition(options)))
    },
  )

  const transfer = owner.command('transfer').description('give a resource from one subject to another')
  withAdmin(transfer.argument('<resource>').argument('[id]'), io)
    .option('--from <subject>', 'only where it is this one’s')
    .requiredOption('--to <subject>', 'who it is to belong to')
    .requiredOption('--reason <text>', 'why, for the audit trail')
    .option('--if-revision <revision>', 'only where this is what it is now')
    .action(async (resource: string, id: string | undefined, options: TransferOptions) => {
      const { path } = place(id === undefined ? [resource] : [resource, id], 0)
      const { from, to, reason } = options
      const admin = await openAdmin(options, io)
      const body = { to, ...(from !== undefined && { from }), reason }
      print(io, options, await admin.call('POST', `${path}/transfer`, body, condition(options)))
    })

  const rm = owner.command('rm').description('forget the labels of a resource')
  withAdmin(withChange(rm.argument('<resource>').argument('[id]')), io).action(
    async (resource: string, id: string | undefined, options: ChangeOptions) => {
      const { path, shown } = place(id === undefined ? [resource] : [resource, id], 0)
      const { reason } = options
      const headers = { ...condition(options), ...(reason !== undefined && { 'x-postern-reason': percentEncode(reason) }) }
      await (await openAdmin(options, io)).call('DELETE', `${path}/labels`, undefined, headers)
      if (options.json) printJson(io, { removed: shown })
      else io.out(`removed ${shown}\n`)
    },
  )

  ownerList(owner, io)
  ownerImport(owner, io)
}
