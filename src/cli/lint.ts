import { access, constants } from 'node:fs/promises'
import type { Command } from 'commander'
import type { EnvoyLint } from '../config/envoy/lint.ts'
import { type Fault, faultText } from '../config/faults.ts'
import type { ReadResult } from '../config/read.ts'
import { policySchema } from '../config/schema.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { lintEnvoyFiles, printEnvoy } from './lint-envoy.ts'
import { type CommonOptions, tryPolicy, withCommon } from './policy.ts'

interface LintOptions extends CommonOptions {
  readonly schema?: boolean
  readonly strict?: boolean
  readonly envoy?: readonly string[]
}

/** `postern lint`: all faults and warnings of a policy, each with its place; and what is unsafe in the Envoy configuration around it. */
export function lintCommand(program: Command, io: Io): void {
  const command = program
    .command('lint')
    .description('tell all faults of the policy file, and what is legal but unsafe')
    .argument('[file]', 'policy file, instead of --config')
    .option('--schema', 'print the JSON Schema of the policy file')
    .option('--strict', 'end with 1 where there are warnings')
    .option(
      '--envoy <file>',
      'a configuration of Envoy, Istio or Envoy Gateway to check, against the policy where there is one; may be given several times',
      (file: string, before: readonly string[] = []) => [...before, file],
    )
  withCommon(command, io).action(async (file: string | undefined, options: LintOptions) => {
    if (options.schema) return printJson(io, policySchema())
    const common = { ...options, config: file ?? options.config }
    const named = file !== undefined || command.getOptionValueSource('config') !== 'default' || io.env['POSTERN_CONFIG'] !== undefined
    const read = options.envoy && !named && !(await isThere(common.config)) ? undefined : await tryPolicy(common, io)
    const envoy = options.envoy && (await lintEnvoyFiles(options.envoy, read?.ok ? read.loaded : undefined))
    if (options.json) printJson(io, asJson(read, envoy))
    else {
      if (read) printPolicy(read, io)
      if (envoy) printEnvoy(envoy, io)
    }
    if ((read && !read.ok) || (envoy && envoy.faults.length > 0)) throw new CommandFailed(2)
    const warned = read?.ok === true && read.loaded.warnings.length > 0
    if (options.strict && (warned || envoy?.findings.some(({ severity }) => severity === 'warning'))) throw new CommandFailed(1)
    if (envoy?.findings.some(({ severity }) => severity === 'error')) throw new CommandFailed(1)
  })
}

async function isThere(file: string): Promise<boolean> {
  try {
    await access(file, constants.F_OK)
    return true
  } catch {
    return false
  }
}

function asJson(read: ReadResult | undefined, envoy: EnvoyLint | undefined): object {
  const unsafe = envoy !== undefined && (envoy.faults.length > 0 || envoy.findings.some(({ severity }) => severity === 'error'))
  return {
    ok: read?.ok !== false && !unsafe,
    ...(read?.ok ? { revision: read.loaded.revision } : {}),
    faults: [...(read && !read.ok ? read.faults : []), ...(envoy?.faults ?? [])],
    warnings: read?.ok ? read.loaded.warnings : [],
    ...(envoy ? { envoy: { findings: envoy.findings, not_compared: envoy.notCompared } } : {}),
  }
}

function printPolicy(read: ReadResult, io: Io): void {
  const faults: readonly Fault[] = read.ok ? [] : read.faults
  const warnings: readonly Fault[] = read.ok ? read.loaded.warnings : []
  for (const fault of faults) io.out(`${faultText(fault)}\n`)
  for (const warning of warnings) io.out(`${faultText(warning)} (warning)\n`)
  const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`
  io.err(
    `${read.ok ? `revision ${read.loaded.revision}: ` : ''}${counted(faults.length, 'fault')}, ${counted(warnings.length, 'warning')}\n`,
  )
}
