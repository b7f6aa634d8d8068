import { type DestinationStream, destination, type Level, type Logger, multistream, pino, stdTimeFunctions } from 'pino'

export type { Logger }
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

/** Bytes of lines that wait for a reader of standard output that does not read; what comes then is dropped. */
const mostUnwritten = 16 * 1024 * 1024
/** What is written to a pipe at once stays together where several processes write to it, up to this (PIPE_BUF). */
const mostAtOnce = 4096

export interface LogOptions {
  readonly level: LogLevel
  /** Where lines go; standard output unless a test says otherwise. */
  readonly out?: DestinationStream
  /** Where lines of level `error` and above go; standard error. */
  readonly err?: DestinationStream
  /** Number of the worker process that writes, where there are several: in each of its lines. */
  readonly worker?: number | undefined
  /** Whether other processes write to the same outputs. */
  readonly shared?: boolean
}

/**
 * A log of one JSON line an event: `time` (RFC 3339, UTC), `level` by name, `msg`, and the event's members.
 * Lines of level `error` and above go to standard error only, all others to standard output only.
 */
export function createLog(options: LogOptions): Logger {
  const out =
    options.out ?? destination({ dest: 1, sync: false, maxLength: mostUnwritten, ...(options.shared ? { maxWrite: mostAtOnce } : {}) })
  const err = options.err ?? destination({ dest: 2, sync: true })
  const streams = multistream(
    [
      { level: 'trace' satisfies Level, stream: out },
      { level: 'error' satisfies Level, stream: err },
    ],
    { dedupe: true },
  )
  return pino(
    {
      level: options.level,
      base: options.worker === undefined ? null : { worker: options.worker },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      // What an error holds beside these may be anything, a request with its credentials among it.
      serializers: { err: errorInShort },
    },
    streams,
  )
}

/** An error as a log line has it: its name, message and stack, and those of its causes. */
function errorInShort(cause: unknown, depth = 0): unknown {
  if (!(cause instanceof Error)) return typeof cause === 'string' ? cause : Object.prototype.toString.call(cause)
  const { name, message, stack } = cause
  const code = 'code' in cause && typeof cause.code === 'string' ? { code: cause.code } : {}
  const inner = cause.cause !== undefined && depth < 4 ? { cause: errorInShort(cause.cause, depth + 1) } : {}
  return { name, message, ...code, stack, ...inner }
}
