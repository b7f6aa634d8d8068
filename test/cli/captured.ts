import { run } from '../../src/cli/program.ts'

export interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a command line in this process. */
export async function cli(argv: readonly string[], env: Readonly<Record<string, string>> = {}, stdin = ''): Promise<Ran> {
  let [out, err] = ['', '']
  const code = await run(argv, {
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
    env,
    stdin: async () => stdin,
  })
  return { code, out, err }
}
