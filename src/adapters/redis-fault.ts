import { ReplyError } from 'ioredis'
import { Unavailable } from '../core/ports.ts'
import { answerMs } from './redis-options.ts'

/** An error that Redis itself replied. */
export class RedisRefusal extends Unavailable {
  /** The kind of error, the first word of the reply (RESP, "Simple errors"): WRONGTYPE, LOADING, READONLY, NOPERM, … */
  readonly code: string
  constructor(message: string, code: string) {
    super(message)
    this.code = code
  }
}

const replyCode = (error: unknown): string | undefined => {
  if (!(error instanceof ReplyError)) return undefined
  const word = String((error as Error).message).split(' ', 1)[0] ?? ''
  return /^[A-Z]+$/.test(word) ? word : 'ERR'
}

/** What went wrong, in words that hold no argument of any command: those of AUTH are credentials. */
export function describe(error: unknown): string {
  if (error instanceof Unavailable) return error.message
  const code = replyCode(error)
  if (code !== undefined) return `it answered ${code}`
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code
  return `the connection closed, or no answer came within ${answerMs} ms`
}

/** Any error of ioredis as the port's; without a cause, for that holds the command's arguments. */
export function unavailable(address: string, error: unknown): Unavailable {
  if (error instanceof Unavailable) return error
  const message = `Redis at ${address}: ${describe(error)}`
  const code = replyCode(error)
  return code === undefined ? new Unavailable(message) : new RedisRefusal(message, code)
}
