import { parentPort, Worker, workerData } from 'node:worker_threads'
import { Unavailable } from '../core/ports.ts'
import { openDatabase, sqliteCode } from './sqlite-file.ts'
import { prepareWrites, type Write } from './sqlite-writes.ts'
import { StateRefused } from './state-refused.ts'

/** What the thread answers, for each of the writes that it was given. */
type Answer = { readonly result: boolean } | { readonly failed: string }

interface Waiting {
  readonly write: Write
  readonly resolve: (result: boolean) => void
  readonly reject: (error: Unavailable) => void
}

interface Place {
  readonly postern: 'sqlite-writer'
  readonly path: string
  readonly realm: string
}

/** The thread that writes. */
export interface SqliteWriter {
  /** Durable when it resolves. @throws {Unavailable} */
  readonly run: (write: Write) => Promise<boolean>
  readonly close: () => Promise<void>
}

/** Writes in one transaction: it takes some milliseconds, for which another process waits. */
const mostAtOnce = 256

/**
 * A thread of its own for writes: each waits for the disk, and the thread that checks requests must not.
 * It starts with the first write, and again after it died. What is asked while it writes becomes one transaction, revocations
 * first: a flood of something else must not keep them waiting.
 */
export function openSqliteWriter(path: string, realm: string): SqliteWriter {
  const urgent: Waiting[] = []
  const others: Waiting[] = []
  let underWay: readonly Waiting[] = []
  let worker: Worker | undefined
  let closed = false

  const start = (): Worker => {
    const place: Place = { postern: 'sqlite-writer', path, realm }
    // Flags of the main thread's start (such as --input-type) would end this one.
    const made = new Worker(new URL(import.meta.url), { workerData: place, execArgv: [] })
    made.on('message', (answers: readonly Answer[]) => {
      const answered = underWay
      underWay = []
      sendOn()
      // Whoever closes waits for its end: an answer that comes meanwhile must not let the process go before.
      if (underWay.length === 0 && !closed) made.unref()
      for (const [i, { resolve, reject }] of answered.entries()) {
        const answer = answers[i]!
        if ('result' in answer) resolve(answer.result)
        else reject(new Unavailable(`state file ${path}: ${answer.failed}`))
      }
    })
    // 'exit' follows, and tells those who wait.
    made.on('error', () => {})
    made.on('exit', () => {
      if (worker === made) worker = undefined
      const lost = [...underWay, ...urgent.splice(0), ...others.splice(0)]
      underWay = []
      for (const { reject } of lost) reject(new Unavailable(`state file ${path}: the thread that writes has ended`))
    })
    return made
  }

  function sendOn(): void {
    if (underWay.length > 0 || urgent.length + others.length === 0) return
    const first = urgent.splice(0, mostAtOnce)
    underWay = [...first, ...others.splice(0, mostAtOnce - first.length)]
    worker ??= start()
    // Only a write under way keeps the process alive.
    worker.ref()
    try {
      worker.postMessage(underWay.map(({ write }) => write))
    } catch {
      // What cannot be cloned must not stand in the way of all that comes later.
      const refused = underWay
      underWay = []
      for (const { reject } of refused) reject(new Unavailable(`state file ${path}: a write cannot be handed to its thread`))
    }
  }

  return {
    run: (write) => {
      if (closed) return Promise.reject(new Unavailable(`state file ${path} is closed`))
      return new Promise<boolean>((resolve, reject) => {
        const list = write.kind === 'revoke' || write.kind === 'api-key' ? urgent : others
        list.push({ write, resolve, reject })
        sendOn()
      })
    },
    close: async () => {
      closed = true
      worker?.ref()
      await worker?.terminate()
    },
  }
}

const failure = (error: unknown): string => {
  if (error instanceof StateRefused) return error.message
  const code = sqliteCode(error)
  if (code === 5) return 'another process has been writing for too long'
  if (code === 13) return 'the disk is full'
  return `it cannot be written (SQLite ${code ?? 'error'})`
}

/** The other side: inside the thread. */
function serve(port: NonNullable<typeof parentPort>, { path, realm }: Place): void {
  let run: ReturnType<typeof prepareWrites> | undefined
  port.on('message', (writes: readonly Write[]) => {
    let answers: readonly Answer[]
    try {
      // In the try: where the file cannot be opened now, the next write finds out whether it can then.
      run ??= prepareWrites(openDatabase(path, 5000, true), realm)
      answers = run(writes).map((outcome) => ('error' in outcome ? { failed: failure(outcome.error) } : outcome))
    } catch (error) {
      const failed = failure(error)
      answers = writes.map(() => ({ failed }))
    }
    port.postMessage(answers)
  })
}

const place: unknown = workerData
if (parentPort !== null && typeof place === 'object' && place !== null && 'postern' in place && place.postern === 'sqlite-writer')
  serve(parentPort, place as Place)
