import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import { freePort, freePorts } from './free-port.ts'
import { type RunningRedis, startRedis } from './redis.ts'
import { type RedisTls, tlsFlags, tlsSettings } from './redis-tls.ts'
import { temporaryFolder } from './temporary-folder.ts'
import { until } from './until.ts'

const program = process.env['POSTERN_TEST_REDIS'] ?? 'redis-server'

export interface RunningSentinel {
  readonly port: number
  readonly client: () => Redis
  readonly hang: () => void
  readonly resume: () => void
  readonly stop: () => Promise<void>
}

export interface SentinelOptions {
  /** Further flags of both servers. */
  readonly flags?: readonly string[]
  /** Further lines of the configuration of each Sentinel. */
  readonly lines?: readonly string[]
  /** Called with each server before the Sentinels begin to watch it: for users. */
  readonly prepare?: (redis: Redis) => Promise<unknown>
  /** Servers and Sentinels speak TLS with each other and with who asks, on ports of their own. */
  readonly tls?: RedisTls
}

export interface RunningSentinels {
  readonly name: string
  readonly primary: RunningRedis
  readonly replica: RunningRedis
  readonly sentinels: readonly RunningSentinel[]
  /** `host:port` of the three Sentinels. */
  readonly hosts: readonly string[]
  /** The port that a Sentinel names as the primary's. */
  readonly told: (sentinel?: number) => Promise<number>
  readonly stop: () => Promise<void>
}

/** Starts a primary, a replica and three Sentinels, two of which agree after half a second of silence. */
export async function startSentinels({ flags = [], lines = [], prepare, tls }: SentinelOptions = {}): Promise<RunningSentinels> {
  const name = 'mymaster'
  const ends: (() => Promise<void>)[] = []
  const stop = async () => {
    for (const end of ends.splice(0).reverse()) await end()
  }
  try {
    const secured = (port: number | undefined) => (tls && port ? [...tlsFlags(tls, port), '--tls-replication', 'yes'] : [])
    const ports = tls ? await freePorts(5) : []
    const started = await startRedis(['--repl-diskless-sync-delay', '0', ...secured(ports[0]), ...flags])
    ends.push(started.stop)
    await prepare?.(started.client())
    const watched = String(ports[0] ?? started.port)
    const replica = await startRedis([
      '--repl-diskless-sync-delay',
      '0',
      '--replicaof',
      '127.0.0.1',
      watched,
      ...secured(ports[1]),
      ...flags,
    ])
    ends.push(replica.stop)
    await prepare?.(replica.client())
    const watching = replica.client()
    await until('the replica', async () => (await watching.info('replication')).includes('master_link_status:up'), 10_000)
    const writing = started.client()
    // WAIT counts everybody where nothing was written before.
    await until('the replica to have a write', async () => {
      const written = await writing.set('warm', '1').catch(() => undefined)
      return written === 'OK' && (await writing.wait(1, 100)) === 1
    })
    const sentinels: RunningSentinel[] = []
    for (let i = 0; i < 3; i++) {
      const sentinel = await startSentinel(
        [
          `sentinel monitor ${name} 127.0.0.1 ${watched} 2`,
          ...(tls ? [...tlsSettings(tls, ports[2 + i]!), ['tls-replication', 'yes']].map((setting) => setting.join(' ')) : []),
          ...lines.map((line) => line.replace('NAME', name)),
        ],
        name,
      )
      ends.push(sentinel.stop)
      sentinels.push(sentinel)
    }
    const clients = sentinels.map((sentinel) => sentinel.client())
    await until(
      'the Sentinels to know each other and the replica',
      async () => {
        for (const client of clients) {
          const facts = ((await client.call('SENTINEL', 'MASTER', name)) as string[]).map(String)
          const fact = (of: string) => facts[facts.indexOf(of) + 1]
          if (fact('num-other-sentinels') !== '2' || fact('num-slaves') !== '1' || fact('flags') !== 'master') return false
        }
        return true
      },
      20_000,
    )
    return {
      name,
      primary: started,
      replica,
      sentinels,
      hosts: sentinels.map(({ port }, i) => `127.0.0.1:${ports[2 + i] ?? port}`),
      told: async (sentinel = 0) => Number(((await clients[sentinel]!.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)) as string[])[1]),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function startSentinel(lines: readonly string[], name: string): Promise<RunningSentinel> {
  const port = await freePort()
  const folder = temporaryFolder()
  const file = folder.file('sentinel.conf')
  const own = [`port ${port}`, 'bind 127.0.0.1', `dir ${folder.path}`]
  const fast = [`sentinel down-after-milliseconds ${name} 500`, `sentinel failover-timeout ${name} 5000`]
  writeFileSync(file, [...own, ...lines, ...fast, ''].join('\n'))
  const clients: Redis[] = []
  const child: ChildProcess = spawn(program, [file, '--sentinel'], { stdio: 'ignore' })
  const client = () => {
    const made = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 50, protocol: 2, enableReadyCheck: false })
    made.on('error', () => {})
    clients.push(made)
    return made
  }
  const stop = async () => {
    for (const made of clients) made.disconnect()
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    folder.remove()
  }
  try {
    const first = client()
    await until(`the Sentinel on port ${port}`, async () => {
      if (child.exitCode !== null) throw new Error(`${program} --sentinel ended with ${child.exitCode}`)
      return (await first.ping().catch(() => '')) !== ''
    })
  } catch (error) {
    await stop()
    throw error
  }
  return { port, client, hang: () => void child.kill('SIGSTOP'), resume: () => void child.kill('SIGCONT'), stop }
}
