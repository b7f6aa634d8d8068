import { DatabaseSync } from 'node:sqlite'
import { Redis } from 'ioredis'
import { job } from './policy.ts'

const label = 'agentcube.io/owner'

/** Digits of a numbered id: the load generator puts numbers of this width where the captured id has its own. */
export const idDigits = 8

/** The id of a numbered sandbox, such as sb-00000042. */
export const numberedId = (n: number): string => `sb-${String(n).padStart(idDigits, '0')}`

/**
 * Writes owners straight into a state file that Postern has made: the captured sandbox, and `count` numbered ones, all of the
 * captured subject.
 */
export function fillSqlite(path: string, count: number): void {
  const database = new DatabaseSync(path)
  try {
    const labels = JSON.stringify([[label, job.subject]])
    database.exec('BEGIN IMMEDIATE')
    const put = database.prepare('INSERT OR REPLACE INTO labels (realm, resource, id, labels) VALUES (?, ?, ?, ?)')
    put.run('default', job.resource, job.id, labels)
    for (let n = 0; n < count; n++) put.run('default', job.resource, numberedId(n), labels)
    // Nobody was listening when they were written.
    database.exec('DELETE FROM changes')
    database.exec('COMMIT')
    database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  } finally {
    database.close()
  }
}

/** As {@link fillSqlite}, as the platform itself may write them: hashes at `postern:<realm>:labels:<resource>:<id>`. */
export async function fillRedis(url: string, count: number): Promise<void> {
  const redis = new Redis(url, { protocol: 2 })
  try {
    const key = (id: string) => `postern:default:labels:${job.resource}:${id}`
    await redis.hset(key(job.id), label, job.subject)
    const batch = 10_000
    for (let from = 0; from < count; from += batch) {
      const pipeline = redis.pipeline()
      for (let n = from; n < Math.min(count, from + batch); n++) pipeline.hset(key(numberedId(n)), label, job.subject)
      await pipeline.exec()
    }
  } finally {
    redis.disconnect()
  }
}
