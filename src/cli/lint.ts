import { access, constants } from 'node:fs/promises'
import type { Command } from 'commander'
import type { EnvoyLint } from '../config/envoy/lint.ts'
import { factsOfRealms, type PolicyFacts, policyFacts } from '../config/envoy/policy-facts.ts'
import { type Fault, faultText } from '../config/faults.ts'
import type { Loaded } from '../config/read.ts'
import { readRealms, warningsOf } from '../config/read-realms.ts'
import { policySchema } from '../config/schema.ts'
import { findTenants } from '../config/tenants.ts'
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
    const read = options.envoy && !named && !(await isThere(common.config)) ? undefined : await lintPolicy(common, io)
    const envoy = options.envoy && (await lintEnvoyFiles(options.envoy, read && factsOf(read)))
    if (options.json) printJson(io, asJson(read, envoy))
    else {
      if (read) printPolicy(read, io)
      if (envoy) printEnvoy(envoy, io)
    }
    if ((read && read.faults.length > 0) || (envoy && envoy.faults.length > 0)) throw new CommandFailed(2)
    const warned = read !== undefined && read.warnings.length > 0
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

/** A policy as lint tells of it: one realm, or each of those that the main file names. */
interface Linted {
  /** Those without faults. */
  readonly loaded: readonly Loaded[]
  /** The names of all realms, where the main file names several. */
  readonly realms: ReadonlySet<string> | undefined
  readonly faults: readonly Fault[]
  readonly warnings: readonly Fault[]
}

/** Reads the policy; where it names several realms, and none is chosen, all of them. */
async function lintPolicy(options: CommonOptions, io: Io): Promise<Linted> {
  const read = await tryPolicy(options, io)
  if (read.ok) {
    const { loaded } = read
    const realms = loaded.tenant === undefined ? undefined : await namesOf(options, loaded, io)
    return { loaded: [loaded], realms, faults: [], warnings: loaded.warnings }
  }
  if (!read.tenants?.length || options.realm !== undefined) return { loaded: [], realms: undefined, faults: read.faults, warnings: [] }
  const { realms, faults } = await readRealms({ file: options.config, env: io.env, secrets: 'warn' }, read.tenants)
  const loaded = [...realms.values()].map((one) => one.loaded)
  return { loaded, realms: new Set(realms.keys()), faults, warnings: warningsOf(options.config, loaded) }
}

/** The names of all realms beside the one that was chosen; those that are broken are left out. */
async function namesOf(options: CommonOptions, { settings }: Loaded, io: Io): Promise<ReadonlySet<string>> {
  const files = await findTenants(options.config, settings.realms)
  const { realms } = await readRealms({ file: options.config, env: io.env, secrets: 'warn' }, files)
  return new Set([settings.realm, ...realms.keys()])
}

/** What the Envoy configuration is compared with; undefined where nothing could be read. */
function factsOf({ loaded, realms, faults }: Linted): PolicyFacts | undefined {
  const [first, ...others] = loaded
  if (!first || faults.length > 0) return undefined
  return realms && others.length > 0 ? factsOfRealms([first, ...others]) : policyFacts(first, realms)
}

function asJson(read: Linted | undefined, envoy: EnvoyLint | undefined): object {
  const unsafe = envoy !== undefined && (envoy.faults.length > 0 || envoy.findings.some(({ severity }) => severity === 'error'))
  const sound = read === undefined || read.faults.length === 0
  return {
    ok: sound && !unsafe,
    ...(read && sound ? revisionsOf(read) : {}),
    faults: [...(read?.faults ?? []), ...(envoy?.faults ?? [])],
    warnings: read?.warnings ?? [],
    ...(envoy ? { envoy: { findings: envoy.findings, not_compared: envoy.notCompared } } : {}),
  }
}

/** The revision of what was read, or of each realm by its name. */
function revisionsOf({ loaded, realms }: Linted): object {
  if (!realms) return { revision: loaded[0]?.revision }
  return { realms: Object.fromEntries(loaded.map(({ settings, revision }) => [settings.realm, { revision }])) }
}

function printPolicy(read: Linted, io: Io): void {
  const { loaded, realms, faults, warnings } = read
  for (const fault of faults) io.out(`${faultText(fault)}\n`)
  for (const warning of warnings) io.out(`${faultText(warning)} (warning)\n`)
  const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`
  const sound = faults.length === 0
  const revisions = loaded.map(({ settings, revision }) => `${realms ? `${settings.realm} ` : ''}revision ${revision}`).join(', ')
  io.err(`${sound ? `${revisions}: ` : ''}${counted(faults.length, 'fault')}, ${counted(warnings.length, 'warning')}\n`)
}
