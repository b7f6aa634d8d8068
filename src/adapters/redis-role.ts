import { type Redis, ReplyError } from 'ioredis'
import { Unavailable } from '../core/ports.ts'

/**
 * A server that a failover made a replica says what it knows, and may have lost its primary, where others revoke meanwhile.
 * One that does not tell its role (an ACL user without `+info`) is believed. Command: INFO.
 * @throws {Unavailable} for a replica; what ioredis throws where no answer comes
 */
export async function demandPrimary(redis: Redis): Promise<void> {
  let info: string
  try {
    info = await redis.info('replication')
  } catch (error) {
    if (error instanceof ReplyError) return
    throw error
  }
  if (/^role:slave/m.test(info)) throw new Unavailable('it is a replica, which may not hear of what is revoked: expected the primary')
}
