import type { Redis } from 'ioredis'
import { Unavailable } from '../core/ports.ts'
import { createRedis } from './redis-client.ts'
import { unavailable } from './redis-fault.ts'
import type { RedisNode } from './redis-link.ts'
import { answerMs } from './redis-options.ts'

/** Milliseconds that replicas have; less than what a command has, so that Redis answers how many there were. */
const confirmMs = answerMs - 100

/** What must be known of the server that the writes went to. */
export interface Written {
  /** Its `run_id`. */
  readonly run: string | undefined
  /** Replicas that have to have what was written; 0: none. */
  readonly replicas: number
}

/** Waits for replicas. */
export interface Confirmation {
  /**
   * Resolves when so many replicas have all that was written before the call.
   * @throws {Unavailable} where they did not say so in time; then it may last, or not
   */
  readonly wait: (written: Written) => Promise<void>
  readonly close: () => void
}

/**
 * Confirms over a connection of its own, since WAIT holds up all that comes after it on the same one: it writes once
 * more, and what came before in the replication stream has arrived where that has. All who wait meanwhile share the next one.
 * Commands: INFO, SET, WAIT.
 * @param node the server that was written to
 * @param prefix how the key begins that is written once more
 */
export function createConfirmation(node: Pick<RedisNode, 'address' | 'connection' | 'keyHere'>, prefix: string): Confirmation {
  let connection: { readonly redis: Redis; readonly run: string | undefined } | undefined
  let current: Promise<void> = Promise.resolve()
  /** What nobody has sent yet, so that whoever comes may join it. */
  let next: { readonly done: Promise<void>; readonly written: Written } | undefined
  let closed = false

  const drop = () => {
    connection?.redis.disconnect()
    connection = undefined
  }

  async function connect(): Promise<{ readonly redis: Redis; readonly run: string | undefined }> {
    const redis = createRedis(node.connection())
    redis.on('error', () => {})
    try {
      await redis.connect()
      const info = await redis.info('server')
      return { redis, run: /^run_id:(\S+)/m.exec(info)?.[1] }
    } catch (error) {
      redis.disconnect()
      throw error
    }
  }

  async function once({ run, replicas }: Written): Promise<void> {
    try {
      if (closed) throw new Unavailable('closed')
      if (connection?.redis.status !== 'ready' || connection.run !== run) {
        drop()
        connection = await connect()
      }
      // The name may lead to another server by now, whose replicas say nothing of what was written to the one before.
      if (connection.run !== run) throw new Unavailable(`Redis at ${node.address()} is another server than the one that was written to`)
      const { redis } = connection
      const [, confirmed] = await Promise.all([redis.set(node.keyHere(prefix), '1'), redis.wait(replicas, confirmMs)])
      if (confirmed < replicas)
        throw new Unavailable(
          `Redis at ${node.address()}: ${confirmed} of ${replicas} replicas confirmed a write within ${confirmMs} ms (min-replicas-to-write): it may be lost in a failover`,
        )
    } catch (error) {
      drop()
      throw unavailable(node.address(), error)
    }
  }

  return {
    wait: (written) => {
      if (written.replicas === 0) return Promise.resolve()
      if (next !== undefined && next.written.run === written.run && next.written.replicas === written.replicas) return next.done
      const before = next?.done ?? current
      const start = async (): Promise<void> => {
        await before.catch(() => {})
        // From here on it is too late to join: the write is about to be sent.
        if (next?.done === done) next = undefined
        current = done
        await once(written)
      }
      const done = start()
      done.catch(() => {})
      next = { done, written }
      return done
    },
    close: () => {
      closed = true
      drop()
    },
  }
}
