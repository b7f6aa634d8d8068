import { type ChildProcess, fork } from 'node:child_process'
import type { Socket } from 'node:net'
import type { MetricsSnapshot } from '../adapters/metrics-sum.ts'
import { StartRefused } from '../core/start-refused.ts'
import type { ToPrimary, ToWorker } from './workers-messages.ts'

/** How a worker is started. */
export interface WorkerCommand {
  /** The program's main file. */
  readonly entry: string
  /** Its arguments, for the worker with this number. */
  readonly args: (number: number) => readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

/** One worker process, seen from the primary. */
export interface Member {
  readonly number: number
  readonly pid: number
  /** When it was started. */
  readonly since: Date
  readonly serving: () => boolean
  /** Of a realm's policy in force there; undefined until it said so. */
  readonly revision: (realm: string) => string | undefined
  /** Connections that it has, or is being handed. */
  readonly connections: () => number
  /** Resolves when it serves. @throws {StartRefused} where it will not, or ended instead */
  readonly started: Promise<void>
  /** Resolves when it has ended; says how, for the log. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>
  readonly take: (socket: Socket) => void
  /** @returns undefined where there is no answer within so many milliseconds */
  readonly measure: (withinMs: number) => Promise<MetricsSnapshot | undefined>
  readonly tell: (message: ToWorker) => void
  /** Asks for a sign of life. @returns how many such questions in a row had no answer before */
  readonly ping: () => number
  /** SIGKILL. */
  readonly kill: () => void
}

export interface MemberOptions {
  readonly number: number
  readonly command: WorkerCommand
  /** See `unchangingOf`. */
  readonly unchanging: string
  /** Of the fingerprints of credentials; see `createFingerprint`. */
  readonly fingerprintKey: string
  /** A connection that the worker was handed and has not said to have, and cannot say any more. */
  readonly onLost: (socket: Socket) => void
}

/** Starts a worker. */
export function startMember({ number, command, unchanging, fingerprintKey, onLost }: MemberOptions): Member {
  const child: ChildProcess = fork(command.entry, command.args(number), {
    env: { ...command.env },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const started = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<{ code: number | null; signal: string | null }>()
  // Whoever does not wait for its start learns of it by its end.
  started.promise.catch(() => {})
  const questions = new Map<number, (snapshot: MetricsSnapshot | undefined) => void>()
  const open = new Set<number>()
  /** Sockets that the worker has not got yet, or not said so. */
  const handed = new Map<number, Socket>()
  let serving = false
  const revisions = new Map<string, string>()
  let last = 0
  let unanswered = 0

  const tell = (message: ToWorker, socket?: Socket, failed: () => void = () => {}): void => {
    // Kept open: until the worker has it, the socket is ours to close should the worker end.
    child.send(message, socket, { keepOpen: true }, (fault) => {
      if (fault) failed()
    })
  }
  const letGo = (id: number): void => {
    handed.get(id)?.destroy()
    handed.delete(id)
  }
  const lose = (id: number): void => {
    const socket = handed.get(id)
    handed.delete(id)
    open.delete(id)
    if (socket) onLost(socket)
  }
  child.on('message', (message: ToPrimary) => {
    unanswered = 0
    switch (message.kind) {
      case 'serving':
        serving = true
        return started.resolve()
      case 'refused':
        return started.reject(new StartRefused(message.sentences, message.fault))
      case 'policy':
        revisions.set(message.realm, message.revision)
        return
      case 'taken':
        return letGo(message.id)
      case 'closed':
        letGo(message.id)
        open.delete(message.id)
        return
      case 'metrics':
        return questions.get(message.id)?.(message.snapshot)
    }
  })
  const over = (code: number | null, signal: string | null): void => {
    serving = false
    for (const id of [...handed.keys()]) lose(id)
    open.clear()
    for (const answer of questions.values()) answer(undefined)
    started.reject(new StartRefused([`worker ${number} ended instead of serving (${signal ?? `exit code ${code}`})`]))
    ended.resolve({ code, signal })
  }
  child.once('exit', over)
  // A process that could not be started has no end to wait for.
  child.on('error', () => {
    if (child.pid === undefined) over(null, null)
  })
  tell({ kind: 'begin', unchanging, fingerprintKey })

  return {
    number,
    pid: child.pid ?? 0,
    since: new Date(),
    serving: () => serving && child.connected,
    revision: (realm) => revisions.get(realm),
    connections: () => open.size,
    started: started.promise,
    ended: ended.promise,
    take: (socket) => {
      const id = ++last
      open.add(id)
      handed.set(id, socket)
      tell({ kind: 'connection', id }, socket, () => lose(id))
    },
    measure: (withinMs) =>
      new Promise((resolve) => {
        const id = ++last
        const answer = (snapshot: MetricsSnapshot | undefined): void => {
          clearTimeout(timer)
          questions.delete(id)
          resolve(snapshot)
        }
        const timer = setTimeout(answer, withinMs, undefined)
        questions.set(id, answer)
        tell({ kind: 'metrics', id }, undefined, () => answer(undefined))
      }),
    tell: (message) => tell(message),
    ping: () => {
      tell({ kind: 'ping' })
      return unanswered++
    },
    kill: () => void child.kill('SIGKILL'),
  }
}
