import { writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { freePort } from '../test/support/free-port.ts'
import { until } from '../test/support/until.ts'
import { type EnvoyOptions, envoyConfig } from './envoy-config.ts'
import type { Running } from './peer.ts'
import { startServer } from './process.ts'

export interface StartEnvoyOptions extends Omit<EnvoyOptions, 'port' | 'admin'> {
  readonly binary: string
  /** An existing folder for this Envoy alone. */
  readonly folder: string
  /** Runs it where the authorizer is, in a network namespace of its own. */
  readonly inside?: readonly string[]
}

/** Starts the real Envoy with one worker, and waits until it takes requests. */
export async function startEnvoy({ binary, folder, inside = [], ...options }: StartEnvoyOptions): Promise<Running> {
  const port = await freePort()
  const admin = join(folder, 'envoy.sock')
  const config = join(folder, 'envoy.json')
  writeFileSync(config, JSON.stringify(envoyConfig({ ...options, port, admin })), { mode: 0o600 })
  const args = ['--config-path', config, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'warning']
  const [command = binary, ...rest] = [...inside, binary, ...args]
  const server = startServer(command, rest, { cwd: folder, log: join(folder, 'envoy.log') })
  try {
    await until('Envoy to be ready', () => {
      if (!server.running()) throw new Error(`Envoy ended instead of serving:\n${server.tail()}`)
      return isReady(admin)
    })
  } catch (error) {
    await server.stop()
    throw error
  }
  return {
    target: `127.0.0.1:${port}`,
    // A prefix such as nsenter becomes Envoy by exec, so that this is its process.
    pids: () => [server.pid],
    stop: () => server.stop(),
    ...(inside.length === 0 ? {} : { inside }),
  }
}

function isReady(socketPath: string): Promise<boolean> {
  return new Promise((done) => {
    const request = get({ socketPath, path: '/ready' }, (response) => {
      response.resume()
      done(response.statusCode === 200)
    })
    request.once('error', () => done(false))
  })
}
