import { mkdirSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { dirname, join } from 'node:path'
import { freePorts } from '../../test/support/free-port.ts'
import { createStops } from '../../test/support/stops.ts'
import { until } from '../../test/support/until.ts'
import { type Server, startServer } from '../process.ts'
import { startRedis } from '../redis.ts'
import { edgeConfig, hopConfig, lookupConfig } from './envoys.ts'
import { policyText } from './policy.ts'

/** What is measured with. */
export interface Servers {
  /** Port of the edge. */
  readonly edge: number
  readonly redis: string
  readonly stop: () => Promise<void>
}

export interface Programs {
  /** Postern's main.js. */
  readonly main: string
  readonly envoy: string
  readonly redis: string
}

/** Starts Redis, two Posterns (for the edge, and for the router that looks up), and three Envoys with one worker each. */
export async function startServers({ main, envoy, redis }: Programs, folder: string): Promise<Servers> {
  const { started, stop } = createStops(() => {})
  const folderOf = (name: string): string => {
    const path = join(folder, name)
    mkdirSync(path)
    return path
  }
  try {
    const store = started(await startRedis(redis, folderOf('redis')))
    const [edge = 0, hop = 0, lookup = 0] = await freePorts(3)
    const sockets: string[] = []
    for (const name of ['edge', 'lookup']) {
      const at = folderOf(`postern-${name}`)
      const socket = join(at, 'check.sock')
      const [admin = 0] = await freePorts(1)
      started(await startPostern(main, at, policyText(socket, admin, `${store.url}/0`), admin))
      sockets.push(socket)
    }
    const [socket = '', lookupSocket = ''] = sockets
    const configs = {
      hop: (admin: string) => hopConfig({ port: hop, admin }),
      lookup: (admin: string) => lookupConfig({ port: lookup, admin, socket: lookupSocket }),
      edge: (admin: string) => edgeConfig({ port: edge, admin, socket, hop, lookup }),
    }
    for (const [name, config] of Object.entries(configs)) started(await startEnvoy(envoy, folderOf(`envoy-${name}`), config))
    return { edge, redis: store.url, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function ready(what: string, server: Server, isReady: () => Promise<boolean>): Promise<Server> {
  try {
    await until(
      `${what} to be ready`,
      () => {
        if (!server.running()) throw new Error(`${what} ended instead of serving:\n${server.tail()}`)
        return isReady()
      },
      30_000,
    )
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

export async function startPostern(main: string, folder: string, policy: string, admin: number): Promise<Server> {
  const config = join(folder, 'postern.yaml')
  writeFileSync(config, policy, { mode: 0o600 })
  const env = { NODE_ENV: 'production', NODE_OPTIONS: '' }
  const log = join(folder, 'postern.log')
  const server = startServer(process.execPath, [main, 'serve', '--config', config], { cwd: dirname(dirname(main)), env, log })
  const isReady = () =>
    fetch(`http://127.0.0.1:${admin}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    )
  return ready('Postern', server, isReady)
}

export async function startEnvoy(binary: string, folder: string, config: (admin: string) => object): Promise<Server> {
  const admin = join(folder, 'envoy.sock')
  const path = join(folder, 'envoy.json')
  writeFileSync(path, JSON.stringify(config(admin)), { mode: 0o600 })
  const args = ['--config-path', path, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'error']
  const server = startServer(binary, args, { cwd: folder, log: join(folder, 'envoy.log') })
  return ready('Envoy', server, () => asks(admin))
}

const asks = (socketPath: string): Promise<boolean> =>
  new Promise((done) => {
    const request = get({ socketPath, path: '/ready' }, (response) => {
      response.resume()
      done(response.statusCode === 200)
    })
    request.once('error', () => done(false))
  })
