import { fileURLToPath } from 'node:url'
import { type Program, startProgram } from '../support/program.ts'
import { until } from '../support/until.ts'

/** One of the sample upstreams, in a process of its own. */
export interface SampleUpstream {
  readonly port: number
  readonly program: Program
  readonly stop: () => Promise<void>
}

/** Starts deploy/upstreams/NAME.ts on a free port of 127.0.0.1. */
export async function startSample(name: 'picod' | 'workloadmanager', args: readonly string[]): Promise<SampleUpstream> {
  const file = fileURLToPath(new URL(`../../deploy/upstreams/${name}.ts`, import.meta.url))
  const program = startProgram(process.execPath, [file, '--listen', '127.0.0.1:0', ...args])
  const address = await until(
    `${name} to listen`,
    () => {
      if (!program.running()) throw new Error(`${name} ended:\n${[...program.stdout, ...program.stderr].join('\n')}`)
      return /"listening":"[^"]*:(\d+)"/.exec(program.stdout.join('\n'))?.[1]
    },
    15_000,
  )
  return { port: Number(address), program, stop: () => program.stop() }
}
