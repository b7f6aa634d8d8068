import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import { freePort } from './free-port.ts'
import { temporaryFolder } from './temporary-folder.ts'
import { until } from './until.ts'

/** The native server to start; `redis-server` of the path unless the environment names another. */
const program = process.env['POSTERN_TEST_REDIS'] ?? 'redis-server'

export interface RunningRedis {
  readonly port: number
  readonly url: string
  /** A client without any of our settings, for what a platform would do; closed by `stop`. */
  readonly client: () => Redis
  /** SIGKILL; nothing is saved. */
  readonly kill: () => Promise<void>
  /** Starts again on the same port and folder, after `kill`. */
  readonly start: () => Promise<void>
  /** It stays connected and answers nothing (SIGSTOP) … */
  readonly hang: () => void
  /** … until it goes on (SIGCONT). */
  readonly resume: () => void
  /** Ends it, and removes its folder. */
  readonly stop: () => Promise<void>
}

/**
 * Starts a Redis of its own on a free port of 127.0.0.1.
 * @param flags as on the command line of redis-server, e.g. `--appendonly yes`
 * @param port absent: a free one
 */
export async function startRedis(flags: readonly string[] = [], port?: number): Promise<RunningRedis> {
  return startOn(port ?? (await freePort()), flags)
}

async function startOn(port: number, flags: readonly string[]): Promise<RunningRedis> {
  const folder = temporaryFolder()
  const clients: Redis[] = []
  let child: ChildProcess | undefined

  const client = () => {
    const made = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 50, protocol: 2 })
    made.on('error', () => {})
    clients.push(made)
    return made
  }

  const start = async () => {
    const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder.path, ...flags]
    const started = spawn(program, args, { stdio: 'ignore' })
    child = started
    let failure: Error | undefined
    started.once('error', (error) => {
      failure = error
    })
    await until(`${program} on port ${port}`, () => {
      if (failure !== undefined) throw failure
      if (started.exitCode !== null) throw new Error(`${program} ended with ${started.exitCode}`)
      return answers(port)
    })
  }

  const kill = async () => {
    const dying = child
    child = undefined
    if (dying === undefined || dying.exitCode !== null || dying.signalCode !== null) return
    const exited = once(dying, 'exit')
    dying.kill('SIGKILL')
    await exited
  }

  try {
    await start()
  } catch (error) {
    await kill()
    folder.remove()
    throw error
  }
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    client,
    kill,
    start,
    hang: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    stop: async () => {
      for (const made of clients) made.disconnect()
      await kill()
      folder.remove()
    },
  }
}

/** Whether a server is there and has loaded its data set; one that asks for a password has. */
function answers(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.setTimeout(500, () => socket.destroy())
    socket.on('data', (bytes) => {
      done(/^(?:\+PONG|-NOAUTH)/.test(String(bytes)))
      socket.destroy()
    })
    socket.on('error', () => {})
    socket.on('close', () => done(false))
  })
}

export interface FakeServer {
  readonly port: number
  readonly stop: () => Promise<void>
}

/**
 * A server that accepts and then says `reply` to whatever it is sent, or nothing: half-open.
 * @param port absent: a free one
 */
export async function startFake(reply?: string, port = 0): Promise<FakeServer> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    // RESP: each command is an array, and so begins with `*`.
    socket.on('data', (bytes) => {
      const commands = String(bytes).match(/^\*\d+\r$/gm)?.length ?? 0
      if (reply !== undefined) socket.write(reply.repeat(commands))
    })
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
