import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

/** A program started by a test; it ends with the test's process at the latest. */
export interface Program {
  readonly pid: number
  /** Lines so far, without line ends. */
  readonly stdout: readonly string[]
  readonly stderr: readonly string[]
  /** Resolves when it has ended and its output is complete. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  readonly running: () => boolean
  readonly signal: (name: NodeJS.Signals) => void
  /** SIGTERM, and SIGKILL after `grace` milliseconds. */
  readonly stop: (grace?: number) => Promise<void>
}

/** What runs: one listener for all of it, as Node warns of more than ten. */
const running = new Set<() => void>()
process.once('exit', () => {
  for (const kill of running) kill()
})

/** Starts a program and collects its output by lines. `env` is added to this process's own. */
export function startProgram(command: string, args: readonly string[], options: { env?: NodeJS.ProcessEnv; cwd?: string } = {}): Program {
  const child: ChildProcess = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  const stdout: string[] = []
  const stderr: string[] = []
  if (child.stdout) createInterface({ input: child.stdout }).on('line', (line) => stdout.push(line))
  if (child.stderr) createInterface({ input: child.stderr }).on('line', (line) => stderr.push(line))
  let over = false
  const kill = () => void child.kill('SIGKILL')
  running.add(kill)
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((done) => {
    const finish = (code: number | null, signal: NodeJS.Signals | null) => {
      over = true
      running.delete(kill)
      done({ code, signal })
    }
    child.once('error', (error) => {
      stderr.push(`${command} could not be started: ${error.message}`)
      finish(null, null)
    })
    child.once('close', finish)
  })
  return {
    pid: child.pid ?? 0,
    stdout,
    stderr,
    ended,
    running: () => !over,
    signal: (name) => void child.kill(name),
    stop: async (grace = 5_000) => {
      child.kill('SIGTERM')
      const late = new AbortController()
      const timer = sleep(grace, undefined, { signal: late.signal }).then(kill, () => {})
      await ended
      late.abort()
      await timer
    },
  }
}
