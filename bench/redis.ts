import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort } from '../test/support/free-port.ts'
import { until } from '../test/support/until.ts'
import { startServer } from './process.ts'

/** Starts an empty Redis on loopback, which saves nothing. */
export async function startRedis(binary: string, folder: string): Promise<{ readonly url: string; readonly stop: () => Promise<void> }> {
  const port = await freePort()
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder]
  const server = startServer(binary, args, { cwd: folder, log: join(folder, 'redis.log') })
  const url = `redis://127.0.0.1:${port}`
  const client = new Redis(url, { protocol: 2, lazyConnect: true, retryStrategy: () => 50, maxRetriesPerRequest: null })
  client.on('error', () => {})
  try {
    await until('Redis to answer', () => {
      if (!server.running()) throw new Error(`Redis ended instead of serving:\n${server.tail()}`)
      return answers(client)
    })
    return { url, stop: () => server.stop() }
  } catch (error) {
    await server.stop()
    throw error
  } finally {
    client.disconnect()
  }
}

function answers(client: Redis): Promise<boolean> {
  return Promise.race([
    client.ping().then(
      () => true,
      () => false,
    ),
    new Promise<boolean>((done) => setTimeout(() => done(false), 500)),
  ])
}
