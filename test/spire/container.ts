import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Program, startProgram } from '../support/program.ts'

/** As much of a container as the SPIRE agent looks at: a control group that is named after a pod and a container. */
export interface Container {
  /** Runs a program in it. */
  readonly start: (command: readonly string[]) => Program
  /** When its programs have ended. */
  readonly remove: () => void
}

/** @param pod its uid @returns undefined where this process may make no control groups */
export function createContainer(pod: string): Container | undefined {
  for (const root of hierarchies()) {
    const top = join(root, `postern-test-${randomBytes(4).toString('hex')}`)
    const folders = [top, join(top, `pod${pod}`), join(top, `pod${pod}`, randomBytes(32).toString('hex'))]
    try {
      for (const folder of folders) mkdirSync(folder)
    } catch {
      continue // read-only, or not ours
    }
    const procs = join(folders.at(-1) ?? '', 'cgroup.procs')
    return {
      start: (command) => startProgram('sh', ['-c', 'echo $$ > "$0" && exec "$@"', procs, ...command]),
      remove: () => {
        for (const folder of folders.reverse()) rmdirSync(folder)
      },
    }
  }
  return undefined
}

/** Where control groups that limit nothing are mounted: those of version 2, and systemd's own of version 1. */
function hierarchies(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(' - cgroup2 ') || line.includes('name=systemd'))
    .map((line) => line.split(' ')[4] ?? '')
}
