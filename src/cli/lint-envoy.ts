import { readFile } from 'node:fs/promises'
import { type EnvoyFile, type EnvoyLint, lintEnvoy } from '../config/envoy/lint.ts'
import type { PolicyFacts } from '../config/envoy/policy-facts.ts'
import { findingColumns, findingRow, findingsCounted } from '../config/envoy/report.ts'
import { faultText } from '../config/faults.ts'
import { systemCode } from '../core/system-code.ts'
import { CommandFailed, type Io } from './io.ts'
import { table } from './table.ts'

/**
 * Reads Envoy-side configurations and tells what is unsafe in them.
 * @param policy what they are compared with
 * @throws {CommandFailed} with code 2 where a file cannot be read
 */
export async function lintEnvoyFiles(files: readonly string[], policy: PolicyFacts | undefined): Promise<EnvoyLint> {
  return lintEnvoy(await Promise.all(files.map(readText)), policy)
}

async function readText(file: string): Promise<EnvoyFile> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(file)
  } catch (cause) {
    throw new CommandFailed(2, `${file}: there is no file that can be read here (${systemCode(cause)})`)
  }
  try {
    return { file, text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) }
  } catch {
    throw new CommandFailed(2, `${file}: the file is not UTF-8: save it in this encoding`)
  }
}

/** The findings as a table; what could not be compared goes to the other stream. */
export function printEnvoy(envoy: EnvoyLint, io: Io): void {
  for (const fault of envoy.faults) io.out(`${faultText(fault)}\n`)
  if (envoy.findings.length > 0) io.out(table(findingColumns, envoy.findings.map(findingRow)))
  for (const sentence of envoy.notCompared) io.err(`not compared: ${sentence}\n`)
  io.err(`${findingsCounted(envoy)}\n`)
}
