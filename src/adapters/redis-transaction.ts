import { Unavailable } from '../core/ports.ts'

/** What ioredis puts on the error of an EXEC: why commands of the transaction were not queued. */
const reason = (error: unknown): unknown =>
  error instanceof Error && 'previousErrors' in error && Array.isArray(error.previousErrors) ? (error.previousErrors[0] ?? error) : error

/**
 * The replies of a transaction or pipeline, all of which must be good.
 * @throws the first error among them, or {Unavailable} where the transaction was discarded
 */
export async function committed(
  execution: Promise<readonly (readonly [error: Error | null, result: unknown])[] | null>,
): Promise<readonly unknown[]> {
  let replies: Awaited<typeof execution>
  try {
    replies = await execution
  } catch (error) {
    throw reason(error)
  }
  if (replies === null) throw new Unavailable('Redis discarded a transaction')
  return replies.map(([error, result]) => {
    if (error !== null) throw error
    return result
  })
}
