import assert from 'node:assert/strict'
import { createRedis } from '../../src/adapters/redis-client.ts'
import { startRedis } from '../support/redis.ts'

describe('a client of Redis', () => {
  // A Redis that refuses our certificate, met while it was busy: an alert, and then the connection reset. The second ended the process.
  it('hears a socket that fails twice', async () => {
    const server = await startRedis([])
    const redis = createRedis({ host: '127.0.0.1', port: server.port, lazyConnect: true, retryStrategy: () => null, protocol: 2 })
    const heard: string[] = []
    redis.on('error', ({ message }: Error) => heard.push(message))
    try {
      await redis.connect()
      for (const message of ['tlsv1 alert unknown ca', 'read ECONNRESET']) redis.stream.emit('error', new Error(message))
      assert.deepEqual(heard, ['tlsv1 alert unknown ca'])
    } finally {
      redis.disconnect()
      await server.stop()
    }
  })
})
