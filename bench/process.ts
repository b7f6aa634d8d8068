import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'

/** A server under measurement, in a process group of its own, its output in a file: nothing here reads along while it is measured. */
export interface Server {
  readonly pid: number
  readonly running: () => boolean
  /** The last lines that it wrote. */
  readonly tail: () => string
  /** SIGTERM, and SIGKILL to the whole group after `grace` milliseconds. */
  readonly stop: (grace?: number) => Promise<void>
}

/** Starts a server; its group ends with this process at the latest. @param log path of the file for its output */
export function startServer(
  command: string,
  args: readonly string[],
  { cwd, env, log }: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv; readonly log: string },
): Server {
  const output = openSync(log, 'a', 0o600)
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', output, output], detached: true })
  closeSync(output)
  let over = false
  let failure = ''
  const kill = () => signalGroup(child.pid, 'SIGKILL')
  process.once('exit', kill)
  const ended = new Promise<void>((done) => {
    const finish = () => {
      over = true
      // Workers that outlived their parent go with it.
      kill()
      process.removeListener('exit', kill)
      done()
    }
    child.once('error', (error) => {
      failure = `${command} could not be started: ${error.message}`
      finish()
    })
    child.once('exit', finish)
  })
  return {
    pid: child.pid ?? 0,
    running: () => !over,
    tail: () => [readFileSync(log, 'utf8').trimEnd().split('\n').slice(-12).join('\n'), failure].filter(Boolean).join('\n'),
    stop: async (grace = 5_000) => {
      if (over) return
      child.kill('SIGTERM')
      const timer = setTimeout(kill, grace)
      await ended
      clearTimeout(timer)
    },
  }
}

function signalGroup(pid: number | undefined, name: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, name)
  } catch {
    // The group is gone.
  }
}
