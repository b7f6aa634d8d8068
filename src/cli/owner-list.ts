import { closeSync, renameSync, writeSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { isJsonObject, type JsonObject } from '../core/json.ts'
import { systemCode } from '../core/system-code.ts'
import { type AdminClient, type AdminOptions, openAdmin, withAdmin } from './admin-client.ts'
import { text } from './cells.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { expectFile, openNew } from './new-file.ts'
import { table } from './table.ts'

interface Wanted {
  readonly owner?: string
  readonly resource?: string
  readonly label?: string
  readonly mark?: string
  readonly orphans?: true
}

interface ListOptions extends AdminOptions, Wanted {
  readonly limit: string
}

interface ExportOptions extends AdminOptions, Wanted {
  readonly output?: string
}

const usualLimit = 1000
/** What one call tells at most. */
const longestPage = 1000
/** Milliseconds between two lines of progress. */
const tellEvery = 5000

const withWanted = (command: Command): Command =>
  command
    .option('--owner <subject>', 'only of this owner')
    .option('--resource <kind>', 'only of this kind')
    .option('--label <name=value>', 'only with this label')
    .option('--orphans', 'only those that nobody could be made the owner of')
    .addOption(new Option('--mark <mark>', 'only with this mark').choices(['orphan', 'deleting', 'source']))

/** `postern owner list` and `postern owner export`. */
export function ownerList(owner: Command, io: Io): void {
  withAdmin(withWanted(owner.command('list').description('resources and their owners')), io)
    .option('--limit <n>', 'at most so many', String(usualLimit))
    .action(async (options: ListOptions) => {
      const limit = Number(options.limit)
      if (!Number.isInteger(limit) || limit < 1) throw new CommandFailed(2, '--limit: expected a number, 1 or more')
      const found: JsonObject[] = []
      let more = false
      for await (const page of pages(await openAdmin(options, io), options, Math.min(limit, longestPage))) {
        more = page.more || found.length + page.found.length > limit
        found.push(...page.found.slice(0, limit - found.length))
        if (found.length >= limit) break
      }
      if (options.json) printJson(io, { resources: found, more })
      else io.out(table(['RESOURCE', 'OWNER', 'MARKS', 'REVISION'], found.map(row)))
      if (more) io.err(`there are more: --limit ${limit * 10}, or owner export\n`)
    })

  withAdmin(withWanted(owner.command('export').description('all records, as JSON lines')), io)
    .option('-o, --output <file>', 'instead of standard output')
    .action(async (options: ExportOptions) => {
      const admin = await openAdmin(options, io)
      if (options.output === undefined) await exportTo(io.out, admin, options, io)
      else await exportFile(options.output, admin, options, io)
    })
}

const row = ({ resource, id, owner, marks, revision }: JsonObject): string[] => [
  `${String(resource)}:${String(id)}`,
  text(owner),
  isJsonObject(marks) ? Object.keys(marks).join(',') : '-',
  text(revision),
]

interface Page {
  readonly found: readonly JsonObject[]
  readonly more: boolean
}

/** Page after page; one may be empty. */
async function* pages(admin: AdminClient, wanted: Wanted, limit: number): AsyncGenerator<Page> {
  const { owner, resource, label, orphans } = wanted
  const mark = orphans ? 'orphan' : wanted.mark
  const path = `/v1/resources${resource === undefined ? '' : `/${encodeURIComponent(resource)}`}`
  const asked = { ...(owner !== undefined && { owner }), ...(label !== undefined && { label }), ...(mark !== undefined && { mark }) }
  for (let cursor: string | undefined; ; ) {
    const query = new URLSearchParams({ ...asked, limit: String(limit), ...(cursor !== undefined && { cursor }) })
    const { resources, next } = await admin.call('GET', `${path}?${query}`)
    cursor = typeof next === 'string' ? next : undefined
    yield { found: Array.isArray(resources) ? resources.filter(isJsonObject) : [], more: cursor !== undefined }
    if (cursor === undefined) return
  }
}

async function exportTo(write: (text: string) => void, admin: AdminClient, wanted: Wanted, io: Io): Promise<number> {
  let [count, told] = [0, performance.now()]
  for await (const { found } of pages(admin, wanted, longestPage)) {
    if (found.length > 0) write(found.map((each) => `${JSON.stringify(each)}\n`).join(''))
    count += found.length
    if (performance.now() - told > tellEvery) {
      io.err(`${count} records\n`)
      told = performance.now()
    }
  }
  return count
}

/** The file is there once all of it is. */
async function exportFile(file: string, admin: AdminClient, options: ExportOptions, io: Io): Promise<void> {
  const failed = (cause: unknown) => new CommandFailed(1, `${file}: cannot be written (${systemCode(cause)})`)
  expectFile(file)
  const part = `${file}.part`
  let out: number
  try {
    out = openNew(part)
  } catch (cause) {
    throw failed(cause)
  }
  const write = (lines: string): void => {
    try {
      writeSync(out, lines)
    } catch (cause) {
      throw failed(cause)
    }
  }
  const count = await exportTo(write, admin, options, io).finally(() => closeSync(out))
  try {
    renameSync(part, file)
  } catch (cause) {
    throw failed(cause)
  }
  if (options.json) printJson(io, { exported: count, file })
  else io.out(`exported ${count} records to ${file}\n`)
}
