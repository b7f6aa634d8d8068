import type { Command } from 'commander'
import { type Fault, faultText } from '../config/faults.ts'
import { policySchema } from '../config/schema.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { type CommonOptions, tryPolicy, withCommon } from './policy.ts'

interface LintOptions extends CommonOptions {
  readonly schema?: boolean
  readonly strict?: boolean
}

/** `postern lint`: all faults and warnings of a policy, each with its place. */
export function lintCommand(program: Command, io: Io): void {
  const command = program
    .command('lint')
    .description('tell all faults of the policy file, and what is legal but unsafe')
    .argument('[file]', 'policy file, instead of --config')
    .option('--schema', 'print the JSON Schema of the policy file')
    .option('--strict', 'end with 1 where there are warnings')
  withCommon(command, io).action(async (file: string | undefined, options: LintOptions) => {
    if (options.schema) return printJson(io, policySchema())
    const read = await tryPolicy({ ...options, config: file ?? options.config }, io)
    const faults: readonly Fault[] = read.ok ? [] : read.faults
    const warnings: readonly Fault[] = read.ok ? read.loaded.warnings : []
    if (options.json) {
      printJson(io, { ok: read.ok, ...(read.ok ? { revision: read.loaded.revision } : {}), faults, warnings })
    } else {
      for (const fault of faults) io.out(`${faultText(fault)}\n`)
      for (const warning of warnings) io.out(`${faultText(warning)} (warning)\n`)
      const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`
      io.err(
        `${read.ok ? `revision ${read.loaded.revision}: ` : ''}${counted(faults.length, 'fault')}, ${counted(warnings.length, 'warning')}\n`,
      )
    }
    if (!read.ok) throw new CommandFailed(2)
    if (options.strict && warnings.length > 0) throw new CommandFailed(1)
  })
}
