/** Starts a peer's server, and waits until it takes connections. */
import { connect } from 'node:net'
import { join } from 'node:path'
import { freePort } from '../../test/support/free-port.ts'
import { until } from '../../test/support/until.ts'
import type { Running, StartOptions } from '../peer.ts'
import { startServer } from '../process.ts'

const startLimit = 60_000

/** An address to listen at: a socket in the folder, or a free port of 127.0.0.1. */
export async function newTarget({ address, folder }: StartOptions): Promise<string> {
  return address === 'unix' ? `unix:${join(folder, 'peer.sock')}` : `127.0.0.1:${await freePort()}`
}

/**
 * @param name for messages
 * @param target where it will listen
 * @throws Error with its last lines where it ends instead, or takes too long
 */
export async function startListening(
  name: string,
  target: string,
  command: readonly [string, ...(readonly string[])],
  { folder, env }: { readonly folder: string; readonly env?: NodeJS.ProcessEnv },
): Promise<Running> {
  const [program, ...args] = command
  const server = startServer(program, args, { cwd: folder, env: env ?? {}, log: join(folder, 'peer.log') })
  const listens = () => {
    if (!server.running()) throw new Error(`${name} ended instead of serving:\n${server.tail()}`)
    return takesConnections(target)
  }
  try {
    await until(`${name} to listen at ${target}`, listens, startLimit)
  } catch (error) {
    await server.stop()
    throw error
  }
  return { target, pids: () => [server.pid], stop: () => server.stop() }
}

function takesConnections(target: string): Promise<boolean> {
  const [host = '', port = ''] = target.split(':')
  return new Promise((done) => {
    const socket = host === 'unix' ? connect(port) : connect(Number(port), host)
    socket.once('connect', () => done(true)).once('error', () => done(false))
    socket.once('connect', () => socket.destroy())
  })
}
