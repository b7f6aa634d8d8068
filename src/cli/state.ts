import type { Command } from 'commander'
import type { Examined } from '../compose/state-file.ts'
import { StartRefused } from '../core/start-refused.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { type CommonOptions, loadAnyRealm, withCommon } from './policy.ts'
import { table } from './table.ts'

interface BackupOptions extends CommonOptions {
  readonly force?: boolean
}

interface CheckOptions extends CommonOptions {
  readonly file?: string
}

// Loaded where they are used: most commands need no database.
const stateFiles = () => import('../compose/state-file.ts')

async function refusing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    throw cause instanceof StartRefused ? new CommandFailed(1, ...cause.sentences) : cause
  }
}

async function configured(options: CommonOptions, io: Io): Promise<string> {
  const { settings } = await loadAnyRealm(options, io)
  return (await stateFiles()).stateFile(settings.state)
}

async function backUp(to: string, options: BackupOptions, io: Io): Promise<void> {
  const path = await configured(options, io)
  const { bytes, version } = await (await stateFiles()).backUpState(path, to, options.force ?? false)
  if (options.json) printJson(io, { state: path, backup: to, bytes, schema: version })
  else io.out(`${path} is backed up to ${to}: ${bytes} bytes, schema version ${version}. It holds signing keys and secrets.\n`)
}

function show({ path, bytes, version, known, problems, tables }: Examined, options: CheckOptions, io: Io): void {
  const sound = problems.length === 0
  if (options.json) {
    const rows = Object.fromEntries(tables.map((each) => [each.name, each.rows]))
    printJson(io, { state: path, bytes, schema: version, known_schema: known, sound, problems, rows })
  } else {
    const forward = version < known ? ` (the next start brings it to ${known})` : ''
    io.out(
      table(undefined, [
        ['state', path],
        ['bytes', String(bytes)],
        ['schema', `${version}${forward}`],
        ['integrity', sound ? 'ok' : 'damaged'],
      ]),
    )
    io.out(
      `\n${table(
        ['TABLE', 'ROWS'],
        tables.map(({ name, rows }) => [name, String(rows)]),
      )}`,
    )
  }
  if (!sound) throw new CommandFailed(1, ...(options.json ? [] : problems))
}

/** `postern state backup|check`: the state file of this host. */
export function stateCommand(program: Command, io: Io): void {
  const state = program.command('state').description('back up the state file, and look through it')
  withCommon(
    state
      .command('backup')
      .description('copy the state file while services use it')
      .argument('<file>', 'where the copy is to stand')
      .option('--force', 'replace the file where there is one'),
    io,
  ).action((to: string, options: BackupOptions) => refusing(() => backUp(to, options, io)))
  withCommon(
    state
      .command('check')
      .description('look whether the state file is sound, and what is in it; exit code 1 where it is damaged')
      .option('--file <file>', 'this file, such as a backup, instead of that of the policy'),
    io,
  ).action((options: CheckOptions) =>
    refusing(async () => {
      const path = options.file ?? (await configured(options, io))
      show(await (await stateFiles()).examineState(path), options, io)
    }),
  )
}
