import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import { readCases } from './case-file.ts'
import { CommandFailed, type Io, printJson } from './io.ts'
import { type CommonOptions, loadPolicy, withCommon } from './policy.ts'
import { type CaseResult, runCase } from './run-case.ts'

/** Runs a case file. @throws {CommandFailed} where it, or its policy, is broken */
async function runCases(path: string, options: CommonOptions, io: Io): Promise<CaseResult[]> {
  const file = await readCases(path)
  const config = file.policy === undefined ? options.config : resolve(dirname(path), file.policy)
  const loaded = await loadPolicy({ ...options, config }, io)
  const results: CaseResult[] = []
  for (const one of file.cases) {
    try {
      results.push(await runCase(loaded, file, one))
    } catch (cause) {
      results.push({ name: one.name, failures: [cause instanceof Error ? cause.message : String(cause)], decision: '', reason: '' })
    }
  }
  return results
}

/** `postern test FILE…`: requests and the decisions that are expected of them. */
export function testCommand(program: Command, io: Io): void {
  const command = program.command('test').description('run tables of requests and expected decisions').argument('<file...>', 'YAML files')
  withCommon(command, io).action(async (files: string[], options: CommonOptions) => {
    const all: (CaseResult & { readonly file: string })[] = []
    for (const file of files) for (const result of await runCases(file, options, io)) all.push({ file, ...result })
    const failed = all.filter(({ failures }) => failures.length > 0)
    if (options.json) printJson(io, { passed: all.length - failed.length, failed: failed.length, cases: all })
    else {
      for (const { name, decision, reason, failures } of all) {
        io.out(
          failures.length === 0
            ? `ok    ${name}  (${decision}: ${reason})\n`
            : `FAIL  ${name}\n${failures.map((line) => `      ${line}\n`).join('')}`,
        )
      }
      io.out(`${all.length - failed.length} passed, ${failed.length} failed\n`)
    }
    if (failed.length > 0) throw new CommandFailed(1)
  })
}
