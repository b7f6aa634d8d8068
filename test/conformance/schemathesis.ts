import { execFile } from 'node:child_process'

/**
 * Runs Schemathesis.
 * @param python the interpreter that has it
 * @param args of its command line
 */
export function schemathesis(python: string, cwd: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(
      python,
      ['-m', 'schemathesis.cli', ...args],
      { cwd, timeout: 220_000, maxBuffer: 16 * 1024 * 1024, env: { ...process.env, PYTHONUTF8: '1' } },
      (error, stdout, stderr) => resolve({ code: error ? (typeof error.code === 'number' ? error.code : -1) : 0, output: stdout + stderr }),
    )
  })
}
