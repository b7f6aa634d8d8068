import { access, constants } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import { faultText } from '../config/faults.ts'
import { type Loaded, type ReadResult, readPolicy } from '../config/read.ts'
import { readRealms } from '../config/read-realms.ts'
import { CommandFailed, type Io } from './io.ts'

export interface CommonOptions {
  readonly config: string
  readonly json?: boolean
  readonly realm?: string
}

const usualPolicy = './postern.yaml'

/** Whether no policy file was named, by option or environment. */
export const isUsualPolicy = ({ config }: CommonOptions, { env }: Io): boolean =>
  config === usualPolicy && env['POSTERN_CONFIG'] === undefined

/** The options that every command has. */
export function withCommon(command: Command, io: Io): Command {
  return command
    .addOption(new Option('-c, --config <file>', 'policy file (or POSTERN_CONFIG)').default(io.env['POSTERN_CONFIG'] ?? usualPolicy))
    .option('--json', 'print JSON')
    .option('--realm <name>', 'realm, instead of that of the file; where it names several, the one that is meant')
}

/**
 * Reads the policy file of a command.
 * @param secrets `require` where the policy is to be served; elsewhere secrets that are not on this machine are no fault
 */
export async function tryPolicy(options: CommonOptions, io: Io, secrets: 'require' | 'warn' = 'warn'): Promise<ReadResult> {
  try {
    await access(options.config, constants.R_OK)
  } catch {
    throw new CommandFailed(
      2,
      `${options.config}: there is no policy file that can be read here: give one by --config FILE, or make one by "postern init"`,
    )
  }
  return readPolicy({ file: options.config, env: io.env, realm: options.realm, secrets })
}

/** As {@link tryPolicy}. @throws {CommandFailed} with all faults of the file */
export async function loadPolicy(options: CommonOptions, io: Io): Promise<Loaded> {
  const read = await tryPolicy(options, io)
  if (!read.ok) throw new CommandFailed(2, ...read.faults.map(faultText))
  return read.loaded
}

/**
 * For what all realms of a policy have in common: as {@link loadPolicy}, or any of several realms.
 * @throws {CommandFailed} with all faults of all of them
 */
export async function loadAnyRealm(options: CommonOptions, io: Io): Promise<Loaded> {
  const read = await tryPolicy(options, io)
  if (read.ok) return read.loaded
  const several = read.tenants && options.realm === undefined ? read.tenants : []
  const { realms, faults } = await readRealms({ file: options.config, env: io.env, secrets: 'warn' }, several)
  const [any] = realms.values()
  if (faults.length > 0 || !any) throw new CommandFailed(2, ...(faults.length > 0 ? faults : read.faults).map(faultText))
  return any.loaded
}
