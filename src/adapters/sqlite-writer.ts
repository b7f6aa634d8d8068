import { parentPort, Worker, workerData } from 'node:worker_threads'
import { Unavailable } from '../core/ports.ts'
import { openDatabase, sqliteCode } from './sqlite-file.ts'
import { prepareWrites, type Write } from './sqlite-writes.ts'
import { StateRefused } from './state-refused.ts'

interface Asked {
  readonly number: number
  readonly write: Write
}

type Answer = { readonly number: number; readonly result: boolean } | { readonly number: number; readonly failed: string }

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

/**
 * A thread of its own for writes: each waits for the disk, and the thread that checks requests must not.
 * It starts with the first write, and again after it died.
 */
export function openSqliteWriter(path: string, realm: string): SqliteWriter {
  const waiting = new Map<number, { resolve: (result: boolean) => void; reject: (error: Unavailable) => void }>()
  let worker: Worker | undefined
  let asked = 0
  let closed = false

  const start = (): Worker => {
    const place: Place = { postern: 'sqlite-writer', path, realm }
    // Flags of the main thread's start (such as --input-type) would end this one.
    const made = new Worker(new URL(import.meta.url), { workerData: place, execArgv: [] })
    made.on('message', (answer: Answer) => {
      const waiter = waiting.get(answer.number)
      waiting.delete(answer.number)
      // Whoever closes waits for its end: an answer that comes meanwhile must not let the process go before.
      if (waiting.size === 0 && !closed) made.unref()
      if ('result' in answer) waiter?.resolve(answer.result)
      else waiter?.reject(new Unavailable(`state file ${path}: ${answer.failed}`))
    })
    // 'exit' follows, and tells those who wait.
    made.on('error', () => {})
    made.on('exit', () => {
      if (worker === made) worker = undefined
      for (const { reject } of waiting.values()) reject(new Unavailable(`state file ${path}: the thread that writes has ended`))
      waiting.clear()
    })
    return made
  }

  return {
    run: (write) => {
      if (closed) return Promise.reject(new Unavailable(`state file ${path} is closed`))
      worker ??= start()
      const thread = worker
      return new Promise<boolean>((resolve, reject) => {
        const number = ++asked
        waiting.set(number, { resolve, reject })
        // Only a write under way keeps the process alive.
        thread.ref()
        const message: Asked = { number, write }
        thread.postMessage(message)
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
  port.on('message', ({ number, write }: Asked) => {
    let answer: Answer
    try {
      // In the try: where the file cannot be opened now, the next write finds out whether it can then.
      run ??= prepareWrites(openDatabase(path, 5000, true), realm)
      answer = { number, result: run(write) }
    } catch (error) {
      answer = { number, failed: failure(error) }
    }
    port.postMessage(answer)
  })
}

const place: unknown = workerData
if (parentPort !== null && typeof place === 'object' && place !== null && 'postern' in place && place.postern === 'sqlite-writer')
  serve(parentPort, place as Place)
